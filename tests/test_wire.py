"""The JSON form: every type there and back, and what is refused."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atlas import wire
from atlas.api import Atlas
from atlas.ids import FeatureId, HeadId, ModelId, SaeId
from atlas.note_types import Collection, Comment, Judged, Member, Note, RoleClaim, Tag, Vote
from atlas.store.publish import publish
from atlas.types import Feature, Head, HeadMetric, Interval, Jump, Page, Query, Snapshot

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    from tests.builders import a_bundle

    folder = tmp_path_factory.mktemp("wire")
    publish(folder / "store", [a_bundle(folder / "bundle").path])
    return Atlas.open(folder / "store")


def test_a_feature_comes_back_the_same(atlas):
    feature = atlas.feature("toy/1-t/0")
    assert wire.loads(Feature, wire.dumps(feature)) == feature


def test_a_head_and_a_page_come_back_the_same(atlas):
    head, page = atlas.head("toy/L1H1"), atlas.search(Query("board"))
    assert wire.loads(Head, wire.dumps(head)) == head
    assert wire.loads(Page, wire.dumps(page)) == page


def test_an_id_is_its_text_and_comes_back_as_its_kind():
    jump = Jump("5", (ModelId("m"), HeadId("m", 1, 2), SaeId("m", 1, "t"),
                      FeatureId(SaeId("m", 1, "t"), 3)))  # fmt: skip
    told = wire.dumps(jump)
    assert json.loads(told)["found"] == ["m", "m/L1H2", "m/1-t", "m/1-t/3"]
    assert wire.loads(Jump, told) == jump


def test_a_number_that_is_not_finite_is_null():
    metric = HeadMetric("x", "y", math.nan, Interval(-math.inf, 1.0), 2)
    told = wire.dumps(metric)
    assert json.loads(told)["value"] is None
    assert json.loads(told)["interval"] == {"low": None, "high": 1.0}
    assert math.isnan(wire.loads(HeadMetric, told).value)


def test_paths_stay_here_and_properties_are_told():
    snapshot = Snapshot(3, Path("/srv/atlas"), 2, NOW)
    told = json.loads(wire.dumps(snapshot))
    assert told == {
        "number": 3,
        "schema_version": 2,
        "published_at": "2026-01-02T03:04:05.000678+00:00",
        "name": "000003",
    }
    assert wire.read(Snapshot, told) == replace(snapshot, path=Path())


@pytest.mark.parametrize(
    "content", [Tag("m", "x"), Comment("m", "x"), Collection("c", "", (Member("m", "s"),))]
)
def test_a_note_comes_back_with_its_kind_of_content(content):
    note = Note("0" * 32, content, "Zoë", 1, NOW, NOW, "Zoë")
    assert wire.loads(Note[Any], wire.dumps(note)) == note
    assert wire.loads(Note[type(content)], wire.dumps(note)) == note


def test_generic_types_carry_their_parts():
    claim = Note("0" * 32, RoleClaim("m/L0H0", "induction"), "A", 1, NOW, NOW, "A")
    vote = Note("1" * 32, Vote("0" * 32, "agree"), "B", 1, NOW, NOW, "B")
    judged = Judged(claim, (vote,))
    assert json.loads(wire.dumps(judged))["agree"] == 1
    assert wire.loads(Judged[RoleClaim], wire.dumps(judged)) == judged
    with pytest.raises(ValueError, match="note.content.target is missing"):
        wire.loads(Judged[RoleClaim], wire.dumps(judged).replace('"target"', '"aim"'))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, True, "must be a whole number, not 'True'"),
        (int, 1.0, "must be a whole number"),
        (float, "1", "must be a number"),
        (str, 1, "must be text"),
        (tuple[str, ...], "ab", "must be a list"),
        (tuple[int, int], [1], "must be a list of 2"),
        (Vote, {"about": "x", "choice": "maybe"}, "choice must be one of agree, dispute"),
        (Tag, ["m", "x"], r"must be an object \(Tag\)"),
        (Tag, {"target": "m"}, "name is missing"),
        (HeadId, "m", "must be the id of a Head"),
        (HeadId, "?", "not an id"),
        (Collection, {"name": "c", "members": [{}]}, r"members\[0\].target is missing"),
        (datetime, "yesterday", "yesterday"),
    ],
)
def test_something_else_is_refused_by_place(kind, value, message):
    with pytest.raises(ValueError, match=message):
        wire.read(kind, value)


def test_an_unknown_member_is_passed_over_unless_strict():
    value = {"target": "m", "name": "x", "colour": 1}
    assert wire.read(Tag, value) == Tag("m", "x")
    with pytest.raises(ValueError, match=r"colour is unknown \(known: target, name\)"):
        wire.read(Tag, value, strict=True)


def test_what_has_no_json_form_is_a_mistake_of_the_program():
    with pytest.raises(TypeError, match="no JSON form for a object"):
        wire.dumps(object())
