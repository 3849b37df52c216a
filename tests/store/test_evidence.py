"""Reading a snapshot: what was put in comes out, what is damaged is refused by name."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from atlas.errors import NotFound, StoreError
from atlas.ids import FeatureId, SaeId
from atlas.store import features, snapshots
from atlas.store.find import find
from atlas.store.publish import publish
from atlas.store.reader import open_store
from atlas.types import Interval, Query
from tests.builders import CONTEXTS, TITLES, WORDS, a_bundle
from tests.store.parts import a_part


@pytest.fixture
def evidence(store):
    return open_store(store).now()


def test_a_feature_comes_back_with_all_that_was_measured(evidence):
    feature = features.feature(evidence, "toy/1-t/0")
    assert feature.row.title == TITLES[0]
    assert feature.row.density == feature.row.firings / feature.tokens == 0.04
    assert [round(share.dfa_share, 3) for share in feature.heads] == [0.05, 0.95]
    assert [effect.text for effect in feature.top_logits] == [" board", " members"]
    assert feature.histogram[40] == 120
    assert [label.side for label in feature.labels] == ["title", "when", "fetches", "says"]
    assert feature.labels[0].interval == Interval(0.5, pytest.approx(0.9))
    assert feature.run.config == {"sae": {"k": 2}}


def test_an_example_shows_its_context_and_sums_to_its_activation(evidence):
    example = features.feature(evidence, "toy/1-t/0").examples[0]
    assert example.tokens == tuple(WORDS[token] for token in CONTEXTS[0])
    assert (example.tokens[example.pos], example.act) == (" mat", 8.0)
    given = sum(example.head_dfa) + example.bias + example.residual
    assert given == pytest.approx(example.act, abs=1e-4)
    sources = sum(source.dfa for source in example.sources) + example.src_rest
    assert sources == pytest.approx(sum(example.head_dfa), abs=1e-4)


def test_a_neighbour_comes_with_its_row(evidence):
    (neighbour,) = features.feature(evidence, "toy/1-t/0").neighbours
    assert str(neighbour.row.id) == "toy/1-t/3"
    assert neighbour.cosine == pytest.approx(0.8)


def test_a_dead_feature_has_no_measured_share_and_no_example(evidence):
    feature = features.feature(evidence, "toy/1-t/5")
    assert feature.is_dead
    assert feature.row.title is None
    assert feature.row.dfa_head is None
    assert feature.examples == ()
    assert [share.dfa_share for share in feature.heads] == [None, None]


def test_an_sae_tells_its_evaluation_and_its_live_features(evidence):
    sae = evidence.sae("toy/1-t")
    assert (sae.id, sae.d_sae, sae.alive) == (SaeId("toy", 1, "t"), 6, 5)
    assert sae.evaluation.sae_cost == Interval(0.01, 0.03)


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (
            lambda e: features.feature(e, "toy/1-t/6"),
            "toy/1-t/6. toy/1-t has features 0 to 5",
        ),
        (lambda e: features.feature(e, "toy/7-t/0"), "no SAE toy/7-t. SAEs: toy/0-t, toy/1-t"),
        (lambda e: e.sae("toy/L1H1"), "not an SAE id"),
        (lambda e: e.model("gpt9"), "no model 'gpt9'. models: toy"),
        (lambda e: e.contexts([99]), "no context 99 in snapshot 000001"),
        (lambda e: e.contexts([10**40]), "no context 1000"),
        (lambda e: features.densities(e, "toy/9-x"), "no SAE toy/9-x"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(evidence, ask, match):
    with pytest.raises(NotFound, match=match):
        ask(evidence)


def test_a_context_is_decoded(evidence):
    second, first = evidence.contexts([1, 0])
    assert (first.ctx, second.ctx, first.doc) == (0, 1, "doc-0")
    assert first.tokens[1:4] == (" the", " cat", " sat")


def test_densities_count_every_live_feature_once(evidence):
    bins = features.densities(evidence, "toy/1-t")
    assert sum(bins.counts) == 5
    for density in (0.04, 0.02, 0.3, 0.01, 0.1):
        held = [
            low * 0.999 <= density <= high * 1.001 and count > 0
            for low, high, count in zip(bins.edges, bins.edges[1:], bins.counts, strict=False)
        ]
        assert any(held)


def test_a_random_feature_fired_and_depends_on_its_seed_alone(evidence):
    found = [features.random_feature(evidence, seed) for seed in range(30)]
    assert found == [features.random_feature(evidence, seed) for seed in range(30)]
    assert len(set(found)) > 3
    assert FeatureId(SaeId("toy", 1, "t"), 5) not in found


def test_stats_count_the_tables(evidence):
    stats = evidence.stats
    assert (stats.saes, stats.features, stats.alive, stats.titled) == (2, 12, 10, 10)
    assert (stats.examples, stats.contexts, stats.heads) == (30, 3, 4)


def test_a_language_models_title_comes_before_a_rules_and_the_better_supported_first(tmp_path):
    labels = {
        "sae": ["toy/1-t"] * 4,
        "feature": [0] * 4,
        "side": ["title"] * 4,
        "method": ["tokens", "llm", "llm", "llm"],
        "model": [None, "m", "m", "m"],
        "prompt": [None, "p1", "p2", "p3"],
        "text": ["rule", "weak", "strong", "unknown"],
        "support": [0.99, 0.25, 0.75, None],
        **{name: [None] * 4 for name in ("support_low", "support_high", "n", "rule")},
    }
    publish(tmp_path / "s", [a_bundle(tmp_path / "b", layers=(1,), label=labels).path])
    row = features.feature(open_store(tmp_path / "s").now(), "toy/1-t/0").row
    assert (row.title, row.title_method, row.title_support) == ("strong", "llm", 0.75)


def test_an_empty_store_says_what_to_run(tmp_path):
    with pytest.raises(StoreError, match="no atlas at .*run `atlas demo` or `atlas publish`"):
        open_store(tmp_path)


def test_an_older_snapshot_is_opened_by_name_and_stays(store, tmp_path):
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    old, new = open_store(store, "000001"), open_store(store)
    assert [run.id for run in old.now().runs] == ["run-1"]
    assert [run.id for run in new.now().runs] == ["run-2"]
    publish(store, [a_bundle(tmp_path / "third", run="run-3").path])
    publish(store, [a_bundle(tmp_path / "fourth", run="run-4").path])
    assert not (store / "snapshots" / "000001").exists()
    assert (old.now().snapshot.name, new.now().snapshot.name) == ("000001", "000004")
    assert len(features.feature(old.now(), "toy/1-t/0").examples) == 3
    assert find(old.now(), Query("induction")).total == 2


@pytest.mark.parametrize(
    ("name", "match"),
    [("000009", "this store has 000001"), ("../etc", "not a snapshot name")],
)
def test_a_snapshot_that_is_not_there_is_said(store, name, match):
    with pytest.raises(StoreError, match=match):
        open_store(store, name)


def damage_wal(path):
    (path / "evidence.duckdb.wal").write_bytes(b"planted")


def damage_end(path):
    os.truncate(path / "evidence.duckdb", 1_000_000)


def damage_head(path):
    with (path / "evidence.duckdb").open("r+b") as handle:
        handle.write(b"\xff" * 5000)


def damage_index(path):
    (path / "search" / "meta.json").unlink()


def damage_index_inside(path):
    meta = path / "search" / "meta.json"
    meta.chmod(0o644)
    meta.write_bytes(meta.read_bytes().replace(b"{", b"[", 1))


def damage_texts(path):
    (path / "texts" / "ends.npy").chmod(0o644)
    with (path / "texts" / "ends.npy").open("r+b") as handle:
        handle.write(b"\xff" * 8)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_wal, "000002 has a evidence.duckdb.wal beside it"),
        (damage_end, "000002: evidence.duckdb has not the size"),
        (damage_head, "000002 cannot be opened: .*not a valid DuckDB database"),
        (damage_index, "000002 cannot be opened: .*meta.json"),
        (damage_index_inside, "000002: search/meta.json has other bytes than were published"),
        (damage_texts, "000002: texts/ends.npy has other bytes than were published"),
    ],
)
def test_a_damaged_snapshot_is_refused_by_name_and_the_one_before_is_served(
    store, tmp_path, damage, reason
):
    reader = open_store(store)
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    newest = store / "snapshots" / "000002"
    for path in (newest, newest / "search", newest / "evidence.duckdb"):
        path.chmod(0o755)
    damage(newest)
    with pytest.raises(StoreError, match=reason):
        open_store(store, "000002")
    for one in (reader, open_store(store)):
        evidence = one.now()
        assert evidence.snapshot.name == "000001"
        assert [refused.name for refused in evidence.refused] == ["000002"]
    assert publish(store, [tmp_path / "second"]).name == "000003"
    assert reader.now().refused == ()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_user_who_may_only_read_can_read_and_search(published):
    code = """
