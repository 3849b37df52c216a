"""Tables and lists of facts."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from app.web.widgets.html import html, join


class Column(NamedTuple):
    """A column of a table; texts on the left, numbers on the right."""

    name: str
    number: bool = False
    hint: str = ""
    """What the name means, shown on hover."""
    width: str = ""


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; every cell is escaped unless it is Markup."""
    head = join(
        html(
            '<th class="{}" data-tip="{}" style="{}">{}</th>',
            "n" if one.number else "",
            one.hint,
            f"width:{one.width}" if one.width else "",
            one.name,
        )
        for one in columns
    )
    body = join(html("<tr>{}</tr>", join(_cells(columns, row))) for row in rows)
    return html('<div class="scroll"><table><tr>{}</tr>{}</table></div>', head, body)


def _cells(columns: Sequence[Column], row: Sequence[object]) -> Iterable[Markup]:
    for column, value in zip(columns, row, strict=True):
        yield html('<td class="{}">{}</td>', "n" if column.number else "", value)


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names with their values, one a line."""
    lines = join(html("<dt>{}</dt><dd>{}</dd>", name, value) for name, value in pairs)
    return html('<dl class="facts">{}</dl>', lines)
