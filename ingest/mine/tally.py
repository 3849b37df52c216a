"""The first pass's counts and chosen firings of one SAE, kept on the device that finds them.

Most firings are only counted. Of each group (a feature, or one histogram bin of it) the kept ones
are those with the lowest key: so what lies above the group's highest kept key is dropped as it
comes, and only the rest is ever sorted. After some text that is a few in a hundred.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlas.types import HISTOGRAM_BINS
from ingest.mine.fold import FIXED, Fold, Kept, Limits, firing_hash, place_hash

SETTLE = 1 << 18
"""Rows that wait at least before they are sorted in: sorting seldom is quicker."""


class Rows(NamedTuple):
    """Firings or near misses of one SAE, all on one device."""

    feature: Tensor  # int64 [row]
    act: Tensor  # float32 [row]
    ctx: Tensor  # int64 [row], number of the context in the whole corpus
    pos: Tensor  # int64 [row]

    def take(self, rows: Tensor) -> "Rows":
        """Some of them."""
        return Rows(*(column[rows] for column in self))


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
        self._top = _Lowest(features, limits.top, device, per_context=True)
        self._binned = _Lowest(bins, limits.per_bin, device)
        self._random = _Lowest(features, limits.random, device)
        self._near = _Lowest(features, limits.near, device, per_context=True)
        self._sketch = _Lowest(features, limits.sketch, device)

    def add(self, hits: Rows, head_dfa: Tensor, near: Rows, tokens: int) -> None:
        """Add some contexts, each of them whole; contexts must come in ascending order.

        Args:
            hits: all firings in them, by place.
            head_dfa: `[hit, head]`, what each head contributed.
            near: near misses, by context; at most one of each context and feature.
            tokens: positions scored in them.
        """
        feature, act = hits.feature, hits.act
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
        self._top.add(feature, -act, hits)
        self._near.add(near.feature, -near.act, near)
        hashes = firing_hash(feature, hits.ctx, hits.pos)
        self._binned.add(bins, hashes, hits)
        self._random.add(feature, hashes, hits)
        self._sketch.add(feature, place_hash(hits.ctx, hits.pos), hits)

    def folded(self) -> Fold:
        """All that was added, on the host."""
        by_feature = (len(self._firings), -1)
        counts = (
            self._firings,
            self._act,
            self._square,
            self._max_act,
            self._histogram.view(by_feature),
            self._dfa.view(by_feature),
            self._abs_dfa.view(by_feature),
            self._won.view(by_feature),
        )
        chosen = (self._top, self._binned, self._random, self._near, self._sketch)
        return Fold(
            np.array([self._tokens], np.int64),
            *(one.cpu().numpy() for one in counts),
            *(_on_host(one.settled()) for one in chosen),
        )


class _Lowest:
    """Of each group the `count` rows with the lowest key; of equal keys the first that came."""

    def __init__(
        self, groups: int, count: int, device: torch.device, *, per_context: bool = False
    ) -> None:
        self._count, self._per_context = count, per_context
        self._cut: Tensor | None = None  # [group], the highest key that still enters
        self._groups, self._device = groups, device
        self._parts: list[tuple[Tensor, Tensor, Rows]] = []  # group, key, rows; the first: kept
        self._waiting = self._limit = 0

    def add(self, group: Tensor, key: Tensor, rows: Rows) -> None:
        """Let in those that may belong to the lowest."""
        if self._cut is None:
            highest = torch.inf if key.is_floating_point() else torch.iinfo(key.dtype).max
            self._cut = torch.full((self._groups,), highest, dtype=key.dtype, device=self._device)
        enters = (key <= self._cut[group]).nonzero().squeeze(1)
        self._parts.append((group[enters], key[enters], rows.take(enters)))
        self._waiting += len(enters)
        if self._waiting > max(SETTLE, self._limit):
            self.settled()

    def settled(self) -> Rows:
        """The lowest so far, by group and key."""
        if not self._parts:
            none = torch.zeros(0, dtype=torch.int64)
            return Rows(none, none.float(), none, none)
        group, key = (torch.cat([part[n] for part in self._parts]) for n in (0, 1))
        rows = Rows(*map(torch.cat, zip(*(part[2] for part in self._parts), strict=True)))
        order = key.argsort(stable=True)
        order = order[group[order].argsort(stable=True)]
        if self._per_context:
            order = order[_first_of_each(group[order] << 32 | rows.ctx[order])]
        group, key = group[order], key[order]
        rank = _rank(group)
        kept = (rank < self._count).nonzero().squeeze(1)
        last = rank == self._count - 1
        assert self._cut is not None
        self._cut[group[last]] = key[last]
        self._parts = [(group[kept], key[kept], rows.take(order[kept]))]
        self._waiting, self._limit = 0, len(kept)
        return self._parts[0][2]


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


def _on_host(rows: Rows) -> Kept:
    feature, act, ctx, pos = (column.cpu().numpy() for column in rows)
    return Kept(feature.astype(np.int32), act, ctx.astype(np.int32), pos.astype(np.int32))
