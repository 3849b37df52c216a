"""Ids: one scheme, parse inverts str, short forms are resolved or said to be ambiguous."""

import pytest

from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId, ModelId, SaeId, candidates, parse, parse_feature

SAE = SaeId("gpt2", 5, "att-kk")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt2", ModelId("gpt2")),
        ("gpt2/L5H1", HeadId("gpt2", 5, 1)),
        ("gpt2/5-att-kk", SAE),
        ("gpt2/5-att-kk/123", FeatureId(SAE, 123)),
        ("SmolLM2-135M/8-att.b_2/0", FeatureId(SaeId("SmolLM2-135M", 8, "att.b_2"), 0)),
    ],
)
def test_parse_is_the_inverse_of_str(text, expected):
    assert parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "gpt2/", "gpt2/5", "gpt2/H1L5", "a/b/c/d", "../etc", "x y"])
def test_what_is_no_id_is_refused_with_the_known_forms(text):
    with pytest.raises(NotFound, match="known forms"):
        parse(text)


def test_a_head_is_not_taken_for_a_feature():
    with pytest.raises(NotFound, match="not a feature id: 'gpt2/L5H1'"):
        parse_feature("gpt2/L5H1")


def test_a_short_head_means_one_head_per_model():
    assert candidates("5.1", ["b", "a"], []) == (HeadId("a", 5, 1), HeadId("b", 5, 1))
    assert candidates("L5H1", ["a"], []) == (HeadId("a", 5, 1),)


def test_a_short_feature_means_the_saes_of_that_layer_and_set():
    saes = [SAE, SaeId("pythia", 5, "att-kk"), SaeId("gpt2", 6, "att-kk")]
    found = candidates("5-att-kk/7", [], saes)
    assert [str(one) for one in found] == ["gpt2/5-att-kk/7", "pythia/5-att-kk/7"]


def test_words_are_no_candidates():
    assert candidates("the cat sat", ["gpt2"], [SAE]) == ()
