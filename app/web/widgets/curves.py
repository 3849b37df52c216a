"""Curves with their intervals, laid out here and drawn by curves.js."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "atlas_curves",
    js="\n".join((_HERE / f"{name}.js").read_text() for name in ("ticks", "curves")),
    isolate_styles=False,
)


class Point(NamedTuple):
    """One estimate of a curve."""

    x: float
    value: float
    low: float | None
    high: float | None


class Curve(NamedTuple):
    """A named curve that may lead to a page."""

    name: str
    href: str
    points: Sequence[Point]


def show_curves(curves: Sequence[Curve], x: str, y: str, key: str) -> None:
    """Several curves in one frame, hover with exact values.

    Args:
        curves: the strongest first; each gets a colour of the palette.
        x: what the horizontal axis is.
        y: what the vertical axis is.
        key: different for each plot of a page.
    """
    _COMPONENT(
        data={
            "x": x,
            "y": y,
            "curves": [
                {"name": one.name, "href": one.href, "points": [list(p) for p in one.points]}
                for one in curves
            ],
        },
        key=key,
    )
