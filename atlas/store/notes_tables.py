"""The notes as tables that SQL sees beside the evidence: what is removed stays out."""

import json
from typing import Any

import pyarrow as pa
from sqlalchemy import JSON, Boolean, Column, Double, Integer, Select, Text, select
from sqlalchemy.orm import Session

from atlas.store.notes_schema import ROWS, Base, UtcTime

_NOTE = Base.metadata.tables["note"]
_PARTS = ("role_evidence", "collection_member", "history")
_TARGETED = ("tag", "role_claim", "human_label", "comment")
_COMMON = ("author", "version", "created_at", "changed_at", "changed_by")
_TYPES = {
    Text: pa.string(),
    Integer: pa.int32(),
    Double: pa.float64(),
    UtcTime: pa.timestamp("us"),
    JSON: pa.string(),
    Boolean: pa.bool_(),
}


def columns() -> dict[str, tuple[Column[Any], ...]]:
    """Table name to its columns as SQL sees them; each column's comment is its sentence."""
    kinds = {kind: _columns_of(kind) for kind in ROWS}
    return kinds | {name: tuple(Base.metadata.tables[name].columns) for name in _PARTS}


def sentence(table: str) -> str:
    """What a row of `table` is."""
    return Base.metadata.tables[table].comment or ""


def as_tables(session: Session) -> dict[str, pa.Table]:
    """Every table of `columns` with its rows."""
    return {
        name: _arrow(shown, session.execute(_rows(name, shown)).all())
        for name, shown in columns().items()
    }


def empty() -> dict[str, pa.Table]:
    """Every table of `columns` without rows, for a store in which nobody wrote."""
    return {name: _arrow(shown, []) for name, shown in columns().items()}


def arrow_type(column: Column[Any]) -> pa.DataType:
    """The Arrow type that SQL sees for a column."""
    return _TYPES[type(column.type)]


def _columns_of(kind: str) -> tuple[Column[Any], ...]:
    own = (column for column in Base.metadata.tables[kind].columns if column.name != "id")
    target = [_NOTE.c.target] if kind in _TARGETED else []
    common = [_NOTE.c[name] for name in _COMMON]
    return (_NOTE.c.id, *target, *own, *common)


def _rows(name: str, shown: tuple[Column[Any], ...]) -> Select[Any]:
    """The rows of one table, in a fixed order."""
    order = shown[:2]
    if name == "history":
        return select(*shown).order_by(*order)
    owner = {"role_evidence": "claim", "collection_member": "collection"}.get(name, "id")
    table = Base.metadata.tables[name]
    rows = select(*shown).select_from(table).join(_NOTE, _NOTE.c.id == table.c[owner])
    if name == "vote":
        subject = _NOTE.alias()
        rows = rows.join(subject, subject.c.id == table.c.about).where(~subject.c.deleted)
    return rows.where(~_NOTE.c.deleted).order_by(*order)


def _arrow(shown: tuple[Column[Any], ...], rows: Any) -> pa.Table:
    names = [column.name for column in shown]
    schema = pa.schema([(column.name, arrow_type(column)) for column in shown])
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    values = [
        [_plain(value, column) for value in column_values]
        for column, column_values in zip(shown, columns, strict=True)
    ]
    return pa.table(
        [pa.array(v, f.type) for v, f in zip(values, schema, strict=True)], schema=schema
    )


def _plain(value: Any, column: Column[Any]) -> Any:
    match column.type:
        case UtcTime():
            return value.replace(tzinfo=None)
        case JSON():
            return json.dumps(value, sort_keys=True, ensure_ascii=False)
        case _:
            return value
