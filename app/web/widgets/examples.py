"""Examples of a feature, token by token; drawn in the browser by examples.js."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import streamlit as st

from app.web.widgets.text import exact, plain, sig, visible
from atlas.types import Example, Feature, Source

_COMPONENT = st.components.v2.component(
    "atlas_examples",
    js=Path(__file__).with_name("examples.js").read_text(),
    isolate_styles=False,
)


def show_examples(feature: Feature) -> None:
    """All kept examples of a feature, in pairs of where it fires and what it reads."""
    _COMPONENT(data=data_of(feature), key="examples")


def data_of(feature: Feature) -> dict[str, Any]:
    """What examples.js draws: every token text once, positions and values as they are stored."""
    examples, of = feature.examples, feature.id.sae
    texts = list(dict.fromkeys(token for one in examples for token in one.tokens))
    number = {text: place for place, text in enumerate(texts)}
    groups = groupby(examples, key=_together)
    return {
        "texts": [visible(text) for text in texts],
        "exact": [exact(text) for text in texts],
        "actScale": max((act for one in examples for _, act in one.acts), default=1.0),
        "srcScale": max((abs(s.dfa) for one in examples for s in one.sources), default=1.0),
        "heads": [f"L{of.layer}H{share.head}" for share in feature.heads],
        "groups": [_group(feature, *key, list(group), number) for key, group in groups],
    }


def _together(one: Example) -> tuple[str, int | None]:
    """What stands under one heading: an interval each, but all tenths together."""
    return one.kind, None if one.kind == "decile" else one.band


def _group(
    feature: Feature, kind: str, band: int | None, group: list[Example], number: dict[str, int]
) -> dict[str, Any]:
    return {
        "kind": kind,
        "title": _title(feature, kind, band),
        "note": _note(feature, kind, group),
        "examples": [_example(one, number) for one in group],
    }


def _example(one: Example, number: dict[str, int]) -> dict[str, Any]:
    strongest = _strongest(one.sources)
    return {
        "tokens": [number[token] for token in one.tokens],
        "pos": one.pos,
        "from": strongest.pos if strongest else None,
        "act": one.act,
        "tenth": one.band if one.kind == "decile" else None,
        "acts": one.acts,
        "sources": [(source.pos, source.dfa, source.head) for source in one.sources],
        "heads": one.head_dfa,
        "bias": one.bias,
        "residual": one.residual,
        "ctx": one.ctx,
        "doc": plain(one.doc),
        "source": plain(one.source),
    }


def _strongest(sources: Sequence[Source]) -> Source | None:
    """The source with the largest signed DFA: what made it fire, not what held it back."""
    return max(sources, key=lambda source: source.dfa, default=None)


def _title(feature: Feature, kind: str, band: int | None) -> str:
    bands = feature.run.config.get("mine", {}).get("bands")
    match kind:
        case "top":
            return "Strongest"
        case "interval" if bands and band is not None:
            low, high = (feature.row.max_act * (band + more) / bands for more in (0, 1))
            return f"Activation {sig(low)} to {sig(high)}"
        case "interval":
            return f"Interval {band}"
        case "random":
            return "Drawn at random from all firings"
        case "decile":
            return "From every tenth of the firings, by activation"
        case _:
            return "Near misses: did not fire"


def _note(feature: Feature, kind: str, examples: Sequence[Example]) -> str:
    match kind:
        case "top":
            return "one per context, strongest first"
        case "interval":
            return f"{len(examples)} drawn from this interval"
        case "random":
            return f"{len(examples)} of {feature.row.firings:,}"
        case "decile":
            tenths = len({one.band for one in examples})
            return f"{len(examples)} from {tenths} tenths, the strongest tenth first"
        case _:
            return "one per context, nearest first; the figure is the pre-activation"
