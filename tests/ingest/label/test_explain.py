"""What an explainer is shown: both sides marked, sizes bounded, counterexamples where there are."""

from dataclasses import replace

import pytest

from atlas.api import Atlas
from ingest.label import explain, passages
from ingest.label.client import Failed
from ingest.label.count import TokenCounter
from ingest.label.places import place_of, split
from ingest.label.prompts import prompt
from ingest.label.score import requests
from ingest.label.settings import Choice
from tests.builders import WORDS
from tests.ingest.label.stores import a_store

COUNTER = TokenCounter(WORDS)


@pytest.fixture(scope="module")
def feature(tmp_path_factory):
    with Atlas.open(a_store(tmp_path_factory.mktemp("explain"))) as atlas:
        yield atlas.feature("toy/1-t/1")


def asked(feature, **choice):
    places = split(feature, (), (), 10, 4, 12)
    return explain.request(feature, places, Choice(**choice), COUNTER).messages[1][1]


def examples(text):
    return text.split("\n\n")[0].splitlines()[1:]


def test_both_sides_are_marked_and_strengths_told(feature):
    first, *_, last = examples(asked(feature))
    assert "«the»" in first
    assert first.count("[[") == 2  # the token before, and the start token
    assert first.endswith("(10/10)")
    assert "«the»" in last


def test_heads_and_logits_are_told(feature):
    text = asked(feature)
    assert "L1H0 90%, L1H1 10%" in text
    assert "“ board”, “ members”" in text


def test_the_passages_keep_within_their_tokens(feature):
    for budget in (40, 60, 200):
        lines = [line.split(". ", 1)[1] for line in examples(asked(feature, shown_tokens=budget))]
        assert lines
        assert sum(COUNTER.count(line) for line in lines) <= budget
    assert len(examples(asked(feature, shown_tokens=60))) < len(examples(asked(feature)))


def test_what_has_no_room_for_one_example_is_not_asked(feature):
    with pytest.raises(Failed, match="no example of it fits into 5 tokens"):
        asked(feature, shown_tokens=5)


def test_near_misses_are_counterexamples_to_one_and_questions_to_the_other(feature):
    some = [
        replace(one, kind="near_miss", act=-0.25, acts=()) if one.kind == "interval" else one
        for one in feature.examples
    ]
    missing = replace(feature, examples=tuple(some))
    places = split(missing, (), (), 10, 4, 12)
    assert {one.kind for one in places.counter} == {"near_miss"}
    near = [one for one in places.detection if one.kind == "near_miss"]
    assert near
    assert not any(one.fires for one in near)
    assert not {one.ctx for one in places.counter} & {one.ctx for one in near}
    against = asked(missing).split("does not fire\n")[1].split("\n\n")[0]
    assert against.count("«the»") == len(places.counter)
    assert "none are known" in asked(feature)


def test_marks_in_the_text_itself_are_no_marks(feature):
    one = place_of(feature, feature.examples[0])
    tokens = (*one.tokens[:6], " «quoted»", *one.tokens[7:])
    line = passages.marked(one._replace(tokens=tokens), 40, 8)
    assert line.count("«") == 1
    assert "‹quoted›" in line


def test_a_passage_is_cut_off_behind_its_place_even_where_that_is_white_space(feature):
    one = place_of(feature, feature.examples[0])
    assert passages.cut_off(one, 2) == "".join(one.tokens[6:9]).strip()
    tokens = (*one.tokens[:8], "  ", *one.tokens[9:])
    assert passages.cut_off(one._replace(tokens=tokens), 1).endswith("␣␣")


def test_judges_are_not_told_how_many_are_true_nor_what_is_marked_where_it_is_not(feature):
    places = split(feature, (), (), 10, 4, 12).detection
    asks = requests("detection", "LBL", places, Choice(batch=8))
    assert [size for _, size in asks] == [8, 8, 8]
    assert len(places) == 24
    assert not any("«" in ask.messages[1][1] for ask, _ in asks)


def test_another_wording_is_another_version(tmp_path, monkeypatch):
    from ingest.label import prompts

    (tmp_path / "explain.md").write_text("system\n=====\nuser $a")
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    other = prompt.__wrapped__("explain")
    assert other.version != explain.version()
    assert other.messages(a="x") == (("system", "system"), ("user", "user x"))
