"""What mining keeps of one SAE: counts and chosen firings, of some contexts or of all.

`merge` is associative and commutative, and so exact that any split into shards gives equal bytes:
sums are integers (values times 2^20), ties are broken by place in the corpus, and random samples
are the firings with the lowest hash of (context, position, feature), not the ones that came first.

Memory per feature is bounded by `Limits`: 16 bytes for each kept firing, of which there are at most
top + 64 per_bin + random + near + sketch, and 8 (68 + 3 heads) bytes of counts.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atlas.types import HISTOGRAM_BINS

Numbers = TypeVar("Numbers", NDArray[Any], Tensor)

FIXED = float(2**20)
"""Units of the integer sums."""


class Kept(NamedTuple):
    """Chosen firings."""

    feature: NDArray[Any]
    act: NDArray[Any]
    ctx: NDArray[Any]
    pos: NDArray[Any]


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


def merge(one: Fold, other: Fold, limits: Limits) -> Fold:
    """What two disjoint sets of contexts contribute together."""
    top, binned, random, near, sketch = (
        Kept(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
        for a, b in zip(one[9:], other[9:], strict=True)
    )
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
        _strongest(top, limits.top),
        _lowest_hash(binned, histogram_bin(binned.act), limits.per_bin),
        _lowest_hash(random, np.zeros(len(random.act), np.int64), limits.random),
        _strongest(near, limits.near),
        _lowest_place(sketch, limits.sketch),
    )


def histogram_bin(act: NDArray[Any]) -> NDArray[Any]:
    """Bin of each activation: four per octave from 2^-8 to 2^8; the ends take what lies beyond."""
    with np.errstate(divide="ignore"):
        octaves = np.log2(act.astype(np.float64))
    bins: NDArray[Any] = np.clip(np.floor((octaves + 8) * 4), 0, HISTOGRAM_BINS - 1).astype(
        np.int64
    )
    return bins


def firing_hash(feature: Numbers, ctx: Numbers, pos: Numbers) -> Numbers:
    """A fixed pseudo-random int64 per firing, from int64 (feature, context, position)."""
    number: Numbers = _scramble(_scramble(ctx << 16 | pos) ^ feature) ^ _LOWEST
    return number


def place_hash(ctx: Numbers, pos: Numbers) -> Numbers:
    """A fixed pseudo-random int64 per place, the same for all features; no two places share one.

    The scramble is a bijection of 64 bits, so the place can be told from the number.
    """
    number: Numbers = _scramble(ctx << 16 | pos) ^ _LOWEST
    return number


_LOWEST = -(2**63)
"""Turns the order of 64 bits as an unsigned number into their order as a signed one."""


def _scramble(x: Numbers) -> Numbers:
    """The finalising step of SplitMix64, on int64 whose sums and products wrap around."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _right(x, 27)) * _signed(0x94D049BB133111EB)
    mixed: Numbers = x ^ _right(x, 31)
    return mixed


def _right(x: Numbers, by: int) -> Numbers:
    """Shifted right with zeros coming in, as if it were unsigned."""
    shifted: Numbers = (x >> by) & ((1 << (64 - by)) - 1)
    return shifted


def _signed(bits: int) -> int:
    """The int64 of these 64 bits."""
    return bits - (bits >> 63 << 64)


def _numbers(kept: Kept) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Feature, context and position as int64."""
    feature, ctx, pos = (one.astype(np.int64) for one in (kept.feature, kept.ctx, kept.pos))
    return feature, ctx, pos


def _strongest(kept: Kept, count: int) -> Kept:
    """The `count` strongest per feature, at most one per context."""
    order = np.lexsort((kept.pos, kept.ctx, -kept.act, kept.feature))
    pairs = kept.feature[order].astype(np.int64) << 32 | kept.ctx[order]
    _, first = np.unique(pairs, return_index=True)
    order = order[np.sort(first)]
    return _take(kept, order[_rank(kept.feature[order]) < count])


def _lowest_hash(kept: Kept, group: NDArray[Any], count: int) -> Kept:
    """The `count` firings with the lowest hash per (feature, group)."""
    order = np.lexsort((kept.pos, kept.ctx, firing_hash(*_numbers(kept)), group, kept.feature))
    keys = kept.feature[order].astype(np.int64) * HISTOGRAM_BINS + group[order]
    return _take(kept, order[_rank(keys) < count])


def _lowest_place(kept: Kept, count: int) -> Kept:
    """The `count` firings per feature whose place has the lowest hash."""
    order = np.lexsort((place_hash(*_numbers(kept)[1:]), kept.feature))
    return _take(kept, order[_rank(kept.feature[order]) < count])


def _take(kept: Kept, rows: NDArray[Any]) -> Kept:
    return Kept(*(column[rows] for column in kept))


def _rank(sorted_keys: NDArray[Any]) -> NDArray[Any]:
    """Place within its run of equal keys, from 0."""
    places = np.arange(len(sorted_keys))
    starts = np.r_[True, sorted_keys[1:] != sorted_keys[:-1]][: len(sorted_keys)]
    return places - np.maximum.accumulate(np.where(starts, places, 0))


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
