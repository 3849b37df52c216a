"""The page that tests hypotheses: figures, refusals with their place, saved ones run again."""

import pytest

from app.web.url import AtTest, link
from atlas.api import Atlas
from atlas.errors import QueryError
from atlas.note_types import SavedQuery
from tests.web.conftest import page, seen
from tests.web.test_pages import links
from tests.web.test_writing import field, press, signed

FEATURE, HEAD, SAE = "toy/1-t/0", "toy/L1H1", "toy/1-t"
ALWAYS = "dst.pos >= 0"


def test_a_statement_is_tested_on_an_sae_with_a_row_for_every_feature(store):
    test = page(store, "test", hypothesis=ALWAYS, target=SAE, seed="3")
    html = seen(test)
    trial = Atlas.open(store).test(ALWAYS, SAE, 3)
    assert trial.pooled.recall.share == 1.0
    assert f"<b>{trial.pooled.features} of {trial.candidates} features</b>" in html
    assert {f"feature?id={one.target}&snapshot=000001" for one in trial.verdicts} <= set(
        links(test)
    )
    for words in ("recall", "precision", "lift", "95 % interval", "seed 3", "near misses"):
        assert words in html
    assert len(trial.alarmed) > 0
    assert "Places without firing of which it does" in html


def test_a_short_form_names_the_target(store):
    assert f'href="head?id={HEAD}&amp;' in seen(
        page(store, "test", hypothesis="head == 1", target="L1H1")
    )


@pytest.mark.parametrize(
    ("hypothesis", "target", "words"),
    [
        ("distance < 3 and\n  foo > 2", FEATURE, "line 2, column 3"),
        ('distance == "a"', FEATURE, "column 13"),
        ("earlier", "toy/1-t/99999", "99999"),
        ("earlier", "<script>alert(1)</script>", "&lt;script&gt;"),
        ('dst.token == "</textarea><script>alert(1)</script>" and x', FEATURE, "unknown name"),
    ],
)
def test_what_cannot_be_tested_is_said_and_stays_in_the_form(store, hypothesis, target, words):
    html = seen(page(store, "test", hypothesis=hypothesis, target=target))
    assert 'role="alert"' in html
    assert words in html
    assert "<script" not in html
    assert hypothesis.split("\n")[0].split("<")[0].replace('"', "&#34;") in html


def test_a_hypothesis_is_saved_and_run_again(own):
    test = signed(page(own, "test", hypothesis=ALWAYS, target=SAE, seed="5"))
    field(test, "Its name").input("<b>always</b>")
    html = seen(press(test, "Save"))
    (note,) = Atlas.open(own).notes.every(SavedQuery)
    assert (note.content.form, note.content.text) == ("hypothesis", ALWAYS)
    assert note.content.parameters == {"target": SAE, "seed": 5}
    assert Atlas.open(own).test_saved(note.id).seed == 5
    assert "&lt;b&gt;always" in html
    assert link(AtTest(ALWAYS, SAE, 5), "000001") in links(page(own, "test"))


def test_a_feature_and_a_head_lead_to_their_test(store):
    assert f"test?target={FEATURE}&snapshot=000001" in links(page(store, "feature", id=FEATURE))
    assert f"test?target={HEAD}&snapshot=000001" in links(page(store, "head", id=HEAD))


def test_a_negative_seed_is_refused(store):
    assert 'role="alert"' in seen(page(store, "test", hypothesis=ALWAYS, target=SAE, seed="-1"))
    with pytest.raises(QueryError, match="the seed -1 is negative"):
        Atlas.open(store).test(ALWAYS, SAE, -1)
