"""What comes back from the SQL worker: rows as Python values, or the error a user is told."""

import re
from decimal import Decimal
from typing import Any

import pyarrow as pa

from atlas.errors import QueryError

_PATH = re.compile(r"(?<![\w.-])(?:/[\w.+-]+){2,}")

SMALLER = "select fewer rows or columns, or aggregate earlier"


def too_slow(seconds: float) -> QueryError:
    """The error of a query that met its time limit."""
    return QueryError(
        f"the query ran longer than {seconds:g} s", "filter by sae, use LIMIT, or split the query"
    )


def explained(header: dict[str, Any], query: str, seconds: float) -> QueryError:
    """What a user is told about an error of the worker; server paths stay out of it."""
    kind, text = header["kind"], header["text"]
    if kind == "InterruptException":
        return too_slow(seconds)
    if kind == "TooLarge":
        return QueryError(text, SMALLER)
    if kind == "Refused":
        return QueryError(text, "one SELECT over evidence and notes; values go in as parameters")
    text = _PATH.sub(lambda found: found[0] if found[0] in query else "…", text)
    return QueryError(text.strip()[:2000].rstrip("."))


def unpacked(stream: bytes) -> pa.Table:
    """The table in an Arrow stream. Raises QueryError when the stream is not sound."""
    try:
        table = pa.ipc.open_stream(stream).read_all()
        table.validate(full=True)  # the process that wrote it ran somebody's query
    except pa.ArrowException as error:
        raise QueryError(f"the query's reply cannot be read: {error}") from error
    return table


def python_rows(table: pa.Table) -> tuple[tuple[Any, ...], ...]:
    """The rows as Python values. Raises QueryError for nested dates that Python has no value for.

    Integers of more than 38 digits, and dates beyond Python's calendar, are text.
    """
    columns = [_values(column) for column in table.columns]
    return tuple(zip(*columns, strict=True)) if columns else ()


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError):  # dates that Python has no value for
        values = _as_text(column)
    return [_whole(value) for value in values] if "decimal" in str(column.type) else values


def _as_text(column: pa.ChunkedArray) -> list[Any]:
    try:
        return list(column.cast(pa.string()).to_pylist())
    except pa.ArrowException as error:
        raise QueryError(
            f"the result holds dates out of range: {error}", "cast them to VARCHAR"
        ) from error


def _whole(value: Any) -> Any:
    """Decimals without digits after the point as integers: so come DuckDB's sums."""
    match value:
        case Decimal():
            return int(value) if value.as_tuple().exponent == 0 else value
        case list() | tuple():
            return [_whole(part) for part in value]
        case dict():
            return {key: _whole(part) for key, part in value.items()}
        case _:
            return value
