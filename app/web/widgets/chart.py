"""A quick chart of a result: bars for names against numbers, dots for numbers against numbers."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from markupsafe import Markup

from app.web.widgets.frame import empty
from app.web.widgets.html import a_id, html, join
from app.web.widgets.text import plain, sig
from atlas.errors import NotFound
from atlas.ids import Id, ModelId, parse
from atlas.types import SqlResult

_BARS, _DOTS = 60, 2000


class Pair(NamedTuple):
    """One point of a chart."""

    x: Any
    y: float
    name: Id | None
    """Whose page it leads to."""


class Chosen(NamedTuple):
    """One column of a result."""

    name: str
    values: Sequence[Any]


def chart(result: SqlResult, x: str, y: str) -> Markup:
    """Column `y`, numbers, over column `x`."""
    across, up = _column(result, x), _column(result, y)
    if across is None or up is None:
        return empty("No such column.", "Choose the columns of the chart anew.")
    pairs = [
        Pair(left, float(right), name)
        for left, right, name in zip(across.values, up.values, _ids(result), strict=True)
        if left is not None and _is_number(right)
    ]
    if not pairs:
        return empty("Nothing to draw.", f"Column {y} has no numbers here.")
    if all(_is_number(one.x) for one in pairs):
        return _dots(pairs[:_DOTS], across.name, up.name, result.snapshot)
    return _bars(pairs[:_BARS], len(pairs))


def _ids(result: SqlResult) -> list[Id | None]:
    """What each row is about: its first value that is the id of a page."""
    return [next((name for name in map(_id, row) if name is not None), None) for row in result.rows]


def _id(value: Any) -> Id | None:
    if not isinstance(value, str) or "/" not in value:
        return None
    try:
        name = parse(value)
    except NotFound:
        return None
    return None if isinstance(name, ModelId) else name


def numeric(result: SqlResult) -> list[str]:
    """Columns that hold a number."""
    return [
        name
        for n, name in enumerate(result.columns)
        if any(_is_number(row[n]) for row in result.rows)
    ]


def _column(result: SqlResult, name: str) -> Chosen | None:
    if name not in result.columns:
        return None
    place = result.columns.index(name)
    return Chosen(name, [row[place] for row in result.rows])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _bars(pairs: Sequence[Pair], total: int) -> Markup:
    most = max(abs(one.y) for one in pairs) or 1.0
    lines = join(
        html(
            '<div class="logit"><span class="tok">{}</span>'
            '<span class="bar {}"><i style="width:{:.1f}%"></i></span>'
            '<span class="n">{}</span></div>',
            plain(str(one.x)),
            "minus" if one.y < 0 else "",
            100 * abs(one.y) / most,
            sig(one.y),
        )
        for one in pairs
    )
    more = f"the first {len(pairs)} of {total}" if total > len(pairs) else ""
    return html('<div class="chart">{}<p class="tiny soft">{}</p></div>', lines, more)


def _dots(pairs: Sequence[Pair], x: str, y: str, snapshot: str) -> Markup:
    (x0, x1), (y0, y1) = _ends([float(one.x) for one in pairs]), _ends([one.y for one in pairs])
    dots = join(
        html(
            '<span class="dot" style="left:{:.2f}%;bottom:{:.2f}%" data-tip="{}">{}</span>',
            2 + 96 * (one.x - x0) / (x1 - x0),
            2 + 96 * (one.y - y0) / (y1 - y0),
            f"{one.name or ''}\n{plain(x)} {one.x!r}\n{plain(y)} {one.y!r}".lstrip(),
            a_id(one.name, snapshot, " ", "") if one.name else Markup("<i></i>"),
        )
        for one in pairs
    )
    return html(
        '<p class="tiny soft">{} ↑ {} to {}</p><div class="scatter">{}</div>'
        '<div class="axis"><span>{}</span><span>{} →</span><span>{}</span></div>',
        y,
        sig(y0),
        sig(y1),
        dots,
        sig(x0),
        x,
        sig(x1),
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1, low + 1)
