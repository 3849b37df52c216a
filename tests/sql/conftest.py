"""A small snapshot and a few notes beside it, for SQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from atlas.note_types import Collection, Member, RoleClaim, Tag, Vote
from atlas.store import schema
from atlas.store.notes import Notes
from atlas.store.sql import EVIDENCE, SqlLimits, SqlService
from atlas.tables import TABLES
from atlas.types import Snapshot
from tests.builders import a_bundle

TITLES = """
INSERT INTO title (sae, feature, text, method, support)
SELECT sae, feature, text, method, support FROM label WHERE side = 'title'
"""
SCORES = """
INSERT INTO label_score (sae, feature, method, scorer, score, n, deciles, decile_n) VALUES
  (1, 0, 'tokens', 'detection', 0.75, 8, [0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1],
   [4, 0, 0, 0, 0, 0, 0, 0, 0, 2])
"""
METRICS = """
INSERT INTO head_metric (model, layer, head, metric, condition, value, low, high, n, run) VALUES
  ('toy', 0, 1, 'induction', 'repeated_random', 0.5, 0.25, 0.75, 100, 'run-1'),
  ('toy', 1, 0, 'previous_token', 'corpus', 0.125, 0.0625, 0.25, 100, 'run-1')
"""
STUDIES = """
INSERT INTO prefix_head (model, layer, head, class, one, long, run) VALUES
  ('toy', 0, 1, 'long-prefix', 0.125, 0.5, 'run-1'), ('toy', 0, 0, 'none', 0, 0, 'run-1');
INSERT INTO ioi_feature (model, sae_id, feature, place, how, names, fired, head, head_share, value,
  low, high, n, run) VALUES
  ('toy', 'toy/0-t', 1, 'S2', 'zero', 'both', 0.5, 0, 0.75, -0.5, -0.75, -0.25, 8, 'run-1'),
  ('toy', 'toy/0-t', 1, 'S2', 'zero', 'ABBA', 1, 0, 0.75, -1, -1.5, -0.5, 4, 'run-1'),
  ('toy', 'toy/0-t', 1, 'S2', 'zero', 'BABA', 0, 0, 0.75, 0, 0, 0, 4, 'run-1'),
  ('toy', 'toy/0-t', 0, 'end', 'zero', 'both', 1, 1, 1, 2, 1, 3, 8, 'run-1'),
  ('toy', 'toy/0-t', 0, 'end', 'mean', 'both', 1, 1, 1, 1, 1, 1, 8, 'run-1');
INSERT INTO head_composition VALUES
  ('toy', 0, 1, 1, 0, 'k', 0.5, 'run-1'), ('toy', 0, 0, 1, 0, 'k', 0.25, 'run-1'),
  ('toy', 0, 1, 1, 0, 'v', 0.75, 'run-1');
INSERT INTO family_share (sae, family, features, live, share, precision, recall, run) VALUES
  (0, 'induction', 1, 5, 0.2, 0.75, 0.5, 'run-1'), (0, 'positional', 0, 5, 0, NULL, NULL, 'run-1');
INSERT INTO head_role (sae, head, "by", k, rank, role, words, share, run) VALUES
  (0, 1, 'measured', 10, 0, 'induction', ['board'], 0.75, 'run-1'),
  (0, 1, 'measured', 10, 1, 'other', [], 0.25, 'run-1');
INSERT INTO head_polysemanticity (sae, head, "by", k, clusters, cohesion, null_mean, p, run) VALUES
  (0, 1, 'measured', 10, 2, 0.5, 0.125, 0.0625, 'run-1');
"""


def a_snapshot(folder: Path) -> Snapshot:
    """The toy bundle and two head metrics in an evidence file, SAEs numbered from 0."""
    bundle = a_bundle(folder / "bundle")
    path = folder / "snapshots" / "000001"
    path.mkdir(parents=True)
    with duckdb.connect(str(path / EVIDENCE)) as evidence:
        schema.migrate(evidence)
        for table in TABLES:
            rows = _numbered(bundle.read(table))
            if table == "sae":
                rows = rows.append_column("sae", pa.array(range(len(rows)), pa.int16()))
            evidence.register("rows", rows)
            evidence.execute(f"INSERT INTO {table} BY NAME FROM rows")
        evidence.execute(TITLES)
        evidence.execute(METRICS)
        evidence.execute(STUDIES)
        evidence.execute(SCORES)
        evidence.execute("CHECKPOINT")
    return Snapshot(1, path, 1, datetime(2026, 1, 2, tzinfo=UTC))


def _numbered(rows: pa.Table) -> pa.Table:
    """SAE ids, which end in their layer here, as numbers."""
    for name in ("sae", "other_sae"):
        if name in rows.column_names:
            numbers = [int(sae.removeprefix("toy/")[0]) for sae in rows[name].to_pylist()]
            at = rows.column_names.index(name)
            rows = rows.set_column(at, name, pa.array(numbers, pa.int16()))
    return rows


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot of the toy bundle."""
    return a_snapshot(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notes]:
    """Notes on the toy model: two claims, three tags, a vote and a collection."""
    with Notes.open(tmp_path_factory.mktemp("notes") / "notes.sqlite") as opened:
        claim = opened.add(RoleClaim("toy/L0H1", "induction", confidence=0.75), "ann")
        opened.add(RoleClaim("toy/L1H0", "previous_token"), "bob")
        opened.add(Vote(claim.id, "dispute", "hm"), "bob")
        opened.add(Tag("toy/0-t/0", "clear"), "ann")
        opened.add(Tag("toy/0-t/0", "clear"), "bob")
        opened.add(Tag("toy/L0H1", "clear"), "bob")
        opened.add(Collection("list", members=(Member("toy/1-t/4", "both heads"),)), "ann")
        yield opened


@pytest.fixture(scope="module")
def sql(notes: Notes) -> Iterator[SqlService]:
    """A service with small limits."""
    limits = SqlLimits(seconds=3.0, rows=1000, reply_bytes=2**20, memory_bytes=2**29)
    with SqlService(notes, limits) as service:
        yield service
