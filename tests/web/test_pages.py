"""Every page on a real store: what it shows, what it says of nothing, what it refuses."""

import json
from html.parser import HTMLParser

import pytest

from app.web.main import VIEWS
from app.web.url import PAGES
from app.web.widgets.card import examples_csv
from atlas.api import Atlas
from atlas.note_types import HumanLabel, RoleClaim, SavedQuery, Tag
from atlas.progress import Progress, write
from ingest.studies.names import STUDIES
from tests.web.conftest import API, component, page, seen

FEATURE, HEAD = "toy/1-t/0", "toy/L1H1"
EVERY = {
    "": {},
    "search": {},
    "pairs": {"distance_min": "1"},
    "feature": {"id": FEATURE},
    "head": {"id": HEAD},
    "heads": {},
    "sae": {"id": "toy/1-t"},
    "compare": {"a": "toy/1-t/0", "b": "toy/1-t/3"},
    "prompt": {},
    "sql": {"query": "SELECT id FROM feature_card ORDER BY id"},
    "test": {"hypothesis": "dst.pos >= 0", "target": "toy/1-t"},
    "runs": {},
    "notes": {},
    "collections": {},
    "jump": {"q": "1.1"},
    "basket": {"ids": f"{FEATURE},toy/1-t/3,{HEAD}"},
    "review": {},
    "studies": {},
}


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found.append(dict(attrs)["href"] or "")


def links(test) -> list[str]:
    parser = _Links()
    parser.feed(seen(test))
    return parser.found


def test_every_page_has_a_url_and_a_view():
    assert set(VIEWS) == set(PAGES) == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_every_link_of_every_page_keeps_the_snapshot(store, name):
    test = page(store, name, **EVERY[name])
    inside = [link for link in links(test) if not link.startswith(API)]
    assert inside
    assert [link for link in inside if "snapshot=000001" not in link] == []


def test_home_says_what_is_in_the_atlas(store):
    html = seen(page(store, ""))
    for words in ("toy/0-t", "FVU", "0.250", "90 %", "3.2000", "<b>10</b> live features"):
        assert words in html


def test_home_shows_a_run_in_progress(own):
    import os
    from datetime import UTC, datetime

    folder = own / "bundles" / "run-9"
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    write(
        folder,
        Progress(
            "run-9", "running", "train", 250, 1000, "tokens", 50.0, 15.0, {}, os.getpid(), now
        ),
    )
    html = seen(page(own, ""))
    assert "run-9" in html
    assert "250 of 1,000 tokens · 50 tokens/s, about 15 s left" in html


@pytest.fixture
def live(own):
    """A store with a run that goes on: its folder."""
    import os
    from datetime import UTC, datetime

    from atlas import progress, record

    folder = own / "bundles" / "run-9"
    folder.mkdir(parents=True)
    reporter = progress.Reporter(folder, "run-9", lambda _: None, lambda: 0.0)
    reporter.stage("tokenise", 1, "corpus")
    reporter.stage("train", 1000, "tokens")
    for step in (1, 2):
        points = [
            record.TrainingPoint(n, step, 50 * step, 0.5, 8.0, 0.0, float("nan"), 1e-3)
            for n in (0, 1)
        ]
        progress.append(folder / record.curve_file((0, 1)), record.curve_line(points))
    alone = record.TrainingPoint(2, 1, 50, 0.25, 8.0, 0.0, 0.5, 1e-3)  # of a group of its own
    progress.append(folder / record.curve_file((2,)), record.curve_line([alone]))
    figures = {"fvu": [0.25, 0.5], "l0": [8.0, 8.0], "dead": [0.0, 0.125], "reading": 40.0}
    now = datetime.now(UTC)
    progress.write(
        folder,
        Progress(
            "run-9", "running", "train", 0, 1000, "tokens", 0.0, 15.0, figures, os.getpid(), now
        ),
    )
    return folder


def test_a_run_that_goes_on_shows_its_curve_and_its_log_before_it_is_published(live):
    own = live.parents[1]
    assert 'href="runs?id=run-9&amp;snapshot=000001"' in seen(page(own, "runs"))
    test = page(own, "runs", id="run-9")
    html = seen(test)
    for words in (
        "0 of 1,000 tokens · reading ahead, 40 tokens/s, about 15 s left", "goes on",
        "FVU 0.250 0.500 · L0 8 8 · dead 0 % 12 %", "tokenise", "It is not in this snapshot",
    ):  # fmt: skip
        assert words in html, words
    drawn = json.loads(component(test, "atlas_training"))
    assert (drawn["names"], drawn["steps"]) == (["layer 0", "layer 1", "layer 2"], [1, 2])
    values = {plot["name"]: plot["values"] for plot in drawn["plots"]}
    assert values["FVU"] == [[0.5, 0.5], [0.5, 0.5], [0.25, None]]
    assert values["Loss"] == [[None, None], [None, None], [0.5, None]]  # no number
    assert values["Learning rate"] == [[1e-3, 1e-3]]


