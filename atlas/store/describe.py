"""Schema pages: every table and column of evidence and notes with its type and its sentence."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow as pa

from atlas.store import notes_tables

_TABLES = """
SELECT table_name, comment, estimated_size FROM duckdb_tables()
WHERE database_name = current_database() AND NOT internal
UNION ALL
SELECT view_name, comment, NULL FROM duckdb_views()
WHERE database_name = current_database() AND NOT internal
ORDER BY table_name
"""
_COLUMNS = """
SELECT c.table_name, c.column_name, c.data_type, coalesce(c.comment, of.comment, '')
FROM duckdb_columns() c
LEFT JOIN duckdb_columns() of  -- a view's column says what its table's column says
  ON c.table_name = 'feature_card' AND of.table_name = 'feature'
  AND of.column_name = c.column_name AND of.database_name = c.database_name
WHERE c.database_name = current_database() AND NOT c.internal
ORDER BY c.table_name, c.column_index
"""
_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us"): "TIMESTAMP",
}


@dataclass(frozen=True, slots=True)
class ColumnPage:
    """One column."""

    name: str
    type: str
    sentence: str


@dataclass(frozen=True, slots=True)
class TablePage:
    """One table or view."""

    name: str
    store: Literal["evidence", "notes"]
    sentence: str
    rows: int | None
    """Rows of an evidence table; None for a view and for notes, which change at any moment."""
    columns: tuple[ColumnPage, ...]


def describe(evidence: duckdb.DuckDBPyConnection) -> tuple[TablePage, ...]:
    """Every table that SQL can name: those of an open evidence file, then those of the notes."""
    cursor = evidence.cursor()
    try:
        tables = cursor.execute(_TABLES).fetchall()
        columns = cursor.execute(_COLUMNS).fetchall()
    finally:
        cursor.close()
    pages = (
        TablePage(
            name,
            "evidence",
            sentence or "",
            rows,
            tuple(ColumnPage(*column[1:]) for column in columns if column[0] == name),
        )
        for name, sentence, rows in tables
    )
    return (*pages, *_notes())


def _notes() -> Iterable[TablePage]:
    for name, columns in notes_tables.columns().items():
        pages = tuple(
            ColumnPage(c.name, _SQL_TYPES[notes_tables.arrow_type(c)], c.comment or "")
            for c in columns
        )
        yield TablePage(name, "notes", notes_tables.sentence(name), None, pages)


def to_markdown(tables: Iterable[TablePage]) -> str:
    """The pages as one Markdown text."""
    return "\n".join(_section(table) for table in tables)


def _section(table: TablePage) -> str:
    size = "" if table.rows is None else f" {table.rows:,} rows."
    lines = [
        f"## {table.name}",
        "",
        f"{table.sentence} ({table.store}){size}",
        "",
        "| column | type | meaning |",
        "| --- | --- | --- |",
        *(
            f"| {c.name} | {c.type} | {c.sentence.replace('|', chr(92) + '|')} |"
            for c in table.columns
        ),
    ]
    return "\n".join(lines) + "\n"
