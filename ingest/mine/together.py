"""Which features fire at the same places: candidates from sketches, then exact counts.

Counting every pair would take a cell for each two features. Instead each feature keeps the few
firings whose place has the lowest hash, the same hash for all features (`Fold.sketch`): two
features that fire together share places there, and the share estimates their Jaccard index.
Pairs that look promising, and all pairs that write alike, are then counted over every place in
the second pass. So memory is one integer per pair kept, not per pair possible.

Features of all layers are numbered through: layer after layer, in the order of the job.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ingest.mine.fold import Kept, place_hash

BLOCK = 1 << 14
"""Firings of sketches that are looked at in one go."""
PAIRS = 1 << 13
"""Pairs that are counted in one go; what that takes fits a core's cache."""
LOOK_UP = 3
"""Words of bits that are compared in the time of one place looked up (measured on a CPU)."""
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
        self.counts = np.bincount(feature)
        self.upto = np.zeros(len(self.counts), np.uint64)  # [feature], it is whole up to here
        np.maximum.at(self.upto, feature, place)
        self.upto[self.counts < SKETCH] = np.iinfo(np.uint64).max
        self._cells = np.sort(_cell(feature, place))
        self._starts = self.counts.cumsum() - self.counts
        order = np.argsort(place, kind="stable")  # features ascend in a sketch, and so at a place
        self.place, self.feature = place[order], feature[order]
        self.by_feature = np.argsort(self.feature, kind="stable")  # into the two above

    def sizes(self, feature: NDArray[Any], upto: NDArray[Any]) -> NDArray[Any]:
        """How many places of each `[n]` feature's sketch lie up to a hash."""
        sizes: NDArray[Any] = self.counts[feature]
        cut = np.flatnonzero(upto < self.upto[feature])
        ends = np.searchsorted(self._cells, _cell(feature[cut], upto[cut]), "right")
        sizes[cut] = ends - self._starts[feature[cut]]
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
    one, other, shared = _met(a, b, same)
    upto = np.minimum(a.upto[one], b.upto[other])
    index = shared / (a.sizes(one, upto) + b.sizes(other, upto) - shared)
    if same:  # a pair was found from its lower number: the other end sees it too
        return _best_of(np.r_[one, other], np.r_[other, one], np.r_[index, index], count)
    mine = _best_of(one, other, index, count)
    theirs, ours = _best_of(other, one, index, count)
    return np.r_[mine[0], ours], np.r_[mine[1], theirs]


def _met(a: _Sketches, b: _Sketches, same: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Pairs of a feature of each whose sketches share `SHARED` places or more, and how many.

    Within one layer each pair comes once, the lower number first.
    """
    width, few = len(b.counts), BLOCK // SKETCH
    found = [np.zeros((2, 0), np.int64)]
    edges = np.searchsorted(a.feature[a.by_feature], np.arange(0, len(a.counts) + few, few))
    for low, high in pairwise(edges):
        rows = a.by_feature[low:high]
        begin = rows + 1 if same else np.searchsorted(b.place, a.place[rows])
        meetings = np.searchsorted(b.place, a.place[rows], "right") - begin
        other = b.feature[_ranges(begin, meetings)]
        keys = np.sort(np.repeat(a.feature[rows], meetings) * width + other)
        first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)])
        shared = np.diff(first, append=len(keys))
        often = shared >= SHARED
        found.append(np.stack([keys[first[often]], shared[often]]))
    keys, shared = np.concatenate(found, axis=1)
    return keys // width, keys % width, shared


def _ranges(begin: NDArray[Any], size: NDArray[Any]) -> NDArray[Any]:
    """`begin`, `begin` + 1, ... of each range, one range after the other."""
    ends = size.cumsum()
    numbers: NDArray[Any] = np.repeat(begin - ends + size, size) + np.arange(
        ends[-1] if len(ends) else 0
    )
    return numbers


def _best_of(
    one: NDArray[Any], other: NDArray[Any], index: NDArray[Any], count: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The `count` pairs with the highest index of each `one`; ties by the lower `other`.

    Pair and index are packed into one number, because sorting numbers is far quicker than sorting
    rows. An index is a ratio of numbers up to 128, so its 24 bits tell any two apart;
    a feature's number has 20 (`ingest.config.MOST_FEATURES`).
    """
    lower = np.uint64(2**24 - 1) - np.rint(index * (2**24 - 1)).astype(np.uint64)
    keys = one.astype(np.uint64) << np.uint64(44) | lower << np.uint64(20) | other.astype(np.uint64)
    keys.sort()
    of = (keys >> np.uint64(44)).astype(np.int64)
    best = np.r_[np.ones(min(count, len(of)), bool), of[count:] != of[:-count]]
    return of[best], (keys[best] & np.uint64(2**20 - 1)).astype(np.int64)


def count_together(fires: list[Tensor], pairs: Pairs) -> Together:
    """Count places where both features of each pair fire.

    The places of a pair's rarer feature are looked up one by one; where it has many, the two are
    compared as bits, 64 places a word.

    Args:
        fires: for each layer in order `[place, feature]` bool.
        pairs: features numbered through.
    """
    firings = _Firings(fires)
    both = np.empty(len(pairs.one), np.int64)
    for at in range(0, len(both), PAIRS):
        block = slice(at, at + PAIRS)
        both[block] = firings.common(pairs.one[block], pairs.other[block])
    return Together(both, firings.each)


class _Firings:
    """Which features fire at some places: by feature, and as bits."""

    def __init__(self, fires: list[Tensor]) -> None:
        places, width = len(fires[0]), [part.shape[1] for part in fires]
        keys = np.concatenate(
            [
                (of.cpu().numpy() + first) * places + place.cpu().numpy()
                for (place, of), first in zip(
                    (part.nonzero(as_tuple=True) for part in fires),
                    np.cumsum([0, *width[:-1]]).tolist(),
                    strict=True,
                )
            ]
        )
        keys.sort()
        feature, place = np.divmod(keys, max(places, 1))
        self.each = np.bincount(feature, minlength=sum(width))
        self._starts = self.each.cumsum() - self.each
        self._word, self._bit = place // 64, np.uint64(1) << (place % 64).astype(np.uint64)
        self._bits = np.zeros((sum(width), -(-places // 64)), np.uint64)
        np.bitwise_or.at(
            self._bits.reshape(-1), feature * self._bits.shape[1] + self._word, self._bit
        )

    def common(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        """Places where both features of each `[pair]` fire."""
        rarer = np.where(self.each[one] <= self.each[other], one, other)
        size = self.each[rarer]
        both = np.empty(len(one), np.int64)
        few = size * LOOK_UP <= self._bits.shape[1]
        both[few] = self._looked_up(rarer[few], (one + other - rarer)[few], size[few])
        met = self._bits[one[~few]] & self._bits[other[~few]]
        both[~few] = np.bitwise_count(met).sum(1)
        return both

    def _looked_up(
        self, rarer: NDArray[Any], common: NDArray[Any], size: NDArray[Any]
    ) -> NDArray[Any]:
        at = _ranges(self._starts[rarer], size)
        words = np.repeat(common.astype(np.int64) * self._bits.shape[1], size) + self._word[at]
        met = (self._bits.ravel()[words] & self._bit[at]) != 0
        upto = np.r_[0, met.cumsum()]
        ends = size.cumsum()
        counts: NDArray[Any] = upto[ends] - upto[ends - size]
        return counts
