"""Which firings are kept of each feature: some orders, and the first few rows by one of them.

Every order is total, ties going to the earlier place in the corpus, and random samples are the
firings with the lowest hash of (context, position, feature), not the ones that came first. So what
is kept of some text does not depend on how it was split or in which order its parts came.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.types import HISTOGRAM_BINS

Numbers = TypeVar("Numbers", NDArray[Any], Tensor)


class Kept(NamedTuple):
    """Chosen firings, on the host."""

    feature: NDArray[Any]  # int32 [row]
    act: NDArray[Any]  # float32 [row]
    ctx: NDArray[Any]  # int32 [row], number of the context in the whole corpus
    pos: NDArray[Any]  # int32 [row]


class Rows(NamedTuple):
    """Firings or near misses of one SAE, all on one device; 16 bytes each."""

    feature: Tensor  # int32 [row]
    act: Tensor  # float32 [row]
    ctx: Tensor  # int32 [row], number of the context in the whole corpus
    pos: Tensor  # int32 [row]

    @classmethod
    def of(cls, kept: Kept, device: torch.device) -> "Rows":
        """From the host."""
        return cls(*(torch.from_numpy(column).to(device) for column in kept))

    @classmethod
    def joined(cls, parts: list["Rows"]) -> "Rows":
        """All of several."""
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def take(self, rows: Tensor) -> "Rows":
        """Some of them."""
        return Rows(*(column.index_select(0, rows) for column in self))

    def on_host(self) -> Kept:
        """The same as arrays."""
        return Kept(*(column.cpu().numpy() for column in self))

    def places(self) -> tuple[Tensor, Tensor]:
        """Context and position as int64."""
        return self.ctx.long(), self.pos.long()


class Order(NamedTuple):
    """By what rows are kept."""

    group: Tensor  # int64 [row]
    key: Tensor  # [row], the lowest of each group stay
    has_ties: bool = False
    """Whether keys may be equal. Then the earlier place is the lower, and a context counts once."""


def by_strength(rows: Rows) -> Order:
    """The strongest of each feature, one per context."""
    return Order(rows.feature.long(), -rows.act, True)


def by_hash(rows: Rows) -> Order:
    """A random sample of each feature."""
    feature = rows.feature.long()
    return Order(feature, firing_hash(feature, *rows.places()))


def by_hash_in_bin(rows: Rows) -> Order:
    """A random sample of each feature and histogram bin."""
    feature, key, _ = by_hash(rows)
    return Order(feature * HISTOGRAM_BINS + histogram_bin(rows.act), key)


def by_place(rows: Rows) -> Order:
    """A random sample of each feature, drawn from the same places for all of them."""
    return Order(rows.feature.long(), place_hash(*rows.places()))


class Lowest(NamedTuple):
    """The first rows of each group."""

    rows: Rows  # by group, then key
    full: Tensor  # [group], those that have as many as were asked for
    cut: Tensor  # [group], the highest key of each


def lowest(rows: Rows, order: Callable[[Rows], Order], count: int) -> Lowest:
    """Of each group the `count` rows with the lowest key."""
    by = order(rows)
    if by.has_ties:
        ctx, pos = rows.places()
        sequence = (ctx << 16 | pos).argsort()
        sequence = sequence[by.key[sequence].argsort(stable=True)]
    else:
        sequence = by.key.argsort()
    sequence = sequence[by.group[sequence].argsort(stable=True)]
    if by.has_ties:
        sequence = sequence[_first_of_each(by.group[sequence] << 32 | rows.ctx[sequence])]
    group = by.group[sequence]
    rank = _rank(group)
    last = rank == count - 1
    return Lowest(rows.take(sequence[rank < count]), group[last], by.key[sequence[last]])


def _first_of_each(keys: Tensor) -> Tensor:
    """Indices of the first row of each key, ascending."""
    order = keys.argsort(stable=True)
    return order[_rank(keys[order]) == 0].sort().values


def _rank(sorted_keys: Tensor) -> Tensor:
    """Place within its run of equal keys, from 0."""
    place = torch.arange(len(sorted_keys), device=sorted_keys.device)
    starts = torch.ones(len(sorted_keys), dtype=torch.bool, device=sorted_keys.device)
    starts[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return place - torch.where(starts, place, 0).cummax(0).values


def histogram_bin(act: Tensor) -> Tensor:
    """Bin of each activation: four per octave from 2^-8 to 2^8; the ends take what lies beyond."""
    octaves = act.double().log2()
    return ((octaves + 8) * 4).floor().clamp(0, HISTOGRAM_BINS - 1).long()


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