def test_a_run_that_was_killed_says_so(live):
    from dataclasses import replace

    from atlas import progress

    write(live, replace(progress.read(live), pid=2**22 + 1))
    html = seen(page(live.parents[1], "runs", id="run-9"))
    assert "stopped</b> at train" in html
    assert '<span class="chip warn">unfinished</span>' in html


def test_a_published_run_shows_its_curve_its_log_and_how_to_make_it_again(store):
    test = page(store, "runs", id="run-1")
    drawn = json.loads(component(test, "atlas_training"))
    assert drawn["tokens"] == [1000, 2000, 4000, 9000]
    assert drawn["links"][1] == "sae?id=toy/1-t&snapshot=000001"
    assert drawn["plots"][0]["values"][0] == [1.0, 0.5, 0.25, pytest.approx(1 / 9)]
    html = seen(test)
    for words in ("unfinished", "9,000 tokens", "947 tokens/s", "<code>atlas ingest</code>"):
        assert words in html, words


def test_lists_show_how_the_activations_of_features_are_spread(store):
    for parameters in ({}, {"view": "table"}):
        html = seen(page(store, "search", text="induction", layer="1", **parameters))
        assert html.count('class="hist spark"') == 1
        assert "120 firings by activation" in html


def test_a_pair_stands_in_a_card_that_can_be_chosen(store):
    html = seen(page(store, "pairs", distance_min="1"))
    assert html.count('<div class="hit"><input') == html.count('<div class="hit">') > 0


def test_search_finds_a_word_and_says_why(store):
    html = seen(page(store, "search", text="induction", layer="1"))
    assert "<b>1 feature</b>" in html
    assert "by <mark>induction</mark>" in html
    assert "remove this filter" in html


def test_search_without_a_match_says_what_to_do(store):
    assert "Try fewer words" in seen(page(store, "search", text="zebra"))
    assert "Search without the filters" in seen(page(store, "search", text="zebra", layer="1"))


def test_search_pages_go_on(store):
    first = page(store, "search", limit="4", sort="id", descending="false")
    following = next(link for link in links(first) if "after=" in link)
    assert "sort=id" in following
    assert "limit=4" in following


def test_a_feature_page_has_everything(store):
    test = page(store, "feature", id=FEATURE)
    html = seen(test)
    for words in (
        "predicts “ board” by induction", "9 of 12", "L1H1", "95 %", "exact, residual 1.0e-06",
        "weights" , "Raises the logits of", "Neighbours", "toy/1-t/3", "0.80", "run-1", "skip 1",
        "3,000 mined", f"{API}/features/toy/1-t/0?snapshot=000001", "120 of 3,000 tokens",
    ):  # fmt: skip
        assert words in html, words


def test_examples_are_sent_once_with_exact_values(store):
    data = json.loads(component(page(store, "feature", id=FEATURE), "atlas_examples"))
    (top,) = data["groups"]
    first = top["examples"][0]
    assert (first["pos"], first["from"], first["act"]) == (6, 2, 8.0)
    assert first["acts"] == [[6, 8.0]]
    assert first["sources"] == [[2, 6.375, 1], [0, 2.125, 1]]
    assert data["actScale"] == 8.0
    assert data["texts"][first["tokens"][1]] == " the"
    assert sum(first["heads"]) + first["bias"] == pytest.approx(first["act"], abs=1e-5)


def test_a_dead_feature_says_so_and_shows_no_examples(store):
    test = page(store, "feature", id="toy/1-t/5")
    assert "This feature never fired" in seen(test)
    assert [
        c for c in test.get("bidi_component") if c.proto.component_name == "atlas_examples"
    ] == []


def test_disagreement_of_weights_and_measurement_is_flagged(store):
    assert "weights say L1H0, measurement L1H1" in seen(page(store, "feature", id="toy/1-t/3"))


def test_the_last_feature_has_no_next_one(store):
    html = seen(page(store, "feature", id="toy/1-t/5"))
    assert "← previous" in html
    assert "next →" not in html


def test_a_head_lists_its_features_both_ways(store):
    measured, weights = (
        seen(page(store, "head", id=HEAD, by=by)) for by in ("measured", "weights")
    )
    order = [html.index(f">{FEATURE}<") < html.index(">toy/1-t/3<") for html in (measured, weights)]
    assert order == [True, True]
    assert measured.index(">toy/1-t/3<") < measured.index(">toy/1-t/2<")
    assert weights.index(">toy/1-t/2<") < weights.index(">toy/1-t/3<")
    assert "No metrics of this head" in measured


