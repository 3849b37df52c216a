"""A quick chart of a result: bars for names against numbers, dots for numbers against numbers."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from markupsafe import Markup

from app.web.widgets.frame import empty
from app.web.widgets.html import html, join
from app.web.widgets.text import plain, sig
from atlas.types import SqlResult

_BARS, _DOTS = 60, 2000


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
        (left, float(right))
        for left, right in zip(across.values, up.values, strict=True)
        if left is not None and _is_number(right)
    ]
    if not pairs:
        return empty("Nothing to draw.", f"Column {y} has no numbers here.")
    if all(_is_number(left) for left, _ in pairs):
        return _dots([(float(left), right) for left, right in pairs[:_DOTS]], across.name, up.name)
    return _bars([(str(left), right) for left, right in pairs[:_BARS]], len(pairs))


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


def _bars(pairs: Sequence[tuple[str, float]], total: int) -> Markup:
    most = max(abs(value) for _, value in pairs) or 1.0
    lines = join(
        html(
            '<div class="logit"><span class="tok">{}</span>'
            '<span class="bar {}"><i style="width:{:.1f}%"></i></span>'
            '<span class="n">{}</span></div>',
            plain(name),
            "minus" if value < 0 else "",
            100 * abs(value) / most,
            sig(value),
        )
        for name, value in pairs
    )
    more = f"the first {len(pairs)} of {total}" if total > len(pairs) else ""
    return html('<div class="chart">{}<p class="tiny soft">{}</p></div>', lines, more)


def _dots(pairs: Sequence[tuple[float, float]], x: str, y: str) -> Markup:
    (x0, x1), (y0, y1) = (_ends([pair[n] for pair in pairs]) for n in (0, 1))
    dots = join(
        html(
            '<i class="dot" style="left:{:.2f}%;bottom:{:.2f}%" data-tip="{}"></i>',
            2 + 96 * (left - x0) / (x1 - x0),
            2 + 96 * (up - y0) / (y1 - y0),
            f"{x} {left!r}\n{y} {up!r}",
        )
        for left, up in pairs
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
