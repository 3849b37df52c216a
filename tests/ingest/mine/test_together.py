"""Features that fire together: exact counts by hand, candidates against counting every pair."""

import numpy as np
import torch

from ingest.config import MOST_FEATURES, MinePart
from ingest.mine.choose import limits_of
from ingest.mine.keep import Kept
from ingest.mine.together import (
    Common,
    Pairs,
    _best_of,
    candidates,
    first_numbers,
    jaccard,
)
from tests.ingest.mine.folds import Hits, fold

PLACES = 4000


def some_firings(seed=0):
    """`[place, feature]` of two layers; feature n + 1 of each fires mostly where n does."""
    rng = np.random.default_rng(seed)
    fires = rng.random((PLACES, 60)) < rng.uniform(0.002, 0.2, 60)
    for feature in range(0, 60, 2):
        kept = rng.random(PLACES) < 0.7
        fires[:, feature + 1] = np.where(kept, fires[:, feature], fires[:, feature + 1])
    return torch.from_numpy(fires[:, :40]), torch.from_numpy(fires[:, 40:])


def sketch_of(fires):
    place, feature = fires.numpy().nonzero()
    ctx, pos = (place // 100).astype(np.int32), (place % 100).astype(np.int32)
    act = np.ones(len(place), np.float32)
    hits = Hits(feature.astype(np.int32), act, ctx, pos, np.ones((len(place), 1), np.float32))
    none = Kept(*(column[:0] for column in hits[:4]))
    return fold(hits, none, PLACES, fires.shape[1], limits_of(MinePart())).sketch


def common(batches, pairs):
    """Counts over several batches."""
    features = sum(part.shape[1] for part in batches[0])
    found = Common(pairs, features, torch.device("cpu"))
    for fires in batches:
        found.add(fires)
    return found.counts()


def test_counts_are_those_computed_by_hand():
    one = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 0]]).bool()
    two = torch.tensor([[0], [1], [1]]).bool()
    pairs = Pairs.of(np.array([1, 3, 0]), np.array([0, 1, 3]), 4)
    found = common([[one, two]], pairs)
    assert list(zip(pairs.one, pairs.other, strict=True)) == [(0, 1), (0, 3), (1, 3)]
    assert found.both.tolist() == [2, 2, 1]
    assert found.each.tolist() == [3, 2, 0, 2]
    assert np.allclose(jaccard(pairs, found), [2 / 3, 2 / 3, 1 / 3])


def test_counts_are_those_of_a_dense_product_however_the_places_are_split():
    fires = some_firings()
    pairs = Pairs.of(np.arange(0, 58), np.arange(2, 60), 60)
    whole = common([fires], pairs)
    both = torch.cat(fires, 1).double().T @ torch.cat(fires, 1).double()
    assert whole.both.tolist() == both[pairs.one, pairs.other].tolist()
    assert whole.each.tolist() == both.diagonal().tolist()
    edges = ((0, 77), (77, 77), (77, PLACES))
    parts = common([[f[low:high] for f in fires] for low, high in edges], pairs)
    assert (parts.both == whole.both).all()
    assert (parts.each == whole.each).all()


def test_places_where_nothing_fires_and_pairs_that_are_none_count_nothing():
    none = np.zeros(0, np.int64)
    fires = [torch.zeros(5, 3, dtype=torch.bool)]
    assert common([fires], Pairs.of(none, none, 3)).both.tolist() == []
    assert common([fires], Pairs.of(none, none + 1, 3)).each.tolist() == [0, 0, 0]
    assert common([fires], Pairs.of(np.array([0]), np.array([2]), 3)).both.tolist() == [0]


def test_the_candidates_hold_nearly_every_pair_that_fires_together():
    fires = some_firings()
    together = torch.cat(fires, 1).float()
    both = together.T @ together
    each = together.sum(0)
    index = (both / (each[:, None] + each - both)).fill_diagonal_(0)
    wanted = {(i, j) for i, j in (index > 0.3).nonzero().tolist() if i < j}
    found = candidates({3: sketch_of(fires[0]), 7: sketch_of(fires[1])}, {3: 40, 7: 20}, 4)
    pairs = set(zip(found.one.tolist(), found.other.tolist(), strict=True))
    assert len(wanted) > 20
    assert len(wanted & pairs) >= 0.95 * len(wanted)
    assert len(pairs) <= 60 * 4 * 2


def test_features_are_numbered_layer_after_layer():
    assert first_numbers({8: 40, 2: 20, 5: 10}) == {8: 0, 2: 40, 5: 60}


def test_the_best_pairs_of_the_highest_feature_numbers_are_found():
    last = MOST_FEATURES - 1
    one, other = np.array([last, last, last, 0]), np.array([last - 1, 3, last, last])
    found = _best_of(one, other, np.array([0.25, 1.0, 0.5, 0.125]), 2)
    assert [part.tolist() for part in found] == [[0, last, last], [last, 3, last]]
