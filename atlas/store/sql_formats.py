"""A SQL result as JSON, NDJSON, CSV, Parquet or Arrow: pure functions.

JSON has no NaN and readers of it lose digits of large integers, so both become text there: NaN
and the infinities as "NaN", "Infinity" and "-Infinity", integers beyond 2^53 and decimals of more
than 15 digits as their digits. Dates and times are ISO 8601, bytes are base64, maps are lists of
pairs. The column's type says what it was.
"""

import base64
import csv
import io
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from atlas.errors import QueryError
from atlas.store.sql_reply import python_rows, unpacked
from atlas.types import SqlResult

Format = Literal["json", "ndjson", "csv", "parquet", "arrow"]
_EXACT_INT = 2**53 - 1
_EXACT_DIGITS = 15


def plain(value: Any) -> Any:
    """A value of a result as JSON can say it."""
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value if abs(value) <= _EXACT_INT else str(value)
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case Decimal():
            return float(value) if len(value.as_tuple().digits) <= _EXACT_DIGITS else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [plain(part) for part in value]
        case dict():
            return {str(key): plain(part) for key, part in value.items()}
        case _:
            return str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def to_json(result: SqlResult) -> str:
    """One object: columns, types, rows as lists, and what is needed to cite them."""
    return _dumps(
        {
            "columns": result.columns,
            "types": result.types,
            "rows": [[plain(value) for value in row] for row in result.rows],
            "truncated": result.truncated,
            "seconds": result.seconds,
            "snapshot": result.snapshot,
            "query": result.query,
        }
    )


def to_ndjson(result: SqlResult) -> str:
    """One object per row and line, keyed by column."""
    rows = (dict(zip(result.columns, map(plain, row), strict=True)) for row in result.rows)
    return "".join(f"{_dumps(row)}\n" for row in rows)


def to_csv(result: SqlResult) -> str:
    """A header and one line per row; NULL is empty, lists and structs are JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_cell(value) for value in row] for row in result.rows)
    return out.getvalue()


def to_arrow(result: SqlResult) -> bytes:
    """An Arrow stream with the types as they came, citing itself in its metadata."""
    table = _cited(result)
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    return bytes(out.getvalue())


def to_parquet(result: SqlResult) -> bytes:
    """A Parquet file with the types as they came, citing itself in its metadata."""
    out = io.BytesIO()
    pq.write_table(_cited(result), out, compression="zstd")
    return out.getvalue()


def _cited(result: SqlResult) -> pa.Table:
    cited = {name: getattr(result, name) for name in _CITED}
    table = pa.ipc.open_stream(result.arrow).read_all()
    return table.replace_schema_metadata({_CITATION: _dumps(cited)})


def from_arrow(stream: bytes) -> SqlResult:
    """The result that `to_arrow` wrote. Raises QueryError when the stream is not sound."""
    table = unpacked(stream)
    try:
        cited = json.loads((table.schema.metadata or {})[_CITATION.encode()])
        types = tuple(cited.pop("types"))
        return SqlResult(
            tuple(table.column_names), types, python_rows(table), **cited, arrow=stream
        )
    except (KeyError, TypeError, ValueError) as error:
        raise QueryError(f"an Arrow stream that cites no query: {error!r}") from error


_CITATION = "feature-atlas"
_CITED = ("types", "truncated", "seconds", "snapshot", "query")


FORMATS: dict[Format, tuple[Callable[[SqlResult], str | bytes], str]] = {
    "json": (to_json, "application/json"),
    "ndjson": (to_ndjson, "application/x-ndjson"),
    "csv": (to_csv, "text/csv; charset=utf-8"),
    "parquet": (to_parquet, "application/vnd.apache.parquet"),
    "arrow": (to_arrow, "application/vnd.apache.arrow.stream"),
}
"""Format to its function and media type."""


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | list | tuple | dict):
        return _dumps(plain(value))
    return str(value) if isinstance(value, int | Decimal) else plain(value)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
