"""Labels by rule: planted patterns are named, and support is counted on other firings."""

import numpy as np
import pytest

from ingest.label.rules import Facts, Rule, from_json, holds, normalise
from ingest.label.tokens import label_features


def facts(*rows):
    """Rows of (token, before, next, source, before_source, distance, source_pos)."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Facts(*columns)


ROW = ("cat", "the", "sat", "dog", "a", 3, 5)


@pytest.mark.parametrize(
    ("rule", "row", "expected"),
    [
        (Rule("token", ("cat",)), ROW, True),
        (Rule("token", ("dog",)), ROW, False),
        (Rule("before", ("the", "a")), ROW, True),
        (Rule("next", ("sat",)), ROW, True),
        (Rule("source", ("dog",)), ROW, True),
        (Rule("induction"), ("cat", "the", "sat", "dog", "cat", 7, 5), True),
        (Rule("induction"), ROW, False),
        (Rule("duplicate"), ("cat", "the", "sat", "cat", "a", 3, 5), True),
        (Rule("duplicate"), ("cat", "the", "sat", "cat", "a", 0, 5), False),
        (Rule("previous"), ("cat", "the", "sat", "the", "a", 1, 5), True),
        (Rule("self"), ("cat", "the", "sat", "cat", "the", 0, 5), True),
        (Rule("near"), ROW, True),
        (Rule("near"), ("cat", "the", "sat", "dog", "a", 9, 5), False),
        (Rule("far"), ("cat", "the", "sat", "dog", "a", 33, 5), True),
        (Rule("first"), ("cat", "the", "sat", "<s>", "", 3, 0), True),
        (Rule("all", parts=(Rule("near"), Rule("token", ("cat",)))), ROW, True),
        (Rule("all", parts=(Rule("near"), Rule("token", ("dog",)))), ROW, False),
    ],
)
def test_a_rule_holds_when_its_condition_does(rule, row, expected):
    assert holds(rule, facts(row)).tolist() == [expected]
    assert from_json(rule.to_json()) == rule


@pytest.mark.parametrize(
    ("text", "word"), [(" The", "the"), ("\n", "↵"), ("  ", "␣␣"), ("", ""), ("\t\n", "⇥↵")]
)
def test_words_lose_case_and_space_but_white_space_stays_visible(text, word):
    assert normalise(text) == word


def noise(rng, n):
    words = np.array([f"w{i}" for i in range(60)])
    pick = lambda: rng.choice(words, n)  # noqa: E731
    return Facts(
        pick(), pick(), pick(), pick(), pick(), rng.integers(2, 40, n), rng.integers(9, 99, n)
    )


def an_sae(plant, n=20, features=30):
    """Examples of `features` features, noise but for feature 0, which `plant` changes."""
    rng = np.random.default_rng(0)
    columns = noise(rng, n * features)._asdict()
    columns = {name: values.astype(object) for name, values in columns.items()}
    plant(columns, slice(0, n))
    feature = np.repeat(np.arange(features), n)
    forming = np.tile(np.arange(n) < 12, features)
    labels = label_features(feature, forming, Facts(**columns), [("yes", "no")] * features)
    return {(label.feature, label.side): label for label in labels}


def test_a_token_feature_is_named_by_its_token():
    def plant(columns, rows):
        columns["token"][rows] = "board"

    labels = an_sae(plant)
    assert labels[0, "title"].text == "“board”"
    assert labels[0, "title"].support == 1.0
    assert labels[0, "title"].n == 8
    assert labels[0, "title"].low > 0.6


def test_an_induction_feature_is_named_by_what_comes_next():
    def plant(columns, rows):
        columns["before_source"][rows] = columns["token"][rows]
        columns["source"][rows] = "board"

    assert an_sae(plant)[0, "title"].text == "“board” is next by induction"


def test_a_previous_token_feature_is_named_by_the_token_before():
    def plant(columns, rows):
        columns["before"][rows] = columns["source"][rows] = "of"
        columns["distance"][rows] = 1

    labels = an_sae(plant)
    assert labels[0, "when"].text == "after “of”"
    assert "“of”" in labels[0, "title"].text
    assert labels[0, "fetches"].support == 1.0


def test_support_is_counted_on_firings_that_formed_nothing():
    def plant(columns, rows):
        columns["token"][rows.start : rows.start + 12] = "board"  # the forming ones alone

    labels = an_sae(plant)
    assert labels[0, "when"].text == "“board”"
    assert labels[0, "title"].support == 0.0


def test_a_title_that_explains_little_of_what_judges_it_says_that_it_is_unclear():
    def plant(columns, rows):
        columns["token"][rows.start : rows.start + 12] = "board"

    labels = an_sae(plant)
    assert labels[0, "title"].text == "unclear: “board”"


def test_what_holds_for_all_features_does_not_name_one():
    def plant(columns, rows):
        columns["distance"][:] = 1
        columns["token"][rows] = "board"

    assert an_sae(plant)[0, "title"].text == "“board”"


def test_noise_is_called_mixed_and_gets_little_support():
    title = an_sae(lambda *_: None)[5, "title"]
    assert title.text.startswith("mixed: ")
    assert title.support < 0.5


def test_without_judging_examples_there_is_no_support():
    labels = label_features(np.zeros(3, int), np.ones(3, bool), facts(ROW, ROW, ROW), [("yes",)])
    assert {(label.support, label.n) for label in labels} == {(None, 0)}


def test_every_side_is_labelled_for_every_feature():
    labels = an_sae(lambda *_: None)
    assert len(labels) == 30 * 4
    assert labels[7, "says"].text == "promotes “yes”, “no”"
