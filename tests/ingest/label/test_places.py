"""Which places explain and judge: never of the same text, and silent places are silent."""

import pytest

from atlas.api import Atlas
from ingest.label.measure import decile_of
from ingest.label.places import FIRST, split
from tests.ingest.label.stores import a_store


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    with Atlas.open(a_store(tmp_path_factory.mktemp("places"))) as atlas:
        yield atlas


def places(atlas, name="toy/1-t/1", nearby=(), **changes):
    """The split of a feature whose density lets silent places be drawn elsewhere."""
    limits = {"shown": 10, "counter": 4, "firings": 12} | changes
    return split(atlas.feature(name), nearby, atlas.random_contexts("run-1", 40), **limits)


@pytest.mark.parametrize("name", [f"toy/1-t/{n}" for n in range(5)])
def test_no_text_both_explains_and_judges(atlas, name):
    found = places(atlas, name)
    explains = {one.ctx for one in (*found.shown, *found.counter)}
    judges = {one.ctx for one in (*found.detection, *found.fuzzing)}
    assert explains
    assert judges
    assert explains & judges == set()


def test_as_many_places_are_silent_as_fire_and_none_comes_twice(atlas):
    for part in (places(atlas).detection, places(atlas).fuzzing):
        fires = [one for one in part if one.fires]
        assert len(part) == 2 * len(fires) == 24
        assert len({(one.ctx, one.pos) for one in part}) == len(part)
        assert all((one.pos == 8) for one in fires)
        assert all(one.pos >= FIRST for one in part)


def test_silent_places_of_firing_texts_are_those_where_nothing_was_measured(atlas):
    silent = [one for one in places(atlas).fuzzing if not one.fires]
    assert {one.kind for one in silent} == {"silent"}
    assert all(one.pos != 8 and one.act == 0 for one in silent)


def test_hard_places_are_where_a_neighbour_fires_and_this_feature_does_not(atlas):
    judged = next(one.ctx for one in places(atlas).detection if one.fires)
    found = places(atlas, nearby=[(judged, 8), (judged, 11), (10**6, 5)]).detection
    assert [(one.ctx, one.pos) for one in found if one.kind == "neighbour"] == [(judged, 11)]


def test_firings_are_spread_over_the_activations(atlas):
    few = places(atlas, firings=4)
    assert len({one.act for one in few.detection if one.fires}) == 4
    assert [one.act for one in few.shown] == sorted((one.act for one in few.shown), reverse=True)


def test_a_dense_feature_is_not_judged_where_nobody_looked(atlas):
    dense = places(atlas, "toy/1-t/2").detection  # fires on 30 % of all tokens
    assert "elsewhere" not in {one.kind for one in dense}
    assert "elsewhere" in {one.kind for one in places(atlas, "toy/1-t/3").detection}


def test_the_choice_is_the_same_every_time(atlas):
    assert places(atlas) == places(atlas)


@pytest.mark.parametrize(("act", "decile"), [(0.5, 0), (1.5, 2), (2.0, 5), (2.5, 7), (3.9, 9)])
def test_deciles_count_firings_not_heights(act, decile):
    # Five firings between 1 and 2, five between 2 and 3, none above.
    assert decile_of(act, [0, 5, 5, 0], [0, 1, 2, 3, 4]) == decile
