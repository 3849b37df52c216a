"""The prompt page, on an atlas of a tiny real model; and where no model can be had."""

import json

from atlas.api import Atlas
from tests.web.conftest import component, page, seen
from tests.web.test_pages import links

TEXT = "the cat sat on the mat"


def test_what_fires_leads_to_what_made_it_fire(mined):
    test = page(mined, "prompt", text=TEXT)
    html = seen(test)
    assert "Strongest features" in html
    traces = [one for one in links(test) if one.startswith("prompt?") and "feature=" in one]
    assert traces
    assert all("text=the+cat+sat+on+the+mat" in one for one in traces)


def test_a_trace_adds_up_and_goes_on_to_what_wrote_a_source(mined):
    found = Atlas.open(mined).explorer().features(TEXT)
    firing = max(found.layers[-1].firings, key=lambda one: (one.pos, one.act))
    name = str(firing.feature)
    html = seen(page(mined, "prompt", text=TEXT, feature=name, pos=str(firing.pos)))
    assert "= pre-activation" in html
    assert f"Activation <b>{firing.act:.4f}</b> on" in html
    assert "By head" in html
    html = seen(page(mined, "prompt", text=TEXT, feature=name, pos=str(firing.pos), src="1"))
    assert "What wrote" in html
    assert "embedding" in html


def test_the_graph_sums_to_what_it_explains(mined):
    found = Atlas.open(mined).explorer().features(TEXT)
    firing = max(found.layers[-1].firings, key=lambda one: (one.pos, one.act))
    asked = {"text": TEXT, "feature": str(firing.feature), "pos": str(firing.pos)}
    test = page(mined, "prompt", **asked, depth="1", top="15")
    data = json.loads(component(test, "atlas_graph"))
    target, *others = data["nodes"]
    assert target["target"]
    assert target["href"].startswith(f"feature?id={firing.feature}")
    assert {one["kind"] for one in others} >= {"embedding"}
    assert {edge["to"] for edge in data["edges"]} <= {one["id"] for one in data["nodes"]}
    assert len({tuple(one["at"]) for one in data["nodes"]}) == len(data["nodes"])
    assert "share explained" in seen(test)
    assert "Depth 9" in seen(page(mined, "prompt", **asked, depth="9"))


def test_a_head_shows_where_it_looks_and_why(mined):
    (sae, *_) = Atlas.open(mined).saes()
    head = f"{sae.id.model}/L{sae.id.layer}H1"
    test = page(mined, "prompt", text=TEXT, head=head, pos="4", src="2")
    rows = json.loads(component(test, "atlas_pattern"))["rows"]
    assert [len(row) for row in rows] == list(range(1, len(rows) + 1))
    assert all(abs(sum(row) - 1) < 0.01 for row in rows)
    html = seen(test)
    for words in ("Why", "coverage", "looked at for", "Change it and watch"):
        assert words in html


def test_a_change_is_shown_before_and_after(mined):
    found = Atlas.open(mined).explorer().features(TEXT)
    firing = max(found.layers[0].firings, key=lambda one: (one.pos, one.act))
    asked = {"text": TEXT, "feature": str(firing.feature), "pos": str(firing.pos)}
    html = seen(page(mined, "prompt", **asked, how="set", value="50"))
    assert "Next token after" in html
    assert "set to 50 at position" in html
    assert "No value to set it to" in seen(page(mined, "prompt", **asked, how="set"))
    assert "not one feature or head" in seen(
        page(mined, "prompt", **asked, how="zero", target="<b>")
    )
    html = seen(page(mined, "prompt", **asked, how="zero", target="0.1", everywhere="true"))
    assert "set to zero everywhere" in html


def test_two_texts_are_compared(mined):
    html = seen(page(mined, "prompt", text=TEXT, other="the cat sat on the hat"))
    assert "Features that fire differently" in html
    assert "turn them round" in html


def test_the_trail_leads_back(mined):
    atlas = Atlas.open(mined)
    found = atlas.explorer().features(TEXT)
    late, early = (
        max(layer.firings, key=lambda o: (o.pos, o.act)) for layer in (found.layers[-1],) * 2
    )
    trail = f"{late.feature}:{late.pos}:1"
    test = page(
        mined, "prompt", text=TEXT, feature=str(early.feature), pos=str(early.pos), trail=trail
    )
    back = [one for one in links(test) if f"feature={late.feature}" in one and "src=1" in one]
    assert back
    assert "trail" not in back[0]
    assert "Not a stop of a trail" in seen(page(mined, "prompt", text=TEXT, trail="x"))


def test_one_token_shows_all_that_fires_there(mined):
    html = seen(page(mined, "prompt", text=TEXT, pos="2"))
    assert ", position 2 " in html
    assert "What predicts" in html
    assert "Position" not in html
    assert "The prompt has no position 99" in seen(page(mined, "prompt", text=TEXT, pos="99"))


def test_the_heads_of_a_mined_layer_have_metrics(mined):
    (sae, *_) = Atlas.open(mined).saes()
    html = seen(page(mined, "head", id=f"{sae.id.model}/L{sae.id.layer}H0"))
    assert "previous token" in html
    html = seen(page(mined, "heads", metric="induction:corpus", other="entropy:corpus"))
    assert "induction on corpus" in html


def test_a_model_that_is_not_here_is_said(store):
    assert 'role="alert"' in seen(page(store, "prompt", text=TEXT))
    assert "No text yet" in seen(page(store, "prompt"))


def test_a_feature_asks_for_a_text_of_your_own(store):
    html = seen(page(store, "prompt", feature="toy/1-t/0"))
    assert "What makes" in html
    assert 'action="prompt?feature=toy/1-t/0&amp;snapshot=000001"' in html
