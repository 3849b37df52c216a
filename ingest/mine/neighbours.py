"""A feature's neighbours: those that write alike, and those that fire at the same places."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ingest.mine.keep import Kept
from ingest.mine.together import SHARED, Pairs, Together, candidates, first_numbers, jaccard
from ingest.mine.weights import Nearest

SPARE = 2
"""Candidates that are counted for every one that is kept: sketches only estimate."""
BLOCK = 1 << 16
"""Cosines that are computed at once."""


class Neighbours(NamedTuple):
    """Neighbours of one layer's features, by feature, layer and number."""

    feature: NDArray[Any]
    layer: NDArray[Any]  # of the neighbour
    other: NDArray[Any]  # the neighbour's number in its SAE
    rank: NDArray[Any]  # by cosine; -1 where it is not among the nearest
    fire_rank: NDArray[Any]  # by jaccard; -1 where it is not among those that fire along most
    cosine: NDArray[Any]
    jaccard: NDArray[Any]


def pairs_to_count(
    near: Mapping[int, Nearest], sketches: Mapping[int, Kept], d_sae: Mapping[int, int], count: int
) -> Pairs:
    """All pairs that write alike, and those whose sketches promise that they fire together.

    Args:
        near: layer to its features' nearest ones.
        sketches: layer to its features' sketches.
        d_sae: layer to number of features.
        count: co-firing neighbours wanted per feature and layer.
    """
    starts, features = first_numbers(d_sae), sum(d_sae.values())
    firing = candidates(sketches, d_sae, SPARE * count)
    one, other = [firing.one], [firing.other]
    for layer, nearest in near.items():
        mine, _, theirs = _numbered(nearest, starts)
        one.append(mine + starts[layer])
        other.append(theirs)
    return Pairs.of(np.concatenate(one), np.concatenate(other), features)


def neighbours(
    near: Mapping[int, Nearest],
    pairs: Pairs,
    counts: Together,
    written: Mapping[int, torch.Tensor],
    count: int,
) -> dict[int, Neighbours]:
    """Layer to its features' neighbours in every layer.

    Args:
        near: layer to its features' nearest ones.
        pairs: as `pairs_to_count` gave them.
        counts: of those pairs, over all scored places.
        written: layer to unit directions `[feature, d_model]`.
        count: co-firing neighbours kept per feature and layer.
    """
    d_sae = {layer: len(one) for layer, one in written.items()}
    starts, features = first_numbers(d_sae), sum(d_sae.values())
    layer_of = np.repeat(list(d_sae), list(d_sae.values()))
    index = jaccard(pairs, counts)
    known = pairs.one.astype(np.int64) * features + pairs.other
    firing, fire_rank = _firing(pairs, counts, index, layer_of, features, count)
    found = {}
    for layer, nearest in near.items():
        mine, place, theirs = _numbered(nearest, starts)
        rank = place % (nearest.feature.shape[1] // len(near))
        writing = (mine + starts[layer]) * features + theirs
        begin, end = np.searchsorted(
            firing, [starts[layer] * features, (starts[layer] + d_sae[layer]) * features]
        )
        keys = np.union1d(writing, firing[begin:end])
        one, other = keys // features, keys % features
        swapped = np.minimum(one, other) * features + np.maximum(one, other)
        its_layer = layer_of[other]
        feature, number = one - starts[layer], other - np.array([starts[n] for n in its_layer])
        found[layer] = Neighbours(
            feature,
            its_layer,
            number,
            _at(keys, writing, rank),
            _at(keys, firing[begin:end], fire_rank[begin:end]),
            _cosines(written, layer, feature, its_layer, number),
            index[np.searchsorted(known, swapped)],
        )
    return found


def _numbered(
    nearest: Nearest, starts: Mapping[int, int]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(feature, place among its nearest, number of the other one counted through the layers)."""
    feature, place = np.nonzero(nearest.feature >= 0)
    first = np.array([starts[n] for n in nearest.layer[feature, place].tolist()], np.int64)
    return feature, place, first + nearest.feature[feature, place]


def _firing(
    pairs: Pairs,
    counts: Together,
    index: NDArray[Any],
    layer_of: NDArray[Any],
    features: int,
    count: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keys (one * features + other) of those that fire along most, ascending, and their ranks."""
    often = counts.both >= SHARED
    one = np.concatenate([pairs.one[often], pairs.other[often]]).astype(np.int64)
    other = np.concatenate([pairs.other[often], pairs.one[often]]).astype(np.int64)
    index = np.tile(index[often], 2)
    group = one * (int(layer_of.max()) + 1) + layer_of[other]
    order = np.lexsort((other, -index, group))
    rank = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    kept = order[rank < count]
    keys = one[kept] * features + other[kept]
    by_key = np.argsort(keys)
    return keys[by_key], rank[rank < count][by_key]


def _at(keys: NDArray[Any], some: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """For each key the value of that key among `some`, or -1."""
    found = np.full(len(keys), -1)
    found[np.searchsorted(keys, some)] = values
    return found


def _cosines(
    written: Mapping[int, torch.Tensor],
    layer: int,
    feature: NDArray[Any],
    its_layer: NDArray[Any],
    other: NDArray[Any],
) -> NDArray[Any]:
    """Cosine of each pair of directions."""
    cosine = np.empty(len(feature), np.float32)
    for there, theirs in written.items():
        for rows in _blocks(np.flatnonzero(its_layer == there)):
            mine = written[layer][torch.from_numpy(feature[rows])]
            product = (mine * theirs[torch.from_numpy(other[rows])]).sum(1)
            cosine[rows] = product.cpu().numpy()
    return cosine


def _blocks(rows: NDArray[Any]) -> list[NDArray[Any]]:
    return [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
