"""Do the features of short-prefix and of long-prefix heads differ: by family, label and match.

A feature belongs to the head that gives most to it. Features of one head are much alike, so that a
difference is held against two nulls: classes dealt out again to whole heads, and classes dealt out
again to the features of each layer, which leaves the layer's own mixture alone.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.store.prefix import LedFeature
from ingest.studies.bootstrap import mean
from ingest.studies.prefix_class import CLASSES, Classed
from ingest.studies.prefix_tables import Columns, Key, Row, columns, figures

DRAWS = 2000
"""Draws of each null."""
LISTED = 10
"""Features listed per head."""
MEASURES = ("distance", "one", "two")
NONE = "none"
"""Family or label of a feature that has none."""
SHORT, LONG = CLASSES.index("short-prefix"), CLASSES.index("long-prefix")
_QUOTED = re.compile("“[^”]*”(, “[^”]*”)*")


class Outcomes(NamedTuple):
    """What features are compared by."""

    what: list[tuple[str, str]]  # (family, label or measure; its name) per column
    values: NDArray[np.float64]  # [feature, column]


def wording(title: str | None) -> str:
    """A label with its words left out, such as "… reads …": what kind of thing it says."""
    return _QUOTED.sub("…", title).split(" (")[0] if title else NONE


def outcomes(led: Sequence[LedFeature]) -> Outcomes:
    """Families and wordings as zeros and ones, and the measures."""
    kinds = {
        "family": [one.family or NONE for one in led],
        "label": [wording(one.title) for one in led],
    }
    what, values = [], []
    for kind, found in kinds.items():
        for name in sorted(set(found)):
            what.append((kind, name))
            values.append([float(own == name) for own in found])
    for measure in MEASURES:
        what.append(("measure", measure))
        values.append([float(getattr(one, measure)) for one in led])
    return Outcomes(what, np.array(values).T.reshape(len(led), len(what)))


def difference(values: NDArray[np.float64], short: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`[column]`: mean over short-prefix features minus that over long-prefix ones."""
    found: NDArray[np.float64] = values[short].mean(0) - values[~short].mean(0)
    return found


def apart(found: Outcomes, difference: NDArray[np.float64], kind: str) -> float:
    """Total variation between the classes' distributions over the names of a kind, 0 to 1."""
    own = [column for column, (what, _) in enumerate(found.what) if what == kind]
    return float(np.abs(difference[own]).sum() / 2)


def deal_heads(
    heads: NDArray[np.int64], short: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Classes dealt out again to whole heads, `[feature]`."""
    known, first, place = np.unique(heads, return_index=True, return_inverse=True)
    dealt: NDArray[np.bool_] = rng.permutation(short[first])[place]
    assert len(known) == len(first)
    return dealt


def deal_features(
    layers: NDArray[np.int64], short: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Classes dealt out again within each layer, `[feature]`."""
    dealt = short.copy()
    for layer in np.unique(layers):
        own = np.nonzero(layers == layer)[0]
        dealt[own] = rng.permutation(short[own])
    return dealt


def compare(
    key: Key, classed: Classed, led: Sequence[LedFeature], draw: torch.Generator, seed: int
) -> Columns:
    """One row per family, wording and measure, and one per kind for the whole distribution.

    No rows where one of the classes leads no feature of any SAE.
    """
    kinds = [int(classed.kind[one.layer, one.head]) for one in led]
    led = [one for one, kind in zip(led, kinds, strict=True) if kind in (SHORT, LONG)]
    short = np.array([kind == SHORT for kind in kinds if kind in (SHORT, LONG)], bool)
    if not short.any() or short.all():
        return columns(key, [], *NAMES)
    found = outcomes(led)
    layers = np.array([one.layer for one in led])
    heads = layers * classed.kind.shape[1] + np.array([one.head for one in led])
    rng = np.random.default_rng(seed)
    by_heads = [difference(found.values, deal_heads(heads, short, rng)) for _ in range(DRAWS)]
    mixed = any(len(set(short[layers == layer])) > 1 for layer in set(layers.tolist()))
    by_features = [
        difference(found.values, deal_features(layers, short, rng))
        for _ in range(DRAWS if mixed else 0)
    ]
    seen = difference(found.values, short)
    n = {"short_heads": len(set(heads[short])), "long_heads": len(set(heads[~short]))}
    rows: list[Row] = [
        {"what": what, "name": name, "difference": float(seen[column])}
        | _means(found.values[:, column], short, draw)
        | {"p_heads": _p(seen[column], [one[column] for one in by_heads])}
        | {"p_features": _p(seen[column], [one[column] for one in by_features])}
        for column, (what, name) in enumerate(found.what)
    ]
    for kind in ("family", "label"):
        rows.append(
            {"what": kind, "name": "all", "difference": apart(found, seen, kind)}
            | dict.fromkeys(("short", "short_low", "short_high", "long", "long_low", "long_high"))
            | {"short_n": int(short.sum()), "long_n": int((~short).sum())}
            | {"p_heads": _p(apart(found, seen, kind), _totals(found, by_heads, kind))}
            | {"p_features": _p(apart(found, seen, kind), _totals(found, by_features, kind))}
        )
    order = {"family": 0, "label": 1, "measure": 2}
    rows.sort(key=lambda r: (order[r["what"]], r["name"] != "all", -abs(r["difference"])))
    return columns(key, [row | n for row in rows], *NAMES)


NAMES = (
    "what", "name", "short", "short_low", "short_high", "short_n", "long", "long_low", "long_high",
    "long_n", "difference", "p_heads", "p_features", "short_heads", "long_heads",
)  # fmt: skip


def _totals(found: Outcomes, drawn: list[NDArray[np.float64]], kind: str) -> list[float]:
    return [apart(found, one, kind) for one in drawn]


def _means(values: NDArray[np.float64], short: NDArray[np.bool_], draw: torch.Generator) -> Row:
    row: Row = {}
    for name, own in (("short", short), ("long", ~short)):
        for figure, value in figures(mean(torch.from_numpy(values[own]), draw)).items():
            row[name if figure == "value" else f"{name}_{figure}"] = value
    return row


def _p(seen: float, drawn: Sequence[float]) -> float | None:
    """Share of the draws at least as far from zero; NULL without draws."""
    if not drawn:
        return None
    far = sum(abs(one) >= abs(seen) - 1e-12 for one in drawn)
    return (1 + far) / (1 + len(drawn))


def labels(key: Key, classed: Classed, led: Sequence[LedFeature]) -> Columns:
    """The features that each induction head gives most to, with label and family."""
    rows: list[Row] = []
    by_head: dict[tuple[int, int], list[LedFeature]] = {}
    for one in led:
        by_head.setdefault((one.layer, one.head), []).append(one)
    for (layer, head), own in sorted(by_head.items()):
        kind = int(classed.kind[layer, head])
        if kind not in (SHORT, LONG):
            continue
        best = sorted(own, key=lambda one: (-one.share, one.id.sae.set, one.id.index))[:LISTED]
        rows += [
            {"class": CLASSES[kind], "layer": layer, "head": head, "rank": rank}
            | {"sae_id": str(one.id.sae), "feature": one.id.index, "title": one.title}
            | {"family": one.family, "share": one.share, "two": one.two, "leads": len(own)}
            for rank, one in enumerate(best)
        ]
    rows.sort(key=lambda row: row["class"], reverse=True)
    shown = ("class", "layer", "head", "rank", "sae_id", "feature", "title", "family", "share")
    return columns(key, rows, *shown, "two", "leads")
