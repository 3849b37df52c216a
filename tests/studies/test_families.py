"""Families: each rule on firings made for it, predictors against slow loops, planted features."""

import numpy as np
import pytest

from atlas.api import Atlas
from atlas.types import Query
from ingest.studies.family_rules import FAMILIES, explained, judge, shares
from ingest.studies.family_text import Predictor, Words, index, predict, predictor, word_list
from tests.studies.planted_heads import KNOWN, RESTING

WORDS = np.array([[-1, 5, 6, 7, 5, 8, 9, 5, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 5]])


def family_of(pos, sources):
    """Families that explain one firing at `pos` with DFA by source."""
    src, dfa = np.array([list(sources)]), np.array([list(sources.values())], float)
    found = shares(WORDS, np.array([pos]), src, dfa, np.zeros(1))
    return {name for name, holds in explained(found).items() if holds[0]}


@pytest.mark.parametrize(
    ("pos", "sources", "families"),
    [
        (4, {2: 1.0}, {"induction"}),  # 6 followed the first 5
        (4, {1: 1.0}, {"duplicate_token"}),
        (6, {5: 1.0}, {"previous_token"}),
        (6, {0: 1.0}, {"first_token"}),
        (6, {6: 1.0}, {"current_token"}),
        (4, {0: 0.9, 2: 0.1, 3: 0.05}, {"first_token"}),  # the rest is too little to judge by
        (4, {0: 0.4, 2: 0.35, 3: 0.25}, {"induction"}),  # most of what was fetched
        (7, {2: 0.3, 5: 0.3}, {"induction"}),  # two earlier copies, both followed
        (6, {3: 0.4, 2: 0.4}, {"local_context"}),
        (19, {2: 0.3, 3: 0.3, 5: 0.3, 6: 0.3}, {"induction"}),
        (18, {2: 0.3, 3: 0.3, 5: 0.3, 6: 0.3}, {"long_range_context"}),
        (18, {2: 0.9, 3: 0.3}, set()),  # far, but from one place
        (6, {5: -3.0, 3: 1.0, 6: 0.1}, {"local_context"}),  # negative DFA does not count
    ],
)
def test_a_firing_is_explained_by_the_families_it_was_made_for(pos, sources, families):
    assert family_of(pos, sources) == families


def test_dfa_of_sources_that_are_not_listed_weakens_every_family():
    one = (WORDS, np.array([6]), np.array([[5]]), np.array([[1.0]]))
    assert explained(shares(*one, np.array([0.5])))["previous_token"][0]
    assert not explained(shares(*one, np.array([1.5])))["previous_token"][0]


def test_a_family_holds_when_it_explains_half_of_enough_firings_and_the_specific_one_is_best():
    feature = np.repeat([0, 1, 2], [10, 10, 3])
    word, pos = np.arange(23) % 7, np.arange(23) * 3
    word[10:20] = 4
    half = np.arange(23) % 2 == 0
    by_family = {name: np.zeros(23, bool) for name in FAMILIES}
    by_family["induction"], by_family["previous_token"] = half, np.ones(23, bool)
    found = judge(feature, word, pos, by_family, 4)
    names = list(FAMILIES)
    assert found.score["induction"].tolist()[:2] == [0.5, 0.5]
    assert [names[one] if one >= 0 else None for one in found.best] == [
        "induction", "induction", None, None,
    ]  # fmt: skip
    assert found.holds["single_token"].tolist() == [False, True, False, False]
    assert found.holds["previous_token"].tolist() == [True, True, False, False]


