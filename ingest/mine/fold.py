"""What mining keeps of one SAE: counts and chosen firings, of some contexts or of all.

`merge` is associative and commutative, and so exact that any split into shards gives equal bytes:
sums are integers (values times 2^20), and what is kept does not depend on where it came from
(`keep.py`).

Memory per feature is bounded by `Limits`: 16 bytes for each kept firing, of which there are at most
top + 64 per_bin + random + near + sketch, and 8 (68 + 3 heads) bytes of counts.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ingest.mine.keep import (
    Kept,
    Order,
    Rows,
    by_hash,
    by_hash_in_bin,
    by_place,
    by_strength,
    lowest,
)

FIXED = float(2**20)
"""Units of the integer sums."""


class Limits(NamedTuple):
    """How many firings are kept per feature."""

    top: int  # strongest, one per context
    per_bin: int  # at random from each histogram bin
    random: int  # at random from all
    near: int  # near misses, one per context
    sketch: int  # with the lowest hash of the place alone


class Fold(NamedTuple):
    """All that is known of one SAE after some contexts."""

    tokens: NDArray[Any]  # int64 [1], positions scored
    firings: NDArray[Any]  # int64 [feature]
    act: NDArray[Any]  # int64 [feature], sum of activations, FIXED
    square: NDArray[Any]  # int64 [feature], sum of their squares, FIXED
    max_act: NDArray[Any]  # float32 [feature]
    histogram: NDArray[Any]  # int64 [feature, bin]
    dfa: NDArray[Any]  # int64 [feature, head], sum of signed DFA, FIXED
    abs_dfa: NDArray[Any]  # int64 [feature, head], sum of |DFA|, FIXED
    won: NDArray[Any]  # int64 [feature, head], firings in which the head's DFA is largest
    top: Kept
    binned: Kept
    random: Kept
    near: Kept  # near misses, act being the pre-activation
    sketch: Kept  # firings with the lowest hash of (context, position), equal for all features


ORDERS: tuple[Callable[[Rows], Order], ...] = (
    by_strength,
    by_hash_in_bin,
    by_hash,
    by_strength,
    by_place,
)
"""By what a fold's chosen firings are kept: `top` to `sketch`, as in Limits."""


def merge(one: Fold, other: Fold, limits: Limits, device: torch.device) -> Fold:
    """What two disjoint sets of contexts contribute together.

    Args:
        one: some contexts.
        other: other ones.
        limits: how many firings are kept.
        device: where to sort them.
    """
    chosen = []
    for mine, theirs, order, count in zip(one[9:], other[9:], ORDERS, limits, strict=True):
        both = Rows.joined([Rows.of(mine, device), Rows.of(theirs, device)])
        chosen.append(lowest(both, order, count).rows.on_host())
    return Fold(
        one.tokens + other.tokens,
        one.firings + other.firings,
        one.act + other.act,
        one.square + other.square,
        np.maximum(one.max_act, other.max_act),
        one.histogram + other.histogram,
        one.dfa + other.dfa,
        one.abs_dfa + other.abs_dfa,
        one.won + other.won,
        *chosen,
    )


def to_arrays(state: Fold, prefix: str) -> dict[str, NDArray[Any]]:
    """Flat named arrays, for a file."""
    arrays = {f"{prefix}{name}": getattr(state, name) for name in Fold._fields[:9]}
    for name in Fold._fields[9:]:
        for column, values in getattr(state, name)._asdict().items():
            arrays[f"{prefix}{name}.{column}"] = values
    return arrays


def from_arrays(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Fold:
    """What `to_arrays` flattened."""
    plain: Any = [arrays[f"{prefix}{name}"] for name in Fold._fields[:9]]
    kept = [
        Kept(*(arrays[f"{prefix}{name}.{column}"] for column in Kept._fields))
        for name in Fold._fields[9:]
    ]
    return Fold(*plain, *kept)
