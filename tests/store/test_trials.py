"""Testing hypotheses on the hand-made bundle: every figure counted by hand."""

import pytest

from atlas.api import Atlas
from atlas.errors import NotesError, NotFound, QueryError
from atlas.hypothesis_types import Rate
from atlas.note_types import SavedQuery
from atlas.store.publish import publish
from atlas.store.trials import precision_of, rate
from tests.builders import a_bundle

# Feature 0 fires once in each of three contexts: at 6 on " mat"? no: tokens are in tests.builders.
INDUCED = "src.before == dst.token"


@pytest.fixture
def atlas(store):
    with Atlas.open(store) as atlas:
        yield atlas


def test_a_statement_about_the_firing_token_is_counted_on_both_sides(atlas):
    # Firings stand at 6, 5 and 4 of [0 1 2 3 4 1 5 10], [0 1 7 8 10 1 7 8], [0 1 11 3 6 9 10 1].
    trial = atlas.test('dst.token == " the"', "toy/1-t/0")
    assert (trial.pooled.recall.held, trial.pooled.recall.n) == (1, 3), "context 1 alone"
    assert trial.pooled.anywhere == trial.pooled.recall
    # Other places but the first: 6 a context. " the" stands at 1 and 5, at 1, at 1 and 7.
    assert (trial.pooled.alarms.held, trial.pooled.alarms.n) == (5, 18)
    assert not trial.of_source
    assert trial.pooled.chance is None
    density = 120 / 3000
    found = (density / 3) / (density / 3 + (1 - density) * 5 / 18)
    assert trial.pooled.precision == pytest.approx(found)
    assert trial.pooled.lift == pytest.approx(found / density)
    assert [one.ctx for one in trial.missed] == [0, 2]
    assert {(one.ctx, one.pos) for one in trial.alarmed} == {(0, 1), (0, 5), (1, 1), (2, 1), (2, 7)}


def test_a_statement_about_the_source_is_measured_at_firings_and_possible_elsewhere(atlas):
    trial = atlas.test(INDUCED, "toy/1-t/0")
    # The source stands at 2, behind " the" at 1: context 1 fires on " the" at 5.
    assert (trial.pooled.recall.held, trial.pooled.recall.n) == (1, 3)
    assert trial.missed[0].source == 2
    assert trial.missed[0].head == 1
    # Elsewhere it holds where the token stood earlier, or stands at S - 1 itself: D >= 2.
    seen = [(0, 5), (1, 6), (1, 7), (2, 7)]
    assert {(one.ctx, one.pos) for one in trial.alarmed} == set(seen)
    assert (trial.pooled.anywhere.held, trial.pooled.alarms.held) == (1, 4)
    # Of the six tokens at or before that " the" one would make it hold, of the others' none.
    assert trial.pooled.chance == pytest.approx((0 + 1 / 6 + 0) / 3)


def test_heads_are_known_at_firings_and_any_elsewhere(atlas):
    assert atlas.test("head == 1", "toy/1-t/0").pooled.recall.held == 3
    other = atlas.test("head == 0", "toy/1-t/0").pooled
    assert (other.recall.held, other.anywhere.held, other.alarms.held) == (0, 3, 18)


def test_a_head_and_an_sae_pool_their_features(atlas):
    head = atlas.test("head == 1", "toy/L1H1")
    assert head.pooled.features == head.candidates == 2, "features 0 and 3 are led by head 1"
    assert {one.target for one in head.verdicts} == {"toy/1-t/0", "toy/1-t/3"}
    sae = atlas.test("feature == 2", "toy/1-t")
    assert sae.candidates == 5, "the dead one has no firings"
    assert sae.pooled.recall == rate_of(3, 15)
    assert sae.verdicts[0].target == "toy/1-t/2"


def rate_of(held: int, n: int) -> Rate:
    import numpy as np

    return rate(np.arange(n) < held)


def test_the_interval_of_a_rate_is_wilsons():
    found = rate_of(8, 10)
    assert found.share == 0.8
    assert (found.interval.low, found.interval.high) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert rate_of(0, 0) == Rate(0, 0, None, None)


def test_precision_follows_from_recall_alarms_and_density():
    value, interval = precision_of(rate_of(8, 10), rate_of(2, 10), 0.01)
    assert value == pytest.approx(0.008 / (0.008 + 0.198))
    assert interval.low < value < interval.high
    value, interval = precision_of(rate_of(8, 10), rate_of(0, 10), 0.01)
    assert value is None, "one cannot be sure after ten places"
    assert (interval.low, interval.high) == (pytest.approx(0.0174, abs=1e-3), 1.0)
    assert precision_of(rate_of(0, 10), rate_of(0, 10), 0.01) == (None, None)
    assert precision_of(rate_of(5, 10), rate_of(0, 0), 0.01) == (None, None)


def test_the_seed_alone_decides_what_is_drawn(atlas):
    assert atlas.test(INDUCED, "toy/1-t", 3) == atlas.test(INDUCED, "toy/1-t", 3)


@pytest.mark.parametrize(
    ("text", "target", "error", "message"),
    [
        ("earlier", "toy", QueryError, "toy is a model"),
        ("earlier", "toy/1-t/99", NotFound, "no toy/1-t/99"),
        ("earlier", "toy/1-t/5", NotFound, "no kept firings"),
        ("earlier", "gibberish/x", NotFound, "not an id"),
        ('match(dst.token, "(")', "toy/1-t/0", QueryError, "regular expression"),
    ],
)
def test_what_cannot_be_tested_is_said(atlas, text, target, error, message):
    with pytest.raises(error, match=message):
        atlas.test(text, target)


def test_a_saved_hypothesis_is_tested_again_on_a_new_snapshot(atlas, store, tmp_path):
    kept = SavedQuery("induced", INDUCED, "hypothesis", {"target": "toy/1-t/0", "seed": 2})
    note = atlas.notes.add(kept, "Ann")
    before = atlas.test_saved(note.id)
    publish(store, [a_bundle(tmp_path / "more", run="run-2", layers=(1,)).path])
    after = atlas.test_saved(note.id)
    assert (before.snapshot, after.snapshot) == ("000001", "000002")
    assert before.pooled.recall == after.pooled.recall
    assert after.seed == 2


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("distnce < 2", {"target": "toy/1-t/0"}, "unknown name 'distnce'"),
        ("earlier", {}, "target"),
        ("earlier", {"target": "toy/1-t/0", "sead": 1}, "sead"),
        ("earlier", {"target": "toy/1-t/0", "seed": "x"}, "seed"),
    ],
)
def test_a_saved_hypothesis_is_checked_when_it_is_written(atlas, text, parameters, message):
    with pytest.raises((NotesError, NotFound), match=message):
        atlas.notes.add(SavedQuery("broken", text, "hypothesis", parameters), "Ann")


def test_a_note_that_is_no_hypothesis_is_not_tested(atlas):
    note = atlas.notes.add(SavedQuery("rows", "SELECT 1"), "Ann")
    with pytest.raises(QueryError, match="no saved hypothesis"):
        atlas.test_saved(note.id)
