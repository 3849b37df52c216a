"""The schema pages say something about every table and column that SQL can name."""

import json
from dataclasses import asdict

import duckdb
import pytest

from atlas.store.describe import describe, to_markdown
from atlas.store.sql import EVIDENCE


@pytest.fixture(scope="module")
def pages(snapshot):
    with duckdb.connect(str(snapshot.path / EVIDENCE), read_only=True) as evidence:
        yield describe(evidence)


def test_every_table_and_column_has_its_sentence(pages):
    silent = [(t.name, c.name) for t in pages for c in t.columns if not c.sentence]
    assert silent == []
    assert [table.name for table in pages if not table.sentence] == []


def test_the_pages_are_what_sql_finds(pages, sql, snapshot):
    for table in pages:
        found = sql.run(snapshot, f"DESCRIBE {table.name}").rows
        assert [(row[0], row[1]) for row in found] == [(c.name, c.type) for c in table.columns]


def test_evidence_and_notes_are_told_apart_and_rows_counted(pages):
    by_name = {table.name: table for table in pages}
    assert (by_name["feature"].store, by_name["feature"].rows) == ("evidence", 12)
    assert (by_name["role_claim"].store, by_name["role_claim"].rows) == ("notes", None)


def test_the_pages_are_json_and_markdown(pages):
    assert json.loads(json.dumps([asdict(table) for table in pages]))[0]["columns"]
    text = to_markdown(pages)
    assert "## role_claim\n\nWhat somebody says a head does" in text
    assert "| confidence | DOUBLE | The author's confidence, 0 to 1 |" in text
    assert "half the sum of \\|weight share" in text.lower()