def by_hand(family, row, wanted, place, length):
    """Positions of one context where a family predicts, looked up one by one."""
    found = []
    for pos in range(1, length):
        before = list(row[1:pos])
        follow = {row[s] for s in range(2, pos) if row[s - 1] == row[pos] and row[s] >= 0}
        match family:
            case "induction":
                yes = bool(follow & wanted) or (row[pos - 1] == row[pos] and row[pos] in wanted)
            case "duplicate_token":
                yes = row[pos] in wanted and row[pos] in before
            case "previous_token":
                yes = row[pos - 1] in wanted
            case "local_context":
                yes = bool(set(row[max(0, pos - 8) : pos]) & wanted)
            case "long_range_context":
                yes = bool(set(row[: max(0, pos - 8)]) & wanted)
            case "positional":
                yes = abs(pos - place) <= 2
            case _:
                yes = row[pos] in wanted
        found += [pos] if yes else []
    return found


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "first_token"])
def test_predictions_are_those_of_a_slow_loop(family):
    rng = np.random.default_rng(1)
    words = rng.integers(0, 6, (5, 24))
    words[:, 0] = -1
    length = np.array([24, 20, 24, 9, 24])
    for row, size in zip(words, length, strict=True):
        row[size:] = -1
    places = np.arange(24)
    valid = (places >= 1) & (places < length[:, None])
    one = Predictor(family, np.array([2, 4]), 7)
    text = index(words, valid)
    found = predict(one, text)
    expected = [
        number * 24 + pos
        for number in range(5)
        for pos in by_hand(family, words[number].tolist(), {2, 4}, 7, length[number])
    ]
    assert found.tolist() == expected
    narrower = predict(one._replace(here=np.array([3])), text)
    if family != "positional":
        assert narrower.tolist() == [p for p in expected if words.ravel()[p] == 3]


def test_a_family_without_common_words_predicts_from_repetition_alone():
    text = index(np.array([[-1, 5, 6, 5, 7, 6]]), np.ones((1, 6), bool))
    wide, narrow = Words(np.array([6]), 0.2), Words(np.array([5]), 0.9)
    free = predictor("induction", wide, wide, 0)
    assert (free.words, free.here, free.said) == (None, None, "repetition alone")
    assert predict(free, text).tolist() == [3, 5]
    told = predictor("induction", narrow, narrow, 0)
    assert told.said == "words and firing words"
    assert predictor("local_context", wide, wide, 0).words.tolist() == [6]
    assert predictor("duplicate_token", narrow, wide, 0).here is None


def test_a_word_list_leaves_out_rare_words_and_places_without_one():
    found = word_list(np.array([3] * 12 + [-1] * 7 + [8]))
    assert (found.words.tolist(), found.covers) == ([3], 0.6)


def test_planted_features_are_put_into_the_families_they_were_made_for(planted):
    store, _ = planted
    with Atlas.open(store) as atlas:

        def family(layer, index):
            return atlas.feature(f"planted/{layer}-att/{index}").row.family

        assert [family(0, one) for one in range(KNOWN)] == ["previous_token"] * KNOWN
        assert [family(0, one) for one in range(KNOWN, 2 * KNOWN)] == ["duplicate_token"] * KNOWN
        assert [family(1, one) for one in range(KNOWN)] == ["induction"] * KNOWN
        assert [family(1, one) for one in RESTING] == ["first_token"] * 2
        assert family(1, KNOWN) is None
        found = atlas.search(Query(family="induction"))
    assert found.total == KNOWN


def test_rules_of_planted_features_hold_on_text_that_was_held_out(planted):
    rows = planted[1].read("family_share").to_pandas().set_index(["sae", "family"])
    for sae, family in (
        ("planted/0-att", "previous_token"),
        ("planted/0-att", "duplicate_token"),
        ("planted/1-att", "induction"),
    ):
        row = rows.loc[(sae, family)]
        assert row.features == KNOWN
        assert row.replicated > 0.95
        assert row.precision > 0.9
        assert row.recall > 0.9
        assert row.precision_low < row.precision <= row.precision_high
        assert row.specificity > 0.99
        assert row.precision_n > 50
    assert rows.loc[("planted/1-att", "induction")].share == pytest.approx(KNOWN / (KNOWN + 2))


def test_activation_bins_of_a_family_add_up_to_its_firings(planted):
    tables = {name: planted[1].read(name).to_pandas() for name in ("feature_family", "family_bin")}
    bins = tables["family_bin"].groupby(["sae", "family"]).fired.sum()
    best = tables["feature_family"].query("best")
    assert bins.to_dict() == best.groupby(["sae", "family"]).fired.sum().to_dict()
    assert [sum(row) for row in best.bin_fired] == best.fired.tolist()
    foretold = best[best.hits.notna()]
    assert [sum(row) for row in foretold.bin_hits] == foretold.hits.tolist()
    assert best[best.hits.isna()].family.unique().tolist() == ["first_token"]
