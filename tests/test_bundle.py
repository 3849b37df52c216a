"""Bundles: complete or refused; the schemas of bundle and evidence are one."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from atlas.bundle import MANIFEST, open_bundle, seal, write_table
from atlas.errors import BundleError
from atlas.store import schema
from atlas.tables import TABLES

HEADS = {"model": ["m", "m"], "layer": [0, 0], "head": [0, 1], "kv_head": [0, 0]}
# Columns and tables that publish fills in.
ADDED = {"sae": ["sae"], "run": ["bundle_sha256", "counts"]}
OWN = {"bundle", "label_method", "pair", "schema_version", "snapshot", "title"}


def a_sealed_bundle(folder: Path) -> Path:
    write_table(folder, "head", HEADS)
    seal(folder, "run-1")
    return folder


def test_a_bundle_reads_back_what_was_written(tmp_path):
    bundle = open_bundle(a_sealed_bundle(tmp_path))
    assert bundle.run == "run-1"
    assert bundle.counts == {"head": 2}
    assert bundle.read("head").to_pydict() == HEADS
    assert bundle.read("label").num_rows == 0


def test_no_manifest_means_incomplete(tmp_path):
    write_table(tmp_path, "head", HEADS)
    with pytest.raises(BundleError, match="incomplete"):
        open_bundle(tmp_path)


def test_a_changed_file_is_refused_by_name(tmp_path):
    a_sealed_bundle(tmp_path)
    with (tmp_path / "head.parquet").open("r+b") as handle:
        handle.seek(20)
        handle.write(b"\xff")
    with pytest.raises(BundleError, match=r"head\.parquet is not the file"):
        open_bundle(tmp_path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    a_sealed_bundle(tmp_path)
    (tmp_path / "head.parquet").unlink()
    with pytest.raises(BundleError, match=r"head\.parquet is missing"):
        open_bundle(tmp_path)


def test_a_newer_version_is_refused(tmp_path):
    a_sealed_bundle(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(BundleError, match="version 99"):
        open_bundle(tmp_path)


def test_a_table_with_a_missing_or_unknown_column_is_refused(tmp_path):
    with pytest.raises(BundleError, match="head does not fit"):
        write_table(tmp_path, "head", {"model": ["m"]})
    with pytest.raises(BundleError, match="unknown columns: colour"):
        write_table(tmp_path, "head", {**HEADS, "colour": ["red", "blue"]})
    assert not list(tmp_path.glob("*.parquet"))


def test_bundle_tables_are_the_evidence_tables():
    con = duckdb.connect()
    schema.migrate(con)
    rows = con.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns()"
        " WHERE NOT internal AND table_name IN (SELECT table_name FROM duckdb_tables())"
        " GROUP BY table_name"
    ).fetchall()
    evidence = {
        t: [c for c in columns if c not in ADDED.get(t, [])] for t, columns in rows if t not in OWN
    }
    assert {name: columns.names for name, columns in TABLES.items()} == evidence


def shape_of(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def test_bundle_types_are_the_evidence_types():
    con = duckdb.connect()
    schema.migrate(con)
    for name, columns in TABLES.items():
        stored = con.sql(f"SELECT * FROM {name}").to_arrow_table().schema
        ours = {c.name: shape_of(c.type) for c in columns if not pa.types.is_dictionary(c.type)}
        assert ours == {column: shape_of(stored.field(column).type) for column in ours}, name
