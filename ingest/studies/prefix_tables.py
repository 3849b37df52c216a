"""What the prefix study found as rows: scores, classes, broken prefixes, features by class."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atlas.store.prefix import LedFeature
from ingest.studies.bootstrap import Estimate, mean, ratio
from ingest.studies.prefix_class import CLASSES, Classed
from ingest.studies.prefix_synthetic import Scored
from ingest.studies.prefix_text import CONTROLS, Event

Columns = dict[str, list[Any]]
Row = dict[str, Any]


class Key(NamedTuple):
    """What every row names."""

    model: str
    run: str


def scores(key: Key, synthetic: Mapping[int, Scored], draw: torch.Generator) -> Columns:
    """One row per head, measure and prefix length."""
    rows = []
    for length, scored in synthetic.items():
        for measure, values in (("attention", scored.attention), ("logit", scored.logit)):
            found = mean(values, draw)
            rows += [
                {"layer": layer, "head": head, "measure": measure, "length": length}
                | figures(found, layer, head)
                for layer in range(values.shape[1])
                for head in range(values.shape[2])
            ]
    return columns(key, rows, "layer", "head", "measure", "length", "value", "low", "high", "n")


def heads(key: Key, classed: Classed, counts: Tensor) -> Columns:
    """One row per head: its class, what decided, and prefix lengths on text."""
    rows = []
    for (layer, head), kind in _each(classed.kind):
        one, long = (figures(part, layer, head) for part in (classed.one, classed.long))
        rows.append(
            {"layer": layer, "head": head, "class": CLASSES[int(kind)]}
            | {_named("one", name): value for name, value in one.items()}
            | {_named("long", name): value for name, value in long.items()}
            | {"text_windows": int(counts[layer, head].sum())}
            | {"text_lengths": counts[layer, head].tolist()}
        )
    return columns(key, rows, *rows[0])


def _named(what: str, figure: str) -> str:
    return what if figure == "value" else f"{what}_{figure}"


def _each(kinds: Tensor) -> list[tuple[tuple[int, int], Tensor]]:
    layers, n = kinds.shape
    return [((layer, head), kinds[layer, head]) for layer in range(layers) for head in range(n)]


def breaks(key: Key, events: Sequence[Event], after: Tensor, draw: torch.Generator) -> Columns:
    """One row per head and control that has events, windows resampled.

    Args:
        key: names the rows.
        events: those that were broken.
        after: `[event, control]` attention with the prefix broken.
        draw: draws the resamples.
    """
    rows = []
    for layer, head in sorted({(event.layer, event.head) for event in events}):
        own = [n for n, event in enumerate(events) if (event.layer, event.head) == (layer, head)]
        before = torch.tensor([events[n].attention for n in own])
        lengths = torch.tensor([float(events[n].length) for n in own])
        for place, control in enumerate(CONTROLS):
            known = ~after[own, place].isnan()
            if not known.any():
                continue
            left = after[own, place][known]
            old, new = mean(before[known], draw), mean(left, draw)
            kept = ratio(left, before[known], draw)
            rows.append(
                {"layer": layer, "head": head, "control": control}
                | {_named("before", name): value for name, value in figures(old).items()}
                | {_named("after", name): value for name, value in figures(new).items()}
                | {_named("kept", name): value for name, value in figures(kept).items()}
                | {"prefix": float(lengths[known].mean()), "n": int(known.sum())}
            )
    names = ("layer", "head", "control", *_thrice(), "prefix", "n")
    return columns(key, rows, *names)


def _thrice() -> list[str]:
    return [f"{what}{end}" for what in ("before", "after", "kept") for end in ("", "_low", "_high")]


MEASURES = ("distance", "one", "two")


def features(
    key: Key, classed: Classed, led: Sequence[LedFeature], draw: torch.Generator
) -> Columns:
    """One row per SAE layer, class of the leading head and measure, features resampled.

    Only layers with SAEs have features; a class without heads there has no rows. A family's share
    is given only where the atlas has families of that SAE.
    """
    groups: dict[tuple[str, str], list[LedFeature]] = {}
    for one in led:
        name = CLASSES[int(classed.kind[one.layer, one.head])]
        groups.setdefault((str(one.id.sae), name), []).append(one)
    rows = []
    for (sae, name), members in sorted(groups.items()):
        n_heads = len({one.head for one in members})
        measured = {what: [getattr(one, what) for one in members] for what in MEASURES}
        known = {one.family for one in led if str(one.id.sae) == sae and one.family}
        for family in sorted(known):
            measured[f"family {family}"] = [float(one.family == family) for one in members]
        for what, values in measured.items():
            found = mean(torch.tensor(values), draw)
            own = {"sae_id": sae, "class": name, "heads": n_heads, "measure": what}
            rows.append(own | figures(found))
    return columns(key, rows, "sae_id", "class", "heads", "measure", "value", "low", "high", "n")


def figures(found: Estimate, *place: int) -> Row:
    """An estimate's value, interval and n; None for what is not known."""
    cells = (float(part[place]) for part in (found.value, found.low, found.high))
    value, low, high = (None if cell != cell else cell for cell in cells)
    return {"value": value, "low": low, "high": high, "n": found.n}


def columns(key: Key, rows: Sequence[Row], *names: str) -> Columns:
    """Rows as columns, the model before and the run behind."""
    made: Columns = {"model": [key.model] * len(rows)}
    made |= {name: [row[name] for row in rows] for name in names}
    return made | {"run": [key.run] * len(rows)}
