"""The curves of a training as small multiples, laid out here and drawn by training.js."""

from collections.abc import Mapping, Sequence
from math import isfinite
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
        curve: by layer, then step; every layer has the same steps.
        links: layer to the address of its SAE, where there is one.
        key: different for each run of a page.
    """
    _COMPONENT(data=data_of(curve, links), key=key)


def data_of(curve: Sequence[TrainingPoint], links: Mapping[int, str]) -> dict[str, Any]:
    """What training.js draws; what is no number, as when a training diverges, is left out."""
    layers = list(dict.fromkeys(point.layer for point in curve))
    rows = {layer: [point for point in curve if point.layer == layer] for layer in layers}
    first = rows[layers[0]]
    plots = [
        {
            "name": name,
            "words": words,
            "values": [[_finite(getattr(point, figure)) for point in rows[n]] for n in layers],
        }
        for figure, (name, words) in _PLOTS.items()
    ]
    rate = {
        "name": "Learning rate",
        "words": "of all layers",
        "values": [[_finite(point.learning_rate) for point in first]],
    }
    return {
        "names": [f"layer {layer}" for layer in layers],
        "links": [links.get(layer, "") for layer in layers],
        "steps": [point.step for point in first],
        "tokens": [point.tokens for point in first],
        "plots": [*plots, rate],
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
