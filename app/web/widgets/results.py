"""A study's tables: heads, SAEs and features as links, every estimate with its interval."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from app.web.url import AtSql
from app.web.widgets.html import a, a_id, html, join
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, exact, plain, sig, visible
from atlas.errors import NotFound
from atlas.ids import HeadId, SaeId, parse, parse_sae
from atlas.study_types import StudyTable

_SHOWN, _FOLDED = 15, 200
_LEFT_OUT = ("model", "run")
_ALONE = ("value", "share")
"""What `low` and `high` are of."""


class Estimate(NamedTuple):
    """The places of a value and its interval among a table's columns."""

    value: int
    low: int
    high: int


def estimates(columns: Sequence[str]) -> dict[str, Estimate]:
    """Columns that have an interval: `x` with `x_low`, `x_high`, or the one of `low`, `high`."""
    place = {name: n for n, name in enumerate(columns)}
    alone = next((name for name in _ALONE if name in place and "low" in place), "")
    found = {}
    for name in columns:
        stem = "" if name == alone else f"{name}_"
        if f"{stem}low" in place and f"{stem}high" in place:
            found[name] = Estimate(place[name], place[f"{stem}low"], place[f"{stem}high"])
    return found


def study_table(
    one: StudyTable, model: str, run: str, snapshot: str, texts: Sequence[str] = ()
) -> Markup:
    """A table of results; what does not fit is folded away, and SQL has the rest.

    Args:
        one: the table.
        model: whose heads are meant.
        run: id of the study's run.
        snapshot: name of what is shown.
        texts: text of every token, where the table has tokens.
    """
    known = estimates(one.columns)
    ends = {one.columns[at] for each in known.values() for at in (each.low, each.high)}
    counts = {f"{name}_n" for name in known}
    both = {"layer", "head"} <= set(one.columns)
    hidden = {*_LEFT_OUT, *ends, *counts, *({"layer"} if both else ())}
    shown = [name for name in one.columns if name not in hidden]
    scales = _scales(one, known)
    rows: list[Mapping[str, Any]] = [dict(zip(one.columns, row, strict=True)) for row in one.rows]
    if known and both and len(rows) > _SHOWN:
        rows = _in_turn(rows, next(iter(known)), scales)
    about = Shown(one.columns, known, scales, model, snapshot, texts)
    lines = [[_cell(name, row, about) for name in shown] for row in rows[:_FOLDED]]
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


_KIND = ("metric", "measure", "what")
"""Columns whose values have units of their own."""
Scales = Mapping[tuple[str, str], tuple[float, float]]
"""Estimate and kind to the ends of its track."""


class Shown(NamedTuple):
    """What the cells of a table are drawn with."""

    columns: Sequence[str]
    known: Mapping[str, Estimate]
    scales: Scales
    model: str
    snapshot: str
    texts: Sequence[str]


def _kind(row: Mapping[str, Any]) -> str:
    return next((str(row[name]) for name in _KIND if name in row), "")


def _scales(one: StudyTable, known: Mapping[str, Estimate]) -> Scales:
    values: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0])
    for row in one.rows:
        kind = _kind(dict(zip(one.columns, row, strict=True)))
        for name, each in known.items():
            values[name, kind] += [row[at] for at in each if row[at] is not None]
    return {key: (min(own), max(own)) for key, own in values.items()}


def _size(row: Mapping[str, Any], name: str, scales: Scales) -> float:
    """How large an estimate is beside the others of its kind; unknown ones are smallest."""
    if row[name] is None:
        return -1.0
    return abs(float(row[name])) / (max(map(abs, scales[name, _kind(row)])) or 1.0)


def _in_turn(
    rows: Sequence[Mapping[str, Any]], name: str, scales: Scales
) -> list[Mapping[str, Any]]:
    """The largest of every kind, then the second of every kind, and so on."""
    kinds: dict[str, int] = defaultdict(int)
    placed = []
    for row in sorted(rows, key=lambda row: -_size(row, name, scales)):
        placed.append((kinds[_kind(row)], row))
        kinds[_kind(row)] += 1
    return [row for _, row in sorted(placed, key=lambda one: one[0])]


