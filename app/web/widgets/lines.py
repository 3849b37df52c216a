"""Estimates as points with intervals on one scale, in groups beside each other."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from app.web.widgets.html import html, join
from app.web.widgets.results import ranged
from atlas.study_types import StudyTable


class Line(NamedTuple):
    """One estimate of a plot of lines."""

    name: Markup
    value: float
    low: float | None
    high: float | None
    mark: float | None
    """What it is held against, drawn as a tick."""


def cells(one: StudyTable) -> Iterator[dict[str, Any]]:
    """Rows by the names of their columns."""
    return (dict(zip(one.columns, row, strict=True)) for row in one.rows)


def lines_plot(
    title: str, words: str, groups: Sequence[tuple[Markup, Sequence[Line]]], kind: str = ""
) -> Markup:
    """All groups under one title; `kind` is "long" where names are words."""
    ends = [
        end
        for _, lines in groups
        for line in lines
        for end in (line.value, line.low, line.high, line.mark)
        if end is not None
    ]
    scale = min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)
    return html(
        '<h2>{}</h2><p class="small soft">{}</p><div class="lines {}">{}</div>',
        title,
        words,
        kind,
        join(
            html("<div><h3>{}</h3>{}</div>", name, join(_line(line, scale) for line in lines))
            for name, lines in groups
        ),
    )


def _line(line: Line, scale: tuple[float, float]) -> Markup:
    estimate = ranged(line.value, line.low, line.high, scale, line.mark)
    return html('<div class="line">{}{}</div>', line.name, estimate)
