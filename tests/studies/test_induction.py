"""The induction detector: sequences and counts by hand, planted features found, others not."""

import numpy as np
import pytest

from ingest.studies.induction import Counts, count, rates, sequences
from tests.studies.planted_heads import KNOWN, RESTING

TRIALS = 6
"""What the study of the planted model takes by default."""


def test_every_wanted_token_follows_another_one_in_enough_sequences_said_twice():
    wanted = np.arange(10, 47)
    drawn = sequences(wanted, TRIALS, 9, 1, np.random.default_rng(0))
    copy = drawn[:, 1:10]
    assert (drawn[:, 0] == 1).all()
    assert (drawn[:, 10:] == copy).all()
    assert all(len(set(row)) == 9 for row in copy.tolist())
    times = np.bincount(copy[:, 1:].ravel(), minlength=47)[10:]
    assert times.min() >= TRIALS
    assert times.max() <= 2 * TRIALS
    assert sequences(wanted, TRIALS, 9, None, np.random.default_rng(0)).shape[1] == 18


def test_firings_are_counted_where_an_own_token_follows():
    fired = np.array([[0, 0], [1, 0], [2, 0], [2, 1]])
    found = count(fired, np.array([7, 8, 7]), np.array([[7, 9], [5, 7]]))
    assert found.tolist() == [[2, 0], [0, 1]]


def test_a_feature_must_fire_on_the_second_copy_and_far_less_on_the_first_and_elsewhere():
    def fires(second, first, anywhere):
        one = Counts(np.array([[3, 4]]), np.array([[1, second]]), np.array([[0, first]]),
                     np.array([[8, 8]]), np.array([anywhere]), 116)  # fmt: skip
        found = rates(one)
        assert found.token.tolist() == [4]
        return bool(found.fires[0]), float(found.elsewhere[0])

    assert fires(6, 1, 11) == (True, 0.04)
    assert not fires(3, 0, 4)[0], "on too few second copies"
    assert not fires(6, 4, 7)[0], "the next token alone brings it"
    assert not fires(6, 0, 60)[0], "it fires on half of all tokens"


def test_planted_features_are_found_by_detector_and_rule_alike(planted):
    rows = planted[1].read("feature_induction").to_pandas().set_index(["sae", "feature"])
    shares = planted[1].read("induction_share").to_pandas().set_index("sae")
    second, first = shares.loc["planted/1-att"], shares.loc["planted/0-att"]
    assert (second.found, second.by_rule, second.by_both) == (KNOWN,) * 3
    assert second.live == KNOWN + len(RESTING), "the others rest on the start token"
    assert second["heads"].tolist() == [0]
    assert (first.found, first.by_rule, first["heads"].tolist()) == (0, 0, [])
    assert second.agreement == first.agreement == 1.0
    assert second.chance < KNOWN
    own = rows.loc["planted/1-att"].query("found")
    assert own.second.min() > 0.9
    assert own["first"].max() < 0.2
    assert own.delivered.to_numpy() == pytest.approx(1.0)
    assert (own.second_n >= TRIALS).all()