def test_heads_without_metrics_say_how_to_get_them(store):
    html = seen(page(store, "heads"))
    assert "<code>atlas ingest</code> measures the heads" in html
    assert 'data-tip="toy/L1H0">3<' in html


def test_two_features_and_two_heads_compare(store):
    html = seen(page(store, "compare", a="1-t/0", b="1-t/3"))
    assert "0.800" in html
    assert "0.15 apart" in html
    assert "correlation" in seen(page(store, "compare", a="1.0", b="1.1"))


def test_sql_runs_from_the_url_with_parameters(store):
    query = "SELECT id, density FROM feature_card WHERE layer = $l ORDER BY id LIMIT 2"
    html = seen(page(store, "sql", query=query, p_l="1"))
    assert "<b>2 rows</b>" in html
    assert 'href="feature?id=toy/1-t/0&amp;snapshot=000001"' in html
    assert 'data-name="p_l" value="1"' in html


def test_the_editor_stays_when_sql_is_wrong(store):
    html = seen(page(store, "sql", query="SELEC 1"))
    assert "SELEC 1</textarea>" in html
    assert 'role="alert"' in html


def test_the_jump_box_goes_where_it_can_and_searches_else(store):
    one = json.loads(component(page(store, "jump", q="1.1"), "atlas_links"))
    assert one["replace"] == "head?id=toy/L1H1&snapshot=000001"
    words = json.loads(component(page(store, "jump", q="board members"), "atlas_links"))
    assert words["replace"] == "search?text=board+members&snapshot=000001"


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("search", {"layer": "x"}, "Layer is &#39;x&#39;"),
        ("search", {"layer": "7"}, "No SAE on layer 7"),
        ("search", {"after": "nonsense"}, 'role="alert"'),
        ("feature", {"id": "toy/1-t/99"}, "toy/1-t has features 0 to 5"),
        ("feature", {}, "The URL lacks id"),
        ("head", {"id": "toy/L9H9"}, "No head toy/L9H9"),
        ("sae", {"id": "toy/7-t"}, "No SAE toy/7-t"),
        ("compare", {"a": "1.1", "b": "1-t/0"}, "of different kinds"),
        ("compare", {"a": "nothing", "b": "1.1"}, "No feature, head, SAE or layer"),
        ("heads", {"metric": "charm"}, "No measure"),
        ("notes", {"id": "0" * 32}, "No note"),
        ("runs", {"id": "run-7"}, "No run"),
        ("", {"snapshot": "latest"}, "Not a snapshot name"),
        ("search", {"snapshot": "000009"}, "No snapshot 000009"),
    ],
)
def test_a_bad_url_is_a_message_with_a_way_out(store, name, parameters, words):
    assert words in seen(page(store, name, **parameters))


def test_a_store_without_a_snapshot_says_which_command_to_run(tmp_path):
    html = seen(page(tmp_path, ""))
    assert "No atlas at" in html
    assert "<code>atlas demo</code>" in html


def test_an_older_permalink_shows_its_snapshot_and_names_the_newer(own, tmp_path):
    from atlas.store.publish import publish
    from tests.builders import a_bundle

    publish(own, [a_bundle(tmp_path / "second", run="run-2").path])
    html = seen(page(own, "feature", id=FEATURE, snapshot="000001"))
    assert "run-1" in html
    assert "This is snapshot <b>000001</b>" in html
    assert "?id=toy/1-t/0&amp;snapshot=000002" in html
    assert "run-2" in seen(page(own, "feature", id=FEATURE))


def test_a_url_without_a_snapshot_gets_the_newest_ones_name(store):
    told = json.loads(component(page(store, "feature", id=FEATURE), "atlas_links"))
    assert told["replace"] == "?id=toy/1-t/0&snapshot=000001"
    pinned = page(store, "feature", id=FEATURE, snapshot="000001")
    assert component(pinned, "atlas_links") in ("", "null")


def test_reading_makes_no_notes_file(own):
    for name in ("feature", "head", "heads", "notes", "collections"):
        seen(page(own, name, **EVERY[name]))
    seen(page(own, "sql"))
    assert not (own / "notes.sqlite").exists()


def test_a_feature_s_card_can_be_taken_away(store):
    test = page(store, "feature", id=FEATURE)
    assert [one.proto.label for one in test.get("download_button")] == [
        "Card as JSON",
        "Examples as CSV",
    ]
    lines = examples_csv(Atlas.open(store).feature(FEATURE)).splitlines()
    assert lines[0].startswith("feature,kind,band,rank,activation,token,source_token")
    assert lines[1].startswith("toy/1-t/0,top,,0,8.0, mat, cat,1,6.375,")


def test_a_density_stands_among_those_of_its_sae(store):
    html = seen(page(store, "feature", id=FEATURE))
    assert "Density among the features of its SAE" in html
    assert html.count('<i class="own"') == 1


