"""Publishing: what a bundle replaces, what changes nothing, what is refused and leaves no trace."""

import json
import stat
import threading
from datetime import datetime

import pytest

from atlas.api import Atlas
from atlas.bundle import MANIFEST
from atlas.errors import BundleError, StoreError
from atlas.store import features, snapshots
from atlas.store.publish import publish
from atlas.store.reader import open_store
from tests.builders import CONTEXTS, FEATURES, a_bundle
from tests.store.parts import a_label, a_part


def names(store):
    return sorted(path.name for path in (store / "snapshots").iterdir())


def refused(store, *bundles, match, error=BundleError):
    before = names(store)
    with pytest.raises(error, match=match):
        publish(store, bundles)
    assert names(store) == before


def column(store, sql, **values):
    return [next(iter(row.values())) for row in open_store(store).now().query(sql, **values)]


def test_publishing_the_same_bundle_twice_changes_nothing(store, tmp_path):
    again = publish(store, [tmp_path / "first"])
    assert again.name == "000001"
    assert names(store) == ["000001"]


def test_a_snapshot_is_sealed(store):
    path = store / "snapshots" / "000001"
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in [path, *path.rglob("*")]}
    assert modes.pop(".tantivy-meta.lock") == 0o666
    folders = ("000001", "search", "texts", "lists", "bests")
    assert {modes.pop(name) for name in folders} == {0o555}
    assert set(modes.values()) == {0o444}
    assert {one.name for one in path.iterdir()} == {
        *("evidence.duckdb", "search", "texts", "lists", "bests", "sizes.json", "sha256.json")
    }


def test_another_bundle_adds_its_saes_and_keeps_the_numbers_of_the_others(tmp_path):
    store = tmp_path / "store"
    publish(store, [a_bundle(tmp_path / "first", layers=(1,)).path])
    publish(store, [a_bundle(tmp_path / "second", run="run-2", layers=(0,)).path])
    assert {str(sae.id): sae.number for sae in open_store(store).now().saes} == {
        "toy/1-t": 1,
        "toy/0-t": 2,
    }
    assert column(store, "SELECT count(*) FROM context") == [2 * len(CONTEXTS)]


def test_contexts_are_renumbered_so_that_examples_keep_their_text(tmp_path):
    store = tmp_path / "store"
    publish(store, [a_bundle(tmp_path / "first", layers=(1,)).path])
    publish(store, [a_bundle(tmp_path / "second", run="run-2", layers=(0,)).path])
    evidence = open_store(store).now()
    old, new = (features.feature(evidence, name).examples for name in ("toy/1-t/0", "toy/0-t/0"))
    assert [one.tokens for one in old] == [one.tokens for one in new]
    assert {one.ctx for one in old}.isdisjoint({one.ctx for one in new})


def test_an_sae_of_another_run_takes_the_place_of_the_old_one(store, tmp_path):
    second = a_bundle(tmp_path / "second", run="run-2", layers=(1,), sae={"fvu": [0.5]})
    publish(store, [second.path])
    evidence = open_store(store).now()
    assert [(sae.run, sae.number) for sae in evidence.saes] == [("run-1", 1), ("run-2", 2)]
    assert evidence.sae("toy/1-t").evaluation.fvu == 0.5
    assert column(store, "SELECT count(*) FROM feature WHERE sae = 2") == [len(FEATURES)]
    assert len(features.feature(evidence, "toy/1-t/0").examples) == len(CONTEXTS)


def test_what_nothing_needs_any_more_goes(store, tmp_path):
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    assert column(store, "SELECT id FROM run") == ["run-2"]
    assert column(store, "SELECT DISTINCT run FROM context") == ["run-2"]


def test_the_bundle_that_was_replaced_can_be_published_again(store, tmp_path):
    publish(store, [a_bundle(tmp_path / "second", run="run-2", layers=(1,)).path])
    publish(store, [tmp_path / "first"])
    assert {sae.run for sae in open_store(store).now().saes} == {"run-1"}


def test_a_new_version_of_a_run_replaces_the_old_one(store, tmp_path):
    publish(store, [a_bundle(tmp_path / "second", layers=(0,), sae={"fvu": [0.75]}).path])
    (sae,) = open_store(store).now().saes
    assert (str(sae.id), sae.evaluation.fvu) == ("toy/0-t", 0.75)


def test_a_label_bundle_adds_titles_to_features_that_are_there(store, tmp_path):
    publish(store, [a_part(tmp_path / "labels", "run-l", label=a_label("after “ cat”")).path])
    feature = Atlas.open(store).feature("toy/1-t/1")
    assert (feature.row.title, feature.row.title_method) == ("after “ cat”", "llm")
    assert len(feature.labels) == 5


