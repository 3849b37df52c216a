"""Class Atlas: what the entries use, light to import, always on the newest snapshot."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from atlas.api import Atlas
from atlas.errors import NotFound, StoreError
from atlas.ids import parse
from atlas.note_types import RoleClaim, Tag
from atlas.store.publish import publish
from atlas.types import PairQuery, Query
from tests.builders import a_bundle

HEAVY = ("torch", "transformers", "transformer_lens", "streamlit", "fastapi", "datasets", "openai")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    publish(folder / "store", [a_bundle(folder / "bundle").path])
    return Atlas.open(folder / "store")


def test_atlas_api_needs_neither_torch_nor_streamlit():
    code = f"import sys, atlas.api; print([m for m in {HEAVY!r} if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "[]\n"


def test_an_empty_folder_says_how_to_begin(tmp_path):
    with pytest.raises(StoreError, match="no atlas at .*run `atlas demo` or `atlas publish`"):
        Atlas.open(tmp_path)


def test_an_open_atlas_moves_to_the_next_snapshot(bundle, tmp_path):
    publish(tmp_path / "store", [bundle.path])
    atlas = Atlas.open(tmp_path / "store")
    kept = atlas.evidence
    publish(atlas.store, [a_bundle(tmp_path / "second", run="run-2").path])
    assert (atlas.snapshot.name, [run.id for run in atlas.runs()]) == ("000002", ["run-2"])
    assert [run.id for run in kept.runs] == ["run-1"]
    assert atlas.refused == ()


def test_a_path_with_spaces_and_unicode_is_a_path_like_any_other(tmp_path):
    store = tmp_path / "mein Atlas äöü 数 '\"%20;" / "store"
    publish(store, [a_bundle(tmp_path / "a b ü" / "bundle").path])
    with Atlas.open(store) as atlas:
        atlas.notes.add(Tag("toy/1-t/0", "nice"), "ann")
        assert atlas.search(Query("board", tag="nice")).total == 1
        assert atlas.pairs(PairQuery(dst=" mat")).total > 0
        assert atlas.sql("SELECT count(*) FROM tag JOIN feature_card c ON c.id = target").rows == (
            (1,),
        )
        publish(store, [a_bundle(tmp_path / "second", "run-2").path])
        assert atlas.feature("toy/1-t/0").run.id == "run-2"


def test_everything_is_within_reach(atlas):
    assert [str(sae.id) for sae in atlas.saes()] == ["toy/0-t", "toy/1-t"]
    assert [model.id for model in atlas.models()] == ["toy"]
    assert atlas.model("toy").n_heads == 2
    assert atlas.run("run-1").mine_tokens == 3000
    assert atlas.feature("toy/1-t/2").row.title == "“ the”"
    assert atlas.stats().features == 12
    assert atlas.vocab("toy")[1] == " the"
    assert atlas.context(0).tokens[1] == " the"
    assert atlas.search(Query("induction")).total == 2
    assert atlas.pairs(PairQuery(dst=" mat", layer=0)).total == 5
    assert sum(atlas.densities("toy/1-t").counts) == 5
    assert atlas.weights("toy/1-t").exists()
    assert atlas.random_feature().sae.model == "toy"


def test_heads_know_how_many_features_they_lead(atlas):
    rows = {str(row.id): (row.features, row.weight_features) for row in atlas.heads("toy")}
    assert rows["toy/L1H0"] == (3, 4)
    assert rows["toy/L1H1"] == (2, 1)


def test_a_head_lists_its_features_by_measured_share(atlas):
    head = atlas.head("toy/L1H1")
    shares = [(one.row.id.index, round(one.share.dfa_share, 2)) for one in head.features]
    assert shares == [(0, 0.95), (3, 0.8), (4, 0.5), (2, 0.3), (1, 0.1)]
    assert len(atlas.head("toy/L1H1", limit=2).features) == 2
    assert (head.row.kv_head, head.metrics) == (0, ())


@pytest.mark.parametrize("name", ["toy/L1H2", "toy/L2H0"])
def test_a_head_that_is_not_there_is_said(atlas, name):
    with pytest.raises(NotFound, match=rf"no head {name}. toy has layers 0 to 1 and heads 0 to 1"):
        atlas.head(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("toy/1-t/3", ["toy/1-t/3"]),
        ("1-t/3", ["toy/1-t/3"]),
        ("1-t", ["toy/1-t"]),
        ("1.1", ["toy/L1H1"]),
        ("L0H1", ["toy/L0H1"]),
        ("toy", ["toy"]),
        ("1-t/6", []),
        ("1.2", []),
        ("9-t", []),
        ("toy/L9H0", []),
        ("some words", []),
    ],
)
def test_a_jump_leads_to_what_exists(atlas, text, found):
    jump = atlas.jump(text)
    assert jump.text == text
    assert jump.found == tuple(parse(one) for one in found)


@pytest.fixture
def store(bundle, tmp_path):
    publish(tmp_path / "store", [bundle.path])
    return tmp_path / "store"


def test_sql_over_a_store_without_notes_sees_empty_tables_and_makes_no_file(store):
    with Atlas.open(store) as atlas:
        assert atlas.sql("SELECT count(*) FROM tag").rows == ((0,),)
        assert not (store / "notes.sqlite").exists()
        atlas.notes.add(Tag("toy/1-t/0", "mine"), "ann")
        assert atlas.sql("SELECT name FROM tag").rows == (("mine",),)


def test_what_people_wrote_narrows_a_search_at_once(store):
    with Atlas.open(store) as atlas:
        assert atlas.search(Query(tag="mine")).total == 0
        atlas.notes.add(Tag("toy/1-t/0", "mine"), "ann")
        claim = atlas.notes.add(RoleClaim("toy/L1H1", "induction"), "ann")
        assert [str(hit.row.id) for hit in atlas.search(Query(tag="mine")).hits] == ["toy/1-t/0"]
        assert dict(atlas.search(Query()).facets["role"])["induction"] > 0
        atlas.notes.edit(claim.id, replace(claim.content, status="withdrawn"), "ann", 1)
        assert atlas.search(Query(role="induction")).total == 0