def test_the_page_says_how_to_try_a_text_of_your_own(store):
    html = seen(page(store, "feature", id=FEATURE))
    assert 'action="feature?id=toy/1-t/0&amp;snapshot=000001"' in html
    html = seen(page(store, "feature", id=FEATURE, text="a text"))
    assert 'role="alert"' in html  # the toy model is nowhere to be had
    assert "Raises the logits of" in html  # and the page stands all the same


def test_what_was_taken_away_stays_in_the_history_of_the_page(own):
    atlas = Atlas.open(own)
    tag = atlas.notes.add(Tag(FEATURE, "wrong"), "ada")
    atlas.notes.remove(tag.id, "bob", tag.version)
    html = seen(page(own, "feature", id=FEATURE))
    assert "History: 2 latest changes" in html
    assert "took away a" in html
    assert "History" not in seen(page(own, "feature", id="toy/1-t/1"))


def test_the_basket_compares_tags_and_collects(own):
    test = page(own, "basket", ids=f"{FEATURE},toy/1-t/3,{HEAD}")
    assert "compare?a=toy/1-t/0&b=toy/1-t/3" in "".join(links(test))
    test.text_input(key="author").set_value("ada").run()
    next(one for one in test.text_input if one.label == "Tag for all").set_value("look again")
    next(one for one in test.button if one.label == "Tag them").click().run()
    tagged = Atlas.open(own).notes.tagged("look again")
    assert set(tagged) == {FEATURE, "toy/1-t/3", HEAD}
    assert "Nothing chosen" in seen(page(own, "basket"))
    assert "toy/1-t/99" in seen(page(own, "basket", ids="toy/1-t/99"))


def test_search_shows_a_table_and_keeps_a_search(own):
    assert "<th" in seen(page(own, "search", view="table"))
    test = page(own, "search", text="induction", layer="1")
    test.text_input(key="author").set_value("ada").run()
    next(one for one in test.text_input if one.label == "Its name").set_value("inductive")
    next(one for one in test.button if one.label == "Save").click().run()
    (saved,) = Atlas.open(own).notes.every(SavedQuery)
    assert saved.content.text == "search?text=induction&layer=1"
    assert "saved searches" in seen(page(own, "search"))


def test_saes_and_layers_are_compared(store):
    html = seen(page(store, "compare", a="0-t", b="toy/1-t"))
    assert "Density of their features" in html
    assert "Top heads" in html
    html = seen(page(store, "compare", a="L0", b="toy/L1"))
    assert "toy/L0 and toy/L1" in html
    assert "different kinds" in seen(page(store, "compare", a="L0", b="1.1"))
    assert "No SAE on layer" in seen(page(store, "compare", a="L0", b="L9"))


def test_a_result_is_charted_as_bars_and_as_dots(store):
    query = "SELECT id, density, max_act FROM feature_card ORDER BY id"
    assert 'class="chart"' in seen(page(store, "sql", query=query, y="density"))
    dots = seen(page(store, "sql", query=query, y="density", x="max_act"))
    assert "toy/1-t/0\ndensity" in dots or "toy/1-t/0\nmax_act 8.0" in dots
    assert (
        '<a class="" href="feature?id=toy/1-t/0&amp;snapshot=000001"' in dots
    )  # a dot leads there
    assert "No such column" in seen(page(store, "sql", query=query, y="<b>"))


def test_the_review_queue_gives_its_reasons(store):
    html = seen(page(store, "review", reason="disagree"))
    assert "weights and measurement name different heads" in html
    assert "known: disagree, weak_label" in seen(page(store, "review", reason="x"))


def test_an_atlas_without_studies_says_how_to_run_one(store):
    listed = seen(page(store, "studies"))
    for name in STUDIES:
        assert f"<code>atlas study {name}</code>" in listed
    assert "No results of a study" in seen(page(store, "studies", study="prefix"))


def test_heads_are_filtered_by_role(own):
    Atlas.open(own).notes.add(RoleClaim(HEAD, "induction"), "ada")
    html = seen(page(own, "heads", role="induction"))
    assert '<option value="induction" selected>' in html
    assert "L1H1" in html
    assert 'data-tip="toy/L1H0">3<' not in html  # another head, without the role
    assert "No head has both" in seen(page(own, "heads", role="nothing"))


def test_the_queue_forgets_a_feature_as_soon_as_a_person_titles_it(own):
    before = seen(page(own, "review"))
    named = next(one for one in links(page(own, "review")) if one.startswith("feature?id="))
    feature = named.removeprefix("feature?id=").split("&")[0]
    assert f'data-pick="{feature}"' in before
    Atlas.open(own).notes.add(HumanLabel(feature, "what it does"), "ada")
    assert f'data-pick="{feature}"' not in seen(page(own, "review"))