def test_a_later_label_of_the_same_labeller_replaces_the_earlier_one(store, tmp_path):
    publish(store, [a_part(tmp_path / "one", "run-l1", label=a_label("first try")).path])
    publish(store, [a_part(tmp_path / "two", "run-l2", label=a_label("second try")).path])
    publish(store, [a_part(tmp_path / "other", "run-l3", label=a_label("other", prompt="p2")).path])
    assert column(store, "SELECT text FROM label WHERE method = 'llm' ORDER BY text") == [
        "other",
        "second try",
    ]


def test_scores_of_a_label_that_was_replaced_go_with_it(store, tmp_path):
    key = {"sae": ["toy/1-t"], "feature": [1], "method": ["llm"], "model": ["m"], "prompt": ["p1"]}
    score = key | {"scorer": ["detection"], "score": [0.75], "n": [10]}
    label = a_label("first try")
    publish(store, [a_part(tmp_path / "one", "l1", label=label, label_score=score).path])
    fuzzing = score | {"scorer": ["fuzzing"]}
    publish(store, [a_part(tmp_path / "two", "l2", label_score=fuzzing).path])
    scorers = "SELECT scorer FROM label_score ORDER BY scorer"
    assert column(store, scorers) == ["detection", "fuzzing"]
    publish(store, [a_part(tmp_path / "three", "l3", label=a_label("second try")).path])
    assert column(store, scorers) == []


def test_a_study_bundle_replaces_what_its_own_run_measured(store, tmp_path):
    for value in (0.25, 0.75):
        head = {"model": ["toy"], "layer": [1], "head": [1], "run": ["study"], "n": [100]}
        metric = head | {"metric": ["previous_token"], "condition": ["corpus"], "value": [value]}
        part = a_part(tmp_path / f"{value}", "study", run=a_study(), head_metric=metric)
        publish(store, [part.path])
    (metric,) = Atlas.open(store).head("toy/L1H1").metrics
    assert (metric.metric, metric.value, metric.interval) == ("previous_token", 0.75, None)


def a_study():
    texts = dict.fromkeys(("device", "bos", "positions", "corpus", "corpus_sha256"), [""])
    numbers = dict.fromkeys(("context_length", "train_tokens", "mine_tokens"), [0])
    run = {"id": ["study"], "kind": ["head_metrics"], "model": ["toy"], "seconds": [1.0]}
    made = {"created_at": [datetime(2026, 1, 2)], "config": ["{}"], "versions": ["{}"]}  # noqa: DTZ001
    return run | made | texts | numbers


def test_replacing_an_sae_takes_its_labels_and_lets_them_be_published_again(store, tmp_path):
    labels = a_part(tmp_path / "labels", "run-l", label=a_label("after “ cat”"))
    publish(store, [labels.path])
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    assert Atlas.open(store).feature("toy/1-t/1").row.title_method == "tokens"
    publish(store, [labels.path])
    assert Atlas.open(store).feature("toy/1-t/1").row.title_method == "llm"


def test_a_label_of_an_unknown_sae_is_refused(store, tmp_path):
    part = a_part(tmp_path / "labels", "run-l", label=a_label("x", sae="toy/7-t"))
    refused(store, part.path, match="SAE toy/7-t, which is neither")


def test_a_label_of_a_feature_that_is_not_there_is_refused(store, tmp_path):
    part = a_part(tmp_path / "labels", "run-l", label=a_label("x", feature=6))
    refused(store, part.path, match="feature 6 of SAE toy/1-t, which has 0 to 5")


def test_other_weights_under_the_same_model_id_are_refused(store, tmp_path):
    other = a_bundle(tmp_path / "b", run="run-2", layers=(0,), model={"weights_sha256": ["2" * 64]})
    refused(store, other.path, match="other weights of model toy")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sae": {"d_sae": [7]}}, "has 6 features, not its d_sae of 7"),
        ({"sae": {"layer": [5]}}, "does not spell"),
        ({"feature": {"feature": [0, 0, 1, 2, 3, 4]}}, "feature has 2 rows with the same"),
        ({"example": {"ctx": [9] * 15}}, "a context that is not there"),
        ({"example": {"token": [3] * 15}}, "names another token"),
        ({"sae": {"weights_sha256": ["f" * 64]}}, "no such file came with it"),
        ({"neighbour": {"other_feature": [77]}}, "feature 77"),
    ],
)
def test_a_bundle_that_contradicts_itself_is_refused_and_nothing_is_published(
    store, tmp_path, changes, match
):
    bad = a_bundle(tmp_path / "bad", run="run-2", layers=(1,), **changes)
    refused(store, bad.path, match=match)
    assert len(Atlas.open(store).saes()) == 2


