"""Scores against figures computed by hand."""

import math

import pytest

from ingest.label.journal import Reply
from ingest.label.measure import TooFew, balanced, correlation
from ingest.label.replies import Failed, expected_digit
from ingest.label.rules import Rule
from ingest.label.score import permits


def test_balanced_accuracy_is_the_mean_of_both_shares():
    # 3 of 4 firings and 5 of 10 silent places are right: (0.75 + 0.5) / 2.
    fires = [True] * 4 + [False] * 10
    said = [1, 1, 1, 0] + [1] * 5 + [0] * 5
    deciles = [9, 9, 0, 0] + [None] * 10
    found = balanced(fires, said, deciles)
    assert found.score == pytest.approx(0.625)
    assert found.n == 14
    assert (found.deciles[0], found.deciles[9], found.deciles[5]) == (0.5, 1.0, None)
    assert found.decile_n == (2, 0, 0, 0, 0, 0, 0, 0, 0, 2)
    # Wilson: 3 of 4 is 0.3006 to 0.9544, 5 of 10 is 0.2366 to 0.7634; joined by Newcombe's rule.
    assert found.low == pytest.approx(0.625 - math.hypot(0.75 - 0.3006, 0.5 - 0.2366) / 2, abs=1e-3)
    assert found.high == pytest.approx(
        0.625 + math.hypot(0.9544 - 0.75, 0.7634 - 0.5) / 2, abs=1e-3
    )


def test_always_saying_yes_is_worth_a_half():
    found = balanced([True] * 12 + [False] * 12, [1.0] * 24, [None] * 24)
    assert found.score == 0.5
    assert found.low < 0.5 < found.high


def test_more_judgements_make_the_interval_narrower():
    wide, narrow = (balanced([True, False] * n, [1, 0] * n, [None] * 2 * n) for n in (4, 40))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2


def test_two_firings_are_no_basis_for_a_score():
    with pytest.raises(TooFew, match="2 firings and 9 silent places are too few"):
        balanced([True] * 2 + [False] * 9, [1.0] * 11, [None] * 11)


def test_correlation_is_pearsons_and_a_constant_has_none():
    acts = [0, 0, 0, 1, 2, 3]
    assert correlation(acts, [0, 0, 0, 3, 6, 9]).score == pytest.approx(1)
    assert correlation(acts, [5] * 6).score == 0
    found = correlation(acts, [1, 0, 0, 1, 1, 4])  # 8 / sqrt(8 * 390 / 36)
    assert found.score == pytest.approx(0.8594, abs=1e-4)
    assert -1 < found.low < found.score < found.high < 1


def reply(*first):
    return Reply("5", None, False, first, 1, 1, 0.1)


def test_a_simulation_is_the_mean_digit_by_probability():
    found = expected_digit(reply(("2", math.log(0.25)), (" 6", math.log(0.75))))
    assert found == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("first", "match"),
    [
        ([], "gives no log-probabilities"),
        ([("5", 3.5)], "above 0 or not finite"),
        ([("5", float("nan"))], "above 0 or not finite"),
        ([("yes", -0.01), ("5", -6.0)], "digits 0% of the weight"),
    ],
)
def test_log_probabilities_that_make_no_sense_are_a_failure(first, match):
    with pytest.raises(Failed, match=match):
        expected_digit(reply(*first))


TOKENS = (" a", " cat", " sat", " on", " a", " cat")


@pytest.mark.parametrize(
    ("rule", "pos", "expected"),
    [
        (Rule("token", ("cat",)), 5, True),
        (Rule("token", ("cat",)), 3, False),
        (Rule("before", ("a",)), 5, True),
        (Rule("source", ("sat",)), 5, True),
        (Rule("source", ("sat",)), 1, False),
        (Rule("induction"), 5, True),
        (Rule("induction"), 3, False),
        (Rule("all", parts=(Rule("induction"), Rule("source", ("sat",)))), 5, True),
        (Rule("all", parts=(Rule("induction"), Rule("source", ("on",)))), 5, False),
        (Rule("duplicate"), 4, True),
        (Rule("duplicate"), 3, False),
        (Rule("previous"), 3, True),
        (Rule("far"), 5, False),
    ],
)
def test_a_rule_on_the_text_alone_holds_where_some_source_would_do(rule, pos, expected):
    assert permits(rule, TOKENS, pos) is expected
