"""The curves of a training as small multiples, laid out here and drawn by training.js."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from atlas.record import TrainingPoint

_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "atlas_training",
    js="\n".join((_HERE / f"{name}.js").read_text() for name in ("ticks", "training")),
    isolate_styles=False,
)
_PLOTS = {
    "fvu": ("FVU", "fraction of variance unexplained"),
    "l0": ("L0", "features that fire per token"),
    "dead": ("Dead", "share of features that did not fire lately"),
    "loss": ("Loss", "squared error per entry of normalised z"),
}


def show_training(curve: Sequence[TrainingPoint], links: Mapping[int, str], key: str) -> None:
    """One small plot a figure, one line a layer, over the tokens trained on.

    Args:
        curve: by layer, then step.
        links: layer to the address of its SAE, where there is one.
        key: different for each run of a page.
    """
    _COMPONENT(data=data_of(curve, links), key=key)


def data_of(curve: Sequence[TrainingPoint], links: Mapping[int, str]) -> dict[str, Any]:
    """What training.js draws; what is no number, as when a training diverges, is left out.

    Layers may be trained in groups one after the other: those that come later have fewer steps.
    """
    layers = list(dict.fromkeys(point.layer for point in curve))
    known = {(point.layer, point.step): point for point in curve}
    by_step = {point.step: point for point in curve}
    steps = sorted(by_step)
    plots = [
        {
            "name": name,
            "words": words,
            "values": [[_figure(known.get((n, step)), figure) for step in steps] for n in layers],
        }
        for figure, (name, words) in _PLOTS.items()
    ]
    rate = {
        "name": "Learning rate",
        "words": "of all layers",
        "values": [[_figure(by_step[step], "learning_rate") for step in steps]],
    }
    return {
        "names": [f"layer {layer}" for layer in layers],
        "links": [links.get(layer, "") for layer in layers],
        "steps": steps,
        "tokens": [by_step[step].tokens for step in steps],
        "plots": [*plots, rate],
    }


def _figure(point: TrainingPoint | None, name: str) -> float | None:
    value = math.nan if point is None else float(getattr(point, name))
    return value if math.isfinite(value) else None
