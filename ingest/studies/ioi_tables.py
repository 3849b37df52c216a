"""What the study of indirect-object identification found as rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from atlas.ids import SaeId
from ingest.studies.bootstrap import Estimate, mean, ratio
from ingest.studies.ioi_effects import Behaviour
from ingest.studies.ioi_prompts import Family
from ingest.studies.ioi_words import ORDERS
from ingest.studies.prefix_tables import Columns, Key, Row, columns, figures
from ingest.wilson import wilson

FIGURE = ("value", "low", "high", "n")


class Behaved(NamedTuple):
    """What the model does in one family."""

    family: Family
    bos: bool
    found: Behaviour


class HeadTested(NamedTuple):
    """A head's ablation."""

    layer: int
    head: int
    how: str
    place: str
    change: Tensor  # [n], of the difference of logits


class PartTested(NamedTuple):
    """The ablation of a layer's attention at a place, or of the error of its SAE."""

    layer: int
    sae: SaeId | None
    place: str
    part: str
    how: str
    change: Tensor  # [n]


class FeatureTested(NamedTuple):
    """A feature's ablation at a place."""

    sae: SaeId
    feature: int
    place: str
    how: str
    fired: Tensor  # [n]
    by_head: Tensor  # [head], mean DFA at the place
    estimate: float
    change: Tensor  # [n]


class Noised(NamedTuple):
    """Differences of logits of the noising test."""

    names: Tensor  # [n], index into ORDERS
    found: dict[str, Tensor]  # "clean", "zero", "mean", then corruptions, to [n]


def families(key: Key, behaved: Sequence[Behaved], draw: torch.Generator) -> Columns:
    """One row per family: accuracy, how often the answer leads, difference of logits."""
    rows = []
    for one in behaved:
        right, top = one.found.difference > 0, one.found.top
        accuracy, first = _share("accuracy", right), _share("top", top)
        difference = figures(mean(one.found.difference, draw))
        rows.append(
            {"names": one.family.order, "conjunction": one.family.conjunction, "bos": one.bos}
            | {"does": accuracy["accuracy_low"] > 0.5}
            | accuracy
            | first
            | {"difference": difference["value"], "difference_low": difference["low"]}
            | {"difference_high": difference["high"], "n": len(right)}
        )
    return columns(key, rows, *rows[0])


def _share(name: str, held: Tensor) -> Row:
    low, high = (float(end) for end in wilson(np.array(int(held.sum())), float(len(held))))
    return {name: float(held.float().mean()), f"{name}_low": low, f"{name}_high": high}


def by_names(names: Tensor, *values: Tensor) -> Iterator[tuple[str, list[Tensor]]]:
    """The values of all prompts, then of each order by itself."""
    yield "both", list(values)
    for number, order in enumerate(ORDERS):
        own = names == number
        yield order, [value[own] for value in values]


Tested = TypeVar("Tested", HeadTested, PartTested, FeatureTested)


def largest(tested: Sequence[Tested]) -> list[Tested]:
    """What was ablated before what was estimated, the largest mean change first: rows as read."""
    return sorted(tested, key=lambda one: (one.how == "estimate", -abs(float(one.change.mean()))))


def heads(key: Key, tested: Sequence[HeadTested], names: Tensor, draw: torch.Generator) -> Columns:
    """One row per head, way, place and order."""
    rows = [
        {"layer": one.layer, "head": one.head, "how": one.how, "place": one.place}
        | {"names": order}
        | figures(mean(change, draw))
        for one in largest(tested)
        for order, (change,) in by_names(names, one.change)
    ]
    return columns(key, rows, "layer", "head", "how", "place", "names", *FIGURE)


def parts(key: Key, tested: Sequence[PartTested], names: Tensor, draw: torch.Generator) -> Columns:
    """One row per layer or SAE error, way, place and order."""
    rows = [
        {"layer": one.layer, "sae_id": str(one.sae) if one.sae else None, "part": one.part}
        | {"place": one.place, "how": one.how, "names": order}
        | figures(mean(change, draw))
        for one in largest(tested)
        for order, (change,) in by_names(names, one.change)
    ]
    return columns(key, rows, "layer", "sae_id", "part", "place", "how", "names", *FIGURE)


def features(
    key: Key, tested: Sequence[FeatureTested], names: Tensor, draw: torch.Generator
) -> Columns:
    """One row per feature, way, place and order."""
    rows = []
    for one in largest(tested):
        size = one.by_head.abs()
        head = int(size.argmax())
        for order, (change, fired) in by_names(names, one.change, one.fired):
            rows.append(
                {"sae_id": str(one.sae), "feature": one.feature, "place": one.place}
                | {"how": one.how, "names": order, "fired": float(fired.float().mean())}
                | {"estimate": one.estimate if (one.how, order) == ("zero", "both") else None}
                | {"head": head, "head_share": float(size[head] / size.sum())}
                | figures(mean(change, draw))
            )
    shown = ("sae_id", "feature", "place", "how", "names", "fired", "estimate")
    return columns(key, rows, *shown, "head", "head_share", *FIGURE)


def noise(
    key: Key, noised: Mapping[bool, Noised], layers: Sequence[int], draw: torch.Generator
) -> Columns:
    """One row per corruption, order and start: the difference and what is kept of the clean one.

    Kept is given three times: of the clean difference itself, and of what clean has above the zero
    and above the mean baseline. Where clean and baseline do not differ by more than their noise,
    no share is given.
    """
    rows = [row for bos, one in noised.items() for row in _noised(one, bos, layers, draw)]
    kept = [f"kept_{base}{end}" for base in ("clean", "zero", "mean") for end in ENDS]
    difference_names = [f"difference{end}" for end in ENDS]
    shown = ("layers", "corruption", "names", *difference_names, *kept, "n", "bos")
    return columns(key, rows, *shown)


def _noised(
    noised: Noised, bos: bool, layers: Sequence[int], draw: torch.Generator
) -> Iterator[Row]:
    for name, difference in noised.found.items():
        values = (difference, *(noised.found[base] for base in ("clean", "zero", "mean")))
        for order, (own, clean, zero, average) in by_names(noised.names, *values):
            row: Row = {"layers": list(layers), "corruption": name, "names": order, "bos": bos}
            row |= _prefixed("difference", mean(own, draw))
            for base, level in (
                ("clean", torch.zeros_like(clean)),
                ("zero", zero),
                ("mean", average),
            ):
                row |= _prefixed(f"kept_{base}", _kept(own - level, clean - level, draw))
            yield row | {"n": len(own)}


ENDS = ("", "_low", "_high")


def _kept(above: Tensor, below: Tensor, draw: torch.Generator) -> Estimate | None:
    size = mean(below, draw)
    if not bool(size.low > 0) and not bool(size.high < 0):
        return None
    return ratio(above, below, draw)


def _prefixed(name: str, found: Estimate | None) -> Mapping[str, float | None]:
    if found is None:
        return {f"{name}{end}": None for end in ENDS}
    cells = figures(found)
    return {f"{name}{end}": cells[part] for end, part in zip(ENDS, FIGURE[:3], strict=True)}
