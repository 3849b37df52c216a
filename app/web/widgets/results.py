"""A study's tables: heads, SAEs and features as links, every estimate with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from app.web.url import AtSql
from app.web.widgets.html import a, a_id, html
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, plain, sig
from atlas.errors import NotFound
from atlas.ids import HeadId, SaeId, parse
from atlas.study_types import StudyTable

_SHOWN, _FOLDED = 15, 200
_LEFT_OUT = ("model", "run")


class Estimate(NamedTuple):
    """The places of a value and its interval among a table's columns."""

    value: int
    low: int
    high: int


def estimates(columns: Sequence[str]) -> dict[str, Estimate]:
    """Columns that have an interval: `x` with `x_low`, `x_high`, or `value` with `low`, `high`."""
    place = {name: n for n, name in enumerate(columns)}
    found = {}
    for name in columns:
        stem = "" if name == "value" else f"{name}_"
        if f"{stem}low" in place and f"{stem}high" in place:
            found[name] = Estimate(place[name], place[f"{stem}low"], place[f"{stem}high"])
    return found


def study_table(one: StudyTable, model: str, run: str, snapshot: str) -> Markup:
    """A table of results; what does not fit is folded away, and SQL has the rest."""
    known = estimates(one.columns)
    ends = {f"{'' if name == 'value' else name + '_'}{end}" for name in known for end in _ENDS}
    both = {"layer", "head"} <= set(one.columns)
    hidden = {*_LEFT_OUT, *ends, *({"layer"} if both else ())}
    shown = [name for name in one.columns if name not in hidden]
    scales = {name: _scale(one, each) for name, each in known.items()}
    lines = [_line(one, row, shown, known, scales, model, snapshot) for row in one.rows[:_FOLDED]]
    columns = [_column(one, name, name in known) for name in shown]
    query = f"SELECT * FROM {one.name} WHERE run = '{run}'"
    more = Markup("")
    if len(lines) > _SHOWN:
        rest = table(columns, lines[_SHOWN:])
        more = html("<details><summary>{} more</summary>{}</details>", len(lines) - _SHOWN, rest)
    return html(
        '<h3>{} <span class="tiny soft">{}</span></h3><p class="small soft">{}</p>{}{}',
        one.name.replace("_", " "),
        a(AtSql(query), f"all {count(one.total)} rows in SQL", snapshot),
        one.sentence,
        table(columns, lines[:_SHOWN]),
        more,
    )


_ENDS = ("low", "high")


def _scale(one: StudyTable, each: Estimate) -> tuple[float, float]:
    values = [row[at] for row in one.rows for at in each if row[at] is not None]
    return min(0.0, *values, 0.0), max(0.0, *values, 0.0)


def _column(one: StudyTable, name: str, has_interval: bool) -> Column:
    place = one.columns.index(name)
    number = any(isinstance(row[place], int | float) for row in one.rows) and name != "head"
    return Column(name.replace("_", " "), number and not has_interval)


def _line(
    one: StudyTable,
    row: Sequence[Any],
    shown: Sequence[str],
    known: Mapping[str, Estimate],
    scales: Mapping[str, tuple[float, float]],
    model: str,
    snapshot: str,
) -> list[object]:
    values = dict(zip(one.columns, row, strict=True))
    cells: list[object] = []
    for name in shown:
        if name in known:
            value, low, high = (row[at] for at in known[name])
            cells.append(ranged(value, low, high, scales[name]))
        elif name == "head" and values.get("layer") is not None and values["head"] is not None:
            head = HeadId(model, values["layer"], values["head"])
            cells.append(a_id(head, snapshot, f"L{head.layer}H{head.head}"))
        else:
            cells.append(_cell(values[name], name, values, snapshot))
    return cells


def ranged(
    value: float | None, low: float | None, high: float | None, scale: tuple[float, float]
) -> Markup:
    """A value as a point with its interval as a line, and both in figures."""
    if value is None:
        return Markup('<span class="soft">–</span>')
    begin, end = scale
    wide = (end - begin) or 1.0

    def at(x: float) -> float:
        return 100 * min(1.0, max(0.0, (x - begin) / wide))

    line = Markup("")
    within = ""
    if low is not None and high is not None:
        within = f"{sig(low)} to {sig(high)}"
        line = html(
            '<i class="reach" style="left:{:.1f}%;width:{:.1f}%"></i>', at(low), at(high) - at(low)
        )
    return html(
        '<span class="ranged" data-tip="{}"><span class="n">{}</span><span class="track">{}'
        '<i class="point" style="left:{:.1f}%"></i></span></span>',
        f"{value!r}\n95 % interval {within}" if within else f"{value!r}, without an interval",
        sig(value),
        line,
        at(value),
    )


def _cell(value: Any, name: str, values: Mapping[str, Any], snapshot: str) -> object:
    match value:
        case None:
            return Markup('<span class="soft">–</span>')
        case bool():
            return "yes" if value else "no"
        case int():
            feature = name == "feature" and isinstance(values.get("sae"), str)
            if feature:
                return _linked(f"{values['sae']}/{value}", snapshot, str(value))
            return count(value)
        case float():
            return sig(value, 4)
        case str() if "/" in value:
            return _linked(value, snapshot, value)
        case str():
            return plain(value)
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)


def _linked(text: str, snapshot: str, words: str) -> object:
    try:
        name = parse(text)
    except NotFound:
        return plain(words)
    return a_id(name, snapshot, words) if not isinstance(name, SaeId) else a_id(name, snapshot)
