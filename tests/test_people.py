"""People's words beside the machine's: found by search, shown as titles, filtered by tag."""

import pytest

from atlas.api import Atlas
from atlas.ids import parse_feature
from atlas.note_types import Comment, HumanLabel, Tag
from atlas.store.publish import publish
from atlas.types import Query
from tests.builders import a_bundle


@pytest.fixture
def atlas(tmp_path):
    publish(tmp_path / "store", [a_bundle(tmp_path / "bundle").path])
    with Atlas.open(tmp_path / "store") as opened:
        yield opened


def found(atlas, **query):
    return [str(hit.row.id) for hit in atlas.search(Query(**query)).hits]


def test_reading_alone_writes_nothing(atlas):
    atlas.search(Query(text="board"))
    atlas.feature("toy/0-t/1")
    assert not (atlas.store / "notes.sqlite").exists()
    assert found(atlas, tag="odd") == []


def test_a_persons_title_stands_before_the_machines(atlas):
    atlas.notes.add(HumanLabel("toy/0-t/0", "my own name for it"), "ada")
    feature = atlas.feature("toy/0-t/0")
    assert (feature.row.title, feature.row.title_method) == ("my own name for it", "ada")
    assert feature.labels  # the machine's are still there
    titles = [one.row.title for one in atlas.head("toy/L0H1").features]
    assert "my own name for it" in titles


def test_search_finds_features_by_what_people_wrote_about_them(atlas):
    assert found(atlas, text="quokka") == []
    atlas.notes.add(Comment("toy/1-t/2", "fires on the quokka paper"), "ada")
    (hit,) = atlas.search(Query(text="quokka")).hits
    assert hit.row.id == parse_feature("toy/1-t/2")
    assert "comment by ada" in hit.reasons[0]


def test_a_tag_is_a_filter(atlas):
    for feature in ("toy/0-t/1", "toy/1-t/4"):
        atlas.notes.add(Tag(feature, "odd"), "ada")
    atlas.notes.add(Tag("toy/L0H1", "odd"), "ada")  # a head: no feature, no hit
    assert sorted(found(atlas, tag="odd")) == ["toy/0-t/1", "toy/1-t/4"]
    assert found(atlas, tag="odd", layer=1) == ["toy/1-t/4"]


def test_sql_sees_notes_beside_evidence(atlas):
    atlas.notes.add(Tag("toy/0-t/1", "odd"), "ada")
    query = "SELECT feature_card.id FROM feature_card JOIN tag ON tag.target = feature_card.id"
    assert atlas.sql(query).rows == (("toy/0-t/1",),)