def _column(one: StudyTable, name: str, has_interval: bool) -> Column:
    place = one.columns.index(name)
    number = any(isinstance(row[place], int | float) for row in one.rows)
    linked = name in ("head", "token")
    return Column(name.replace("_", " "), number and not has_interval and not linked)


def _cell(name: str, row: Mapping[str, Any], about: Shown) -> object:
    value = row[name]
    if name in about.known:
        low, high = (row[about.columns[at]] for at in about.known[name][1:])
        n = row.get(f"{name}_n")
        return ranged(value, low, high, about.scales[name, _kind(row)], n=n)
    if value is None:
        return Markup('<span class="soft">–</span>')
    if name == "head":
        layer = row["layer"] if "layer" in row else _layer(row)
        return _head(HeadId(about.model, layer, value), about) if layer is not None else value
    if name == "token" and value < len(about.texts):
        tip = exact(about.texts[value])
        return html('<span class="tok" data-tip="{}">{}</span>', tip, visible(about.texts[value]))
    sae = next((row[key] for key in ("sae", "sae_id") if isinstance(row.get(key), str)), None)
    if sae and name == "feature":
        return _linked(f"{sae}/{value}", about.snapshot, str(value))
    if sae and name == "features" and isinstance(value, list | tuple):
        return join((_linked(f"{sae}/{each}", about.snapshot, str(each)) for each in value), " ")
    return _plain(value, about.snapshot)


def _layer(row: Mapping[str, Any]) -> int | None:
    found = row.get("sae") or row.get("sae_id")
    return parse_sae(found).layer if isinstance(found, str) else None


def _head(head: HeadId, about: Shown) -> Markup:
    return a_id(head, about.snapshot, f"L{head.layer}H{head.head}")


def ranged(
    value: float | None,
    low: float | None,
    high: float | None,
    scale: tuple[float, float],
    mark: float | None = None,
    n: int | None = None,
) -> Markup:
    """A value as a point with its interval as a line, and both in figures.

    Args:
        value: the estimate; a dash for None.
        low: lower end of its interval, where there is one.
        high: its upper end.
        scale: what the two ends of the track stand for.
        mark: what the value is held against, a tick.
        n: how many it is an estimate from.
    """
    if value is None:
        return Markup('<span class="soft">–</span>')
    begin, end = scale
    wide = (end - begin) or 1.0

    def at(x: float) -> float:
        return 100 * min(1.0, max(0.0, (x - begin) / wide))

    drawn, said = [], [repr(value)]
    if mark is not None:
        drawn.append(html('<i class="mark" style="left:{:.1f}%"></i>', at(mark)))
    if low is not None and high is not None:
        place = at(low), at(high) - at(low)
        drawn.append(html('<i class="reach" style="left:{:.1f}%;width:{:.1f}%"></i>', *place))
        said.append(f"95 % interval {sig(low)} to {sig(high)}")
    else:
        said.append("without an interval")
    said += [f"n {count(n)}"] if n is not None else []
    return html(
        '<span class="ranged" data-tip="{}"><span class="n">{}</span><span class="track">{}'
        '<i class="point" style="left:{:.1f}%"></i></span></span>',
        "\n".join(said),
        sig(value),
        join(drawn),
        at(value),
    )


def _plain(value: object, snapshot: str) -> object:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return count(value)
        case float():
            return sig(value, 4)
        case str() if "/" in value:
            return _linked(value, snapshot, value)
        case str():
            return plain(value)
        case list() | tuple() if all(isinstance(one, str) for one in value):
            tokens = (html('<span class="tok">{}</span>', visible(one)) for one in value)
            return html('<span class="tokens">{}</span>', join(tokens))
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)


def _linked(text: str, snapshot: str, words: str) -> str:
    try:
        name = parse(text)
    except NotFound:
        return plain(words)
    return a_id(name, snapshot, words) if not isinstance(name, SaeId) else a_id(name, snapshot)
