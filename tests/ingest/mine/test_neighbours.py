"""Neighbours of a hand-made pair of layers: both reasons for being one, each with its rank."""

import numpy as np
import torch

from ingest.mine.keep import Kept
from ingest.mine.neighbours import neighbours, pairs_to_count
from ingest.mine.together import Pairs, Together
from ingest.mine.weights import nearest

# Layer 1: features 0 and 1 write nearly alike; feature 2 writes alone. Layer 4: one like 2.
WRITTEN = {
    1: torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1, 0.1, 0], [0, 0, 1]]), dim=1),
    4: torch.tensor([[0.0, 0, 1], [0, 1, 0]]),
}
ALIVE = {1: np.ones(3, bool), 4: np.ones(2, bool)}


def found():
    near = nearest(WRITTEN, ALIVE, 1)
    # Through the layers: 0, 1, 2 are layer 1's, 3 and 4 layer 4's. 0 fires along with 4.
    pairs = Pairs.of(*np.triu_indices(5, 1), 5)
    both = {(0, 1): 1, (0, 4): 30, (1, 4): 5, (2, 3): 10}
    named = zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)
    counted = [both.get(pair, 0) for pair in named]
    counts = Together(np.array(counted), np.array([40, 20, 20, 20, 30]))
    rows = neighbours(near, pairs, counts, WRITTEN, 1)
    return {
        (layer, int(row[0]), int(row[1]), int(row[2])): row[3:]
        for layer, one in rows.items()
        for row in zip(*one, strict=True)
    }


def test_the_nearest_direction_has_a_rank_and_its_count():
    rank, fire_rank, cosine, jaccard = found()[1, 0, 1, 1]
    assert (rank, fire_rank) == (0, -1)  # they meet once, which may be chance
    assert np.isclose(cosine, 1 / np.sqrt(1.01))
    assert np.isclose(jaccard, 1 / 59)


def test_one_that_fires_along_is_a_neighbour_though_it_writes_otherwise():
    rank, fire_rank, cosine, jaccard = found()[1, 0, 4, 1]
    assert (rank, fire_rank) == (-1, 0)
    assert cosine == 0
    assert np.isclose(jaccard, 30 / 40)
    assert found()[4, 1, 1, 0][1] == 0


def test_one_that_does_both_stands_once_with_both_ranks():
    rank, fire_rank, cosine, jaccard = found()[1, 2, 4, 0]
    assert (rank, fire_rank, cosine) == (0, 0, 1)
    assert np.isclose(jaccard, 10 / 30)


def test_every_pair_that_writes_alike_is_counted():
    near = nearest(WRITTEN, ALIVE, 1)
    none = Kept(*[np.zeros(0, np.int32)] * 4)
    pairs = pairs_to_count(near, {1: none, 4: none}, {1: 3, 4: 2}, 1)
    assert {(0, 1), (2, 3)} <= set(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True))
