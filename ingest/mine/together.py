"""Which features fire at the same places: candidates from sketches, then exact counts.

Counting every pair would take a cell for each two features. Instead each feature keeps the few
firings whose place has the lowest hash, the same hash for all features (`Fold.sketch`): two
features that fire together share places there, and the share estimates their Jaccard index.
Pairs that look promising, and all pairs that write alike, are then counted over every place in
the second pass. So memory is one integer per pair kept, not per pair possible.

Features of all layers are numbered through: layer after layer, in the order of the job.
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingest.mine.keep import Kept, place_hash

BLOCK = 1 << 14
"""Firings of sketches that are looked at in one go."""
PAIRS = {"cpu": 1 << 13, "cuda": 1 << 20}
"""Pairs that are counted in one go: what that takes fits a core's cache, or fills a GPU."""
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
        place = place_hash(kept.ctx.astype(np.int64), kept.pos.astype(np.int64))
        feature = kept.feature.astype(np.int64)
        ends = np.iinfo(np.int64)
        self.counts = np.bincount(feature)
        self.upto = np.full(len(self.counts), ends.min)  # [feature], it is whole up to here
        np.maximum.at(self.upto, feature, place)
        self.upto[self.counts < SKETCH] = ends.max
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
    return (feature << 32) + (place >> 32) + 2**31


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


class Common:
    """Places where both features of each pair fire, counted batch by batch where the SAEs are."""

    def __init__(self, pairs: Pairs, features: int, device: torch.device) -> None:
        """With nothing counted yet.

        Args:
            pairs: features numbered through.
            features: of all layers together.
            device: where what is added lies.
        """
        self._one, self._other = (torch.from_numpy(one).to(device) for one in pairs)
        self._both = torch.zeros(len(pairs.one), dtype=torch.int64, device=device)
        self._each = torch.zeros(features, dtype=torch.int64, device=device)
        self._block = PAIRS[device.type]

    def add(self, fires: list[Tensor]) -> None:
        """Count at some places.

        Args:
            fires: for each layer in order `[place, feature]` bool.
        """
        if not len(fires[0]):
            return
        firings = _Firings(fires)
        self._each += firings.each
        for one, other, both in zip(
            *(part.split(self._block) for part in (self._one, self._other, self._both)),
            strict=True,
        ):
            both += firings.common(one, other)

    def counts(self) -> Together:
        """All that was counted, on the host."""
        return Together(self._both.cpu().numpy(), self._each.cpu().numpy())


class _Firings:
    """Which features fire at some places: place by place of each feature, and as bits."""

    def __init__(self, fires: list[Tensor]) -> None:
        starts = accumulate((part.shape[1] for part in fires), initial=0)
        places, numbers = zip(
            *(
                (place, feature + first)
                for (place, feature), first in zip(
                    (part.nonzero(as_tuple=True) for part in fires), starts, strict=False
                )
            ),
            strict=True,
        )
        feature, order = torch.cat(numbers).sort(stable=True)
        place = torch.cat(places)[order]
        features, words = sum(part.shape[1] for part in fires), -(-len(fires[0]) // 64)
        self.each = torch.bincount(feature, minlength=features)
        self._starts = self.each.cumsum(0) - self.each
        self._place, self._words = place, words
        self._bits = place.new_zeros(features * words)
        # No bit comes twice, so the sum of some is all of them.
        bit = torch.ones_like(place) << place % 64
        self._bits.scatter_add_(0, feature * words + place // 64, bit)

    def common(self, one: Tensor, other: Tensor) -> Tensor:
        """Places where both features of each `[pair]` fire: those of the rarer, looked up."""
        is_rarer = self.each[one] <= self.each[other]
        rarer, common = torch.where(is_rarer, one, other), torch.where(is_rarer, other, one)
        size = self.each[rarer]
        ends = size.cumsum(0)
        total = int(size.sum())
        pair = torch.repeat_interleave(size, output_size=total)
        at = (self._starts[rarer] - ends + size).index_select(0, pair)
        at += torch.arange(total, device=pair.device)
        place = self._place.index_select(0, at)
        word = (common.long() * self._words).index_select(0, pair) + (place >> 6)
        met = (self._bits.index_select(0, word) >> (place & 63)) & 1
        return torch.zeros_like(size).scatter_add_(0, pair, met)
