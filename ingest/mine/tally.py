"""The first pass's counts and chosen firings of one SAE, kept on the device that finds them.

Most firings are only counted. Of each group (a feature, or one histogram bin of it) the kept ones
are those with the lowest key: so what lies above the group's highest kept key is dropped as it
comes, and only the rest is ever sorted. After some text that is a few in a hundred.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.types import HISTOGRAM_BINS
from ingest.mine.fold import FIXED, ORDERS, Fold, Limits
from ingest.mine.keep import Order, Rows, histogram_bin, lowest

SETTLE = 1 << 18
"""Rows that wait at least before they are sorted in: sorting seldom is quicker."""


class Tally:
    """What is known of one SAE so far; `folded` hands it over."""

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
        groups = (features, bins, features, features, features)
        self._chosen = [
            _Lowest(groups, count, device, order)
            for groups, count, order in zip(groups, limits, ORDERS, strict=True)
        ]

    def add(self, hits: Rows, head_dfa: Tensor, near: Rows, tokens: int) -> None:
        """Add some contexts, each of them whole.

        Args:
            hits: all firings in them.
            head_dfa: `[hit, head]`, what each head contributed.
            near: near misses, at most one of each context and feature.
            tokens: positions scored in them.
        """
        feature, act = hits.feature.long(), hits.act
        bins = feature * HISTOGRAM_BINS + histogram_bin(act)
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
        top, binned, random, missed, sketch = self._chosen
        for one in (top, binned, random, sketch):
            one.add(hits)
        missed.add(near)

    def folded(self) -> Fold:
        """All that was added, on the host."""

        def host(counts: Tensor, *columns: int) -> NDArray[Any]:
            given: NDArray[Any] = counts.view(-1, *columns).cpu().numpy().copy()
            return given

        return Fold(
            np.array([self._tokens], np.int64),
            host(self._firings),
            host(self._act),
            host(self._square),
            host(self._max_act),
            host(self._histogram, HISTOGRAM_BINS),
            host(self._dfa, self._heads),
            host(self._abs_dfa, self._heads),
            host(self._won, self._heads),
            *(one.settled().on_host() for one in self._chosen),
        )


class _Lowest:
    """Of each group the `count` rows with the lowest key, of all that came."""

    def __init__(
        self, groups: int, count: int, device: torch.device, order: Callable[[Rows], Order]
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
        rows = Rows.joined([self._kept, *self._waiting])
        self._kept, full, cut = lowest(rows, self._order, self._count)
        self._cut[full] = cut
        self._waiting, self._size = [], 0
        return self._kept


def _add(total: Tensor, at: Tensor, values: Tensor) -> None:
    total.scatter_add_(0, at, values)


def _fixed(values: Tensor) -> Tensor:
    return (values * FIXED).round().long()