import mmap, os, sys  # what is not read by then is out of reach on some machines
from atlas.api import Atlas
from atlas.types import Query
os.setgid(65534); os.setuid(65534)
atlas = Atlas.open(sys.argv[1])
print(atlas.search(Query(text="board", limit=1)).total, atlas.feature("toy/1-t/0").row.firings)
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        subprocess.run(["cp", "-a", published / "store", folder], check=True)
        done = subprocess.run(
            [sys.executable, "-c", code, Path(folder) / "store"],
            cwd=Path(__file__).parents[2], env={"HOME": "/nonexistent"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.stdout, done.stderr) == ("10 120\n", "")


def test_a_measured_title_comes_before_others_and_goes_by_the_lower_end_of_its_scores(tmp_path):
    key = {"sae": ["toy/1-t"] * 4, "feature": [0] * 4}
    labels = {
        **key,
        "side": ["title"] * 4,
        "method": ["tokens", "llm", "llm", "llm"],
        "model": [None, "m", "m", "m"],
        "prompt": [None, "p1", "p2", "p3"],
        "text": ["rule", "sure", "lucky", "unmeasured"],
        "support": [0.9, None, None, 1.0],
    }
    scores = {
        **key,
        "method": labels["method"][:3] + ["llm"],
        "model": labels["model"],
        "prompt": [None, "p1", "p2", "p2"],
        "scorer": ["detection", "detection", "detection", "simulation"],
        "score": [0.5, 0.75, 0.875, 1.0],
        "score_low": [0.4, 0.65, 0.5, 1.0],
    }
    bundle = a_bundle(tmp_path / "b", layers=(1,)).path
    part = a_part(tmp_path / "labels", "labels", label=labels, label_score=scores)
    publish(tmp_path / "s", [bundle, part.path])
    row = features.feature(open_store(tmp_path / "s").now(), "toy/1-t/0").row
    assert (row.title, row.title_method, row.title_score) == ("sure", "llm", 0.75)


def test_a_label_at_chance_level_does_not_displace_a_rules(tmp_path):
    key = {"sae": ["toy/1-t"], "feature": [0], "method": ["llm"], "model": ["m"], "prompt": ["p"]}
    label = {**key, "side": ["title"], "text": ["lucky"]}
    score = {**key, "scorer": ["detection"], "score": [0.75], "score_low": [0.4]}
    bundle = a_bundle(tmp_path / "b", layers=(1,)).path
    part = a_part(tmp_path / "labels", "labels", label=label, label_score=score)
    publish(tmp_path / "s", [bundle, part.path])
    row = features.feature(open_store(tmp_path / "s").now(), "toy/1-t/0").row
    assert (row.title, row.title_method) == (TITLES[0], "tokens")


def flipped(path, at):
    """Turn one bit of a sealed file."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))
    path.chmod(0o444)


def test_a_byte_that_turned_anywhere_is_found_when_all_is_read(store, tmp_path):
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    newest = snapshots.path_of(store, 2)
    size = (newest / "evidence.duckdb").stat().st_size
    for name, at in [("evidence.duckdb", size // 2), ("search/meta.json", 40)]:
        snapshots.verify(store, 2)
        flipped(newest / name, at)
        with pytest.raises(StoreError, match=f"000002: {name} has other bytes"):
            snapshots.verify(store, 2)
        flipped(newest / name, at)


def test_a_server_that_checks_what_it_serves_leaves_a_damaged_snapshot(store, tmp_path):
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    path = snapshots.path_of(store, 2) / "evidence.duckdb"
    reader = open_store(store)
    flipped(path, path.stat().st_size // 2)
    assert reader.now().snapshot.number == 2
    reader.verify()
    assert reader.now().snapshot.number == 1
    assert "evidence.duckdb has other bytes" in str(reader.now().refused[0].error)


READ = "SELECT sum(len(head_dfa)) + sum(len(src_pos)) + sum(act) FROM example"


def test_a_block_found_damaged_while_reading_is_told_and_then_the_last_good_one_answers(
    store, tmp_path
):
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    size, told = (snapshots.path_of(store, 2) / "evidence.duckdb").stat().st_size, []
    for at in range(0, size, 2**18):
        # DuckDB knows a file by its path, and what it read of it: each time another one.
        copy = shutil.copytree(store, tmp_path / f"copy-{at}")
        flipped(snapshots.path_of(copy, 2) / "evidence.duckdb", at + 5000)
        reader = open_store(copy)
        if reader.now().snapshot.number == 2:
            with suppress(StoreError):
                reader.now().query(READ)
            told += [str(one.error) for one in reader.now().refused]
        assert reader.now().query(READ) == open_store(store, "000001").now().query(READ)
    assert told
    assert all("snapshot 000002 cannot be read: " in one for one in told)
