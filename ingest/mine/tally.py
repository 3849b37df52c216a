"""The first pass's counts and chosen firings of one SAE, kept on the device that finds them.

Most firings are only counted. Of each group (a feature, or one histogram bin of it) the kept ones
are those with the lowest key: so what lies above the group's highest kept key is dropped as it
comes, and only the rest is ever sorted. After some text that is a few in a hundred.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.types import HISTOGRAM_BINS
from ingest.mine.fold import FIXED, Fold, Kept, Limits, firing_hash, place_hash

SETTLE = 1 << 18
"""Rows that wait at least before they are sorted in: sorting seldom is quicker."""


class Rows(NamedTuple):
    """Firings or near misses of one SAE, all on one device; 16 bytes each."""

    feature: Tensor  # int32 [row]
    act: Tensor  # float32 [row]
    ctx: Tensor  # int32 [row], number of the context in the whole corpus
    pos: Tensor  # int32 [row]

    def take(self, rows: Tensor) -> "Rows":
        """Some of them."""
        return Rows(*(column.index_select(0, rows) for column in self))

    def places(self) -> tuple[Tensor, Tensor]:
        """Context and position as int64."""
        return self.ctx.long(), self.pos.long()


class Tally:
    """What is known of one SAE so far; `folded` hands it over.

    Every step is exact whatever the order of additions: integer sums, and ties that go to the
    earlier place.
    """

    def __init__(self, features: int, heads: int, limits: Limits, device: torch.device) -> None:
        self._heads = heads
        self._tokens = 0
        self._firings, self._act, self._square = torch.zeros(
            3, features, dtype=torch.int64, device=device
        )
        self._max_act = torch.zeros(features, device=device)
        bins = features * HISTOGRAM_BINS
        self._histogram = torch.zeros(bins, dtype=torch.int64, device=device)
        self._dfa, self._abs_dfa, self._won = torch.zeros(
            3, features * heads, dtype=torch.int64, device=device
        )
        self._top = _Lowest(features, limits.top, device, _by_strength)
        self._binned = _Lowest(bins, limits.per_bin, device, _by_hash_in_bin)
        self._random = _Lowest(features, limits.random, device, _by_hash)
        self._near = _Lowest(features, limits.near, device, _by_strength)
        self._sketch = _Lowest(features, limits.sketch, device, _by_place)

    def add(self, hits: Rows, head_dfa: Tensor, near: Rows, tokens: int) -> None:
        """Add some contexts, each of them whole; contexts must come in ascending order.

        Args:
            hits: all firings in them, by place.
            head_dfa: `[hit, head]`, what each head contributed.
            near: near misses, by context; at most one of each context and feature.
            tokens: positions scored in them.
        """
        feature, act = hits.feature.long(), hits.act
        bins = feature * HISTOGRAM_BINS + _histogram_bin(act)
        self._tokens += tokens
        _add(self._firings, feature, torch.ones_like(feature))
        _add(self._act, feature, _fixed(act))
        _add(self._square, feature, _fixed(act.double().square()))
        self._max_act.scatter_reduce_(0, feature, act, "amax")
        _add(self._histogram, bins, torch.ones_like(bins))
        cells = feature[:, None] * self._heads + torch.arange(self._heads, device=act.device)
        dfa = _fixed(head_dfa).flatten()
        _add(self._dfa, cells.flatten(), dfa)
        _add(self._abs_dfa, cells.flatten(), dfa.abs())
        winner = feature * self._heads + head_dfa.argmax(1)
        _add(self._won, winner, torch.ones_like(winner))
        for one in (self._top, self._binned, self._random, self._sketch):
            one.add(hits)
        self._near.add(near)

    def folded(self) -> Fold:
        """All that was added, on the host."""

        def host(counts: Tensor, *columns: int) -> NDArray[Any]:
            given: NDArray[Any] = counts.view(-1, *columns).cpu().numpy().copy()
            return given

        return Fold(
            tokens=np.array([self._tokens], np.int64),
            firings=host(self._firings),
            act=host(self._act),
            square=host(self._square),
            max_act=host(self._max_act),
            histogram=host(self._histogram, HISTOGRAM_BINS),
            dfa=host(self._dfa, self._heads),
            abs_dfa=host(self._abs_dfa, self._heads),
            won=host(self._won, self._heads),
            top=_on_host(self._top),
            binned=_on_host(self._binned),
            random=_on_host(self._random),
            near=_on_host(self._near),
            sketch=_on_host(self._sketch),
        )


class _Order(NamedTuple):
    """By what rows are kept."""

    group: Tensor  # int64 [row]
    key: Tensor  # [row], the lowest of each group stay
    once: Tensor | None = None  # int64 [row], of equal ones only the lowest counts


def _by_strength(rows: Rows) -> _Order:
    """The strongest, one per context."""
    feature = rows.feature.long()
    return _Order(feature, -rows.act, feature << 32 | rows.ctx)


def _by_hash(rows: Rows) -> _Order:
    feature = rows.feature.long()
    return _Order(feature, firing_hash(feature, *rows.places()))


def _by_hash_in_bin(rows: Rows) -> _Order:
    feature, key = _by_hash(rows)[:2]
    return _Order(feature * HISTOGRAM_BINS + _histogram_bin(rows.act), key)


def _by_place(rows: Rows) -> _Order:
    return _Order(rows.feature.long(), place_hash(*rows.places()))


class _Lowest:
    """Of each group the `count` rows with the lowest key; of equal keys the first that came."""

    def __init__(
        self, groups: int, count: int, device: torch.device, order: Callable[[Rows], _Order]
    ) -> None:
        none = torch.zeros(0, dtype=torch.int32, device=device)
        self._kept = Rows(none, none.float(), none, none)
        self._waiting: list[Rows] = []
        self._count, self._order, self._size = count, order, 0
        key = order(self._kept).key
        highest = torch.inf if key.is_floating_point() else torch.iinfo(key.dtype).max
        self._cut = key.new_full((groups,), highest)  # the highest key that still enters

    def add(self, rows: Rows) -> None:
        """Let in those that may belong to the lowest."""
        by = self._order(rows)
        enters = (by.key <= self._cut.index_select(0, by.group)).nonzero().squeeze(1)
        self._waiting.append(rows.take(enters))
        self._size += len(enters)
        if self._size > max(SETTLE, len(self._kept.act)):
            self.settled()

    def settled(self) -> Rows:
        """The lowest so far, by group and key."""
        rows = Rows(*map(torch.cat, zip(self._kept, *self._waiting, strict=True)))
        by = self._order(rows)
        order = by.key.argsort(stable=True)
        order = order[by.group[order].argsort(stable=True)]
        if by.once is not None:
            order = order[_first_of_each(by.once[order])]
        group = by.group[order]
        rank = _rank(group)
        last = rank == self._count - 1
        self._cut[group[last]] = by.key[order[last]]
        self._kept = rows.take(order[rank < self._count])
        self._waiting, self._size = [], 0
        return self._kept


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


def _add(total: Tensor, at: Tensor, values: Tensor) -> None:
    total.scatter_add_(0, at, values)


def _fixed(values: Tensor) -> Tensor:
    return (values * FIXED).round().long()


def _histogram_bin(act: Tensor) -> Tensor:
    """As `fold.histogram_bin`."""
    octaves = act.double().log2()
    return ((octaves + 8) * 4).floor().clamp(0, HISTOGRAM_BINS - 1).long()


def _on_host(lowest: _Lowest) -> Kept:
    return Kept(*(column.cpu().numpy() for column in lowest.settled()))
