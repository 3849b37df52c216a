"""A snapshot is what its model and weights give; one changed value is found and named."""

import json
import shutil
import sys

import duckdb
import pytest

from app.cli import main
from atlas.api import Atlas
from atlas.bundle import seal
from atlas.store.publish import publish
from ingest.job import run_job
from ingest.verify.compare import Value, check
from ingest.verify.verify import verify
from tests.ingest.jobs import a_job

ALL = 10_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    bundle = run_job(a_job(folder), folder / "store")
    publish(folder / "store", [bundle.path])
    return folder / "store"


def test_a_snapshot_as_it_was_published_holds(store):
    with Atlas.open(store) as atlas:
        found = {one.what: one for one in verify(atlas, ALL)}
    assert set(found) == {
        *("activations", "windows", "DFA by head", "DFA by source"),
        *("weights", "logits", "arithmetic", "cosines", "counts", "evaluation"),
    }
    assert not any(one.skipped for one in found.values())
    assert not any(one.differences for one in found.values()), found
    assert found["activations"].rows > 100
    assert found["evaluation"].rows == 3  # two SAEs, and both at once


CHANGES = [
    ("example", "act", "act * 1.01", "kind = 'top'", "activations"),
    ("example", "act", "act * 0.98", "kind = 'near_miss'", "activations"),
    ("example", "act_val", "list_transform(act_val, x -> x + 0.01)", "true", "windows"),
    ("example", "head_dfa", "list_reverse(head_dfa)", "true", "DFA by head"),
    ("example", "src_rest", "src_rest + 0.01", "true", "DFA by source"),
    ("feature", "bias", "bias + 0.01", "firings > 0", "weights"),
    ("feature", "top_logits", "list_transform(top_logits, x -> x * 1.02)", "true", "logits"),
    ("feature", "density", "density * 1.5", "firings > 0", "arithmetic"),
    ("feature", "mean_act", "mean_act * 1.01", "firings > 0", "counts"),
    ("feature_head", "weight_share", "weight_share * 0.9", "true", "weights"),
    ("feature_head", "dfa_mean", "dfa_mean + 0.01", "dfa_share > 0", "counts"),
    ("neighbour", "cosine", "cosine - 0.02", "true", "cosines"),
    ("sae", "fvu", "fvu + 0.01", "true", "evaluation"),
    ("joint_evaluation", "ce_sae", "ce_sae + 0.01", "true", "evaluation"),
]
"""Table, column, its wrong value, which rows may be taken, and the check that must find it."""


def tampered(store, folder, changes):
    """A store published from the bundle with one row changed for each change."""
    (bundle,) = (store / "bundles").iterdir()
    copy = shutil.copytree(bundle, folder / "bundle")
    with duckdb.connect() as con:
        for number, (table, column, value, where, _) in enumerate(changes):
            con.execute(f"CREATE TABLE IF NOT EXISTS {table} AS FROM '{copy}/{table}.parquet'")
            row = f"(SELECT rowid FROM {table} WHERE {where} ORDER BY rowid LIMIT 1 OFFSET "
            row += f"{0 if table in ('sae', 'joint_evaluation') else number})"
            con.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = {row}")
        for table in {change[0] for change in changes}:
            con.execute(f"COPY {table} TO '{copy}/{table}.parquet'")
    publish(folder / "store", [seal(copy, bundle.name).path])
    return folder / "store"


def test_every_changed_value_is_found_and_named(store, tmp_path):
    changed = tampered(store, tmp_path, CHANGES)
    with Atlas.open(changed) as atlas:
        found = {one.what: one.differences for one in verify(atlas, ALL)}
    for table, column, _, _, what in CHANGES:
        named = {(one.row.split()[0], one.column) for one in found[what]}
        if table == "feature_head":
            assert ("feature", f"feature_head.{column}") in named
        else:
            assert (table, column) in named
    rows = {one.row for differences in found.values() for one in differences}
    assert len(rows) <= len(CHANGES)  # and no row besides those that were changed


def test_the_command_says_what_differs_and_exits_with_1(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["atlas", "verify", "--store", str(store), "--rows", "5"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    changed = tampered(store, tmp_path, [("example", "act", "77", "true", "")])
    monkeypatch.setattr("sys.argv", ["atlas", "verify", "--store", str(changed), "--rows", "9999"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert "act is stored as 77 and computed as" in told.err
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    with pytest.raises(SystemExit):
        main()
    assert len(json.loads(capsys.readouterr().out)[0]["differences"]) == 1


def test_values_of_another_length_or_text_never_agree():
    def deviation(stored, now):
        return check("one", [Value("row", "column", stored, now)]).deviation

    assert deviation([1.0, 2.0], [1.0, 2.0]) == 0
    assert deviation([1.0], [1.0, 2.0]) == float("inf")
    assert deviation(None, 1.0) == float("inf")
    assert deviation(None, None) == 0
    assert deviation("a", "b") == float("inf")
    assert deviation(100.0, 100.05) == pytest.approx(0.05 / (1e-4 + 1e-3 * 100.05))
