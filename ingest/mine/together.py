"""Which features fire at the same places: candidates from sketches, then exact counts.

Counting every pair would take a cell for each two features. Instead each feature keeps the few
firings whose place has the lowest hash, the same hash for all features (`Fold.sketch`): two
features that fire together share places there, and the share estimates their Jaccard index.
Pairs that look promising, and all pairs that write alike, are then counted over every place in
the second pass. So memory is one integer per pair kept, not per pair possible.

Features of all layers are numbered through: layer after layer, in the order of the job.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingest.mine.fold import Kept, place_hash

BLOCK = 1 << 16
"""Pairs that are counted at once."""
SKETCH = 64
"""Firings in a feature's sketch; an estimated index is good to about 1 / sqrt(64)."""
SHARED = 2
"""Places that two sketches must share, so that one chance meeting makes no candidate."""


class Pairs(NamedTuple):
    """Pairs of features, each once, the lower number first; ascending."""

    one: NDArray[Any]  # int32 [pair]
    other: NDArray[Any]  # int32 [pair]

    @classmethod
    def of(cls, one: NDArray[Any], other: NDArray[Any], features: int) -> "Pairs":
        """From pairs in any order, either way round, repeated or not.

        Args:
            one: `[n]`.
            other: `[n]`.
            features: of all layers together.
        """
        low, high = np.minimum(one, other).astype(np.int64), np.maximum(one, other)
        keys = np.unique(low * features + high)
        return cls((keys // features).astype(np.int32), (keys % features).astype(np.int32))


class Together(NamedTuple):
    """Exact counts over some places. Counts of disjoint places add up."""

    both: NDArray[Any]  # int64 [pair], places where both fire
    each: NDArray[Any]  # int64 [feature], places where it fires


def jaccard(pairs: Pairs, counts: Together) -> NDArray[Any]:
    """Places where both fire over places where either does, `[pair]`; 0 where neither fires."""
    either = counts.each[pairs.one] + counts.each[pairs.other] - counts.both
    index: NDArray[Any] = counts.both / np.maximum(either, 1)
    return index.astype(np.float32)


def candidates(sketches: Mapping[int, Kept], d_sae: Mapping[int, int], count: int) -> Pairs:
    """For each feature the `count` per layer that share most of its firings, by their sketches.

    Args:
        sketches: layer to its features' sketches.
        d_sae: layer to number of features.
        count: candidates per feature and layer.
    """
    starts = first_numbers(d_sae)
    features = sum(d_sae.values())
    opened = {layer: _Sketches(kept) for layer, kept in sketches.items()}
    ones, others = [], []
    layers = list(sketches)
    for index, a in enumerate(layers):
        for b in layers[index:]:
            found = _promising(opened[a], opened[b], a == b, count)
            ones.append(found[0] + starts[a])
            others.append(found[1] + starts[b])
    return Pairs.of(np.concatenate(ones), np.concatenate(others), features)


def first_numbers(d_sae: Mapping[int, int]) -> dict[int, int]:
    """Number of each layer's feature 0."""
    ends = np.cumsum([0, *d_sae.values()])
    return dict(zip(d_sae, ends[:-1].tolist(), strict=True))


class _Sketches:
    """One layer's sketches, by place and by feature."""

    def __init__(self, kept: Kept) -> None:
        place = place_hash(kept.ctx, kept.pos)
        feature = kept.feature.astype(np.int64)
        order = np.argsort(place, kind="stable")
        self.place, self.feature = place[order], feature[order]
        self._cells = np.sort(_cell(feature, place))
        counts = np.bincount(feature)
        self.upto = np.zeros(len(counts), np.uint64)  # [feature], its sketch is whole up to here
        np.maximum.at(self.upto, feature, place)
        self.upto[counts < SKETCH] = np.iinfo(np.uint64).max

    def sizes(self, feature: NDArray[Any], upto: NDArray[Any]) -> NDArray[Any]:
        """How many places of each `[n]` feature lie up to a hash."""
        begin = np.searchsorted(self._cells, _cell(feature, np.zeros(1, np.uint64)))
        sizes: NDArray[Any] = np.searchsorted(self._cells, _cell(feature, upto), "right") - begin
        return sizes


def _cell(feature: NDArray[Any], place: NDArray[Any]) -> NDArray[Any]:
    """One sortable number from a feature and the upper half of a hash."""
    return (feature.astype(np.uint64) << np.uint64(32)) | (place >> np.uint64(32))


def _promising(
    a: _Sketches, b: _Sketches, same: bool, count: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of two layers' features the `count` best partners of each, as pairs `[n]`, `[n]`.

    Two sketches are compared up to the lower of their ends, where both are whole.
    """
    begin = np.searchsorted(b.place, a.place, "left")
    meetings = np.searchsorted(b.place, a.place, "right") - begin
    one = np.repeat(a.feature, meetings)
    within = np.arange(len(one)) - np.repeat(meetings.cumsum() - meetings, meetings)
    other = b.feature[np.repeat(begin, meetings) + within]
    if same:
        one, other = one[one != other], other[one != other]
    width = len(b.upto)
    keys, shared = np.unique(one * width + other, return_counts=True)
    keys, shared = keys[shared >= SHARED], shared[shared >= SHARED]
    one, other = keys // width, keys % width
    upto = np.minimum(a.upto[one], b.upto[other])
    index = shared / (a.sizes(one, upto) + b.sizes(other, upto) - shared)
    best = _best_of(one, other, index, count) | _best_of(other, one, index, count)
    return one[best], other[best]


def _best_of(
    one: NDArray[Any], other: NDArray[Any], index: NDArray[Any], count: int
) -> NDArray[Any]:
    """Which pairs are among the `count` with the highest index of their `one`."""
    order = np.lexsort((other, -index, one))
    starts = np.searchsorted(one[order], one[order], "left")
    best = np.zeros(len(one), bool)
    best[order[np.arange(len(order)) - starts < count]] = True
    return best


def count_together(fires: list[Tensor], pairs: Pairs) -> Together:
    """Count places where both features of each pair fire: 64 places per machine word.

    Args:
        fires: for each layer in order `[place, feature]` bool.
        pairs: features numbered through.
    """
    words = np.concatenate([_packed(one) for one in fires])  # [feature, word]
    both = np.empty(len(pairs.one), np.int64)
    for at in range(0, len(both), BLOCK):
        block = slice(at, at + BLOCK)
        met = words[pairs.one[block]] & words[pairs.other[block]]
        both[block] = np.bitwise_count(met).sum(1)
    return Together(both, np.bitwise_count(words).sum(1).astype(np.int64))


def _packed(fires: Tensor) -> NDArray[Any]:
    """`[place, feature]` bool as bits `[feature, word]` uint64, zeros where places end."""
    padded = torch.nn.functional.pad(fires, (0, 0, 0, -len(fires) % 64)).T.contiguous()
    return np.packbits(padded.cpu().numpy(), axis=1).view(np.uint64)