def test_an_incomplete_or_newer_bundle_is_refused_with_the_good_one_beside_it(tmp_path):
    good, bad = (a_bundle(tmp_path / name, run=name) for name in ("good", "bad"))
    manifest = bad.path / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}))
    (tmp_path / "store" / "snapshots").mkdir(parents=True)
    refused(tmp_path / "store", good.path, bad.path, match="version 99")
    manifest.unlink()
    refused(tmp_path / "store", good.path, bad.path, match="incomplete")


def test_only_the_last_snapshots_are_kept_and_no_number_comes_twice(store, tmp_path):
    for n in range(2, 6):
        publish(store, [a_bundle(tmp_path / f"b{n}", run=f"run-{n}").path])
    assert names(store) == ["000003", "000004", "000005"]
    snapshots.path_of(store, 5).rename(tmp_path / "taken-away")
    assert publish(store, [tmp_path / "b5"]).name == "000006"


def test_a_clock_that_goes_backwards_does_not_matter(store, tmp_path):
    second = a_bundle(tmp_path / "second", run="run-2")
    publish(store, [second.path], clock=lambda: datetime(1999, 1, 1))  # noqa: DTZ001
    assert Atlas.open(store).snapshot.published_at.year == 1999
    assert Atlas.open(store).snapshot.name == "000002"


def test_leftovers_of_a_dead_publisher_are_removed(store, tmp_path):
    for name in (".draft-2-999999", ".trash-000000"):
        (store / "snapshots" / name / "search").mkdir(parents=True)
        (store / "snapshots" / name).chmod(0o555)
    publish(store, [tmp_path / "first"])
    assert names(store) == ["000001"]


def test_weights_are_kept_by_their_hash_also_when_the_bundle_goes(store, tmp_path):
    for path in (tmp_path / "first").iterdir():
        path.unlink()
    atlas = Atlas.open(store)
    weights = atlas.weights("toy/1-t")
    assert weights.read_bytes() == b"weights of run-1"
    assert weights.name == f"{atlas.sae('toy/1-t').weights_sha256}.safetensors"


def test_weights_go_with_the_last_snapshot_that_names_them(store, tmp_path):
    for n in (2, 3, 4):
        weights = sorted(path.stem for path in (store / "weights").iterdir())
        publish(store, [a_bundle(tmp_path / f"b{n}", run=f"run-{n}").path], keep=2)
    left = {path.stem for path in (store / "weights").iterdir()}
    assert len(weights) == len(left) == 2
    assert left == {sae.weights_sha256 for n in (3, 4)
                    for sae in open_store(store, f"{n:06d}").now().saes}  # fmt: skip


def test_two_publishers_at_once_take_turns(store, tmp_path):
    bundles = [a_bundle(tmp_path / f"b{n}", run=f"run-{n}", layers=(n,)) for n in (0, 1)]
    threads = [threading.Thread(target=publish, args=(store, [one.path])) for one in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(store) == ["000001", "000002", "000003"]
    assert {sae.run for sae in open_store(store).now().saes} == {"run-0", "run-1"}


def test_nothing_to_publish_into_an_empty_store_is_said(tmp_path):
    with pytest.raises(StoreError, match="nothing to publish"):
        publish(tmp_path / "store", [])


def test_a_snapshot_of_an_older_schema_is_brought_up_to_date(store, monkeypatch):
    known = snapshots.schema.steps()
    now, later = len(known), len(known) + 1
    future = (*known, snapshots.schema.Step(later, "next", "CREATE TABLE new (a INT)"))
    monkeypatch.setattr(snapshots.schema, "steps", lambda: future)
    with pytest.raises(StoreError, match=rf"version {now}; this program reads {later}.*publish"):
        open_store(store)
    publish(store, [])
    assert open_store(store).now().snapshot.schema_version == later
    assert len(open_store(store).now().saes) == 2


def test_a_store_of_a_newer_program_is_not_written_to(store, tmp_path, monkeypatch):
    known = snapshots.schema.steps()
    monkeypatch.setattr(snapshots.schema, "steps", lambda: known[:1])
    refused(
        store,
        tmp_path / "first",
        match=f"schema version {len(known)}; this program knows up to 1",
        error=StoreError,
    )


def test_a_run_row_of_another_run_is_refused(store, tmp_path):
    part = a_part(tmp_path / "part", "another", run=a_study())
    refused(store, part.path, match="is of run another, but its table run has rows of study")
