"""Folding firings: the same bytes however the corpus is split, and hand-computed figures."""

import functools
import io

import numpy as np
import pytest
import torch

from ingest.mine import tally
from ingest.mine.fold import FIXED, Limits, from_arrays, to_arrays
from ingest.mine.fold import merge as merge_on
from ingest.mine.keep import Kept, histogram_bin, place_hash
from tests.ingest.mine.folds import Hits, by_sorting, fold

FEATURES, HEADS = 7, 3
LIMITS = Limits(top=4, per_bin=2, random=5, near=3, sketch=6)


def merge(one, other):
    return merge_on(one, other, LIMITS, torch.device("cpu"))


def random_hits(contexts, seed=0):
    """Firings of contexts 0.. in order of place; many ties in activation."""
    rng = np.random.default_rng(seed)
    rows = [
        (feature, rng.integers(1, 9) / 4, ctx, pos)
        for ctx in range(contexts)
        for pos in range(12)
        for feature in rng.choice(FEATURES, 2, replace=False)
    ]
    feature, act, ctx, pos = (np.array(column) for column in zip(*rows, strict=True))
    dfa = rng.normal(size=(len(rows), HEADS)).astype(np.float32)
    return Hits(*(feature.astype(np.int32), act.astype(np.float32)), *places(ctx, pos), dfa)


def places(ctx, pos):
    return ctx.astype(np.int32), pos.astype(np.int32)


def part(hits, low, high):
    mine = (hits.ctx >= low) & (hits.ctx < high)
    hits = Hits(*(column[mine] for column in hits))
    return fold(hits, near_misses(hits), 12 * (high - low), FEATURES, LIMITS)


def near_misses(hits):
    """For each context and feature one place, with ties."""
    _, rows = np.unique(hits.feature * 1000 + hits.ctx, return_index=True)
    act = (-(hits.ctx % 5) / 8).astype(np.float32)
    return Kept(*(column[rows] for column in hits._replace(act=act)[:4]))


NONE = Kept(*(np.zeros(0, kind) for kind in (np.int32, np.float32, np.int32, np.int32)))


def as_bytes(state):
    file = io.BytesIO()
    np.savez(file, **to_arrays(state, ""))
    return file.getvalue()


@pytest.mark.parametrize("steps", [1, 3, 40])
@pytest.mark.parametrize("settle", [0, 50, 10**6])
def test_a_tally_keeps_what_sorting_everything_would(monkeypatch, steps, settle):
    """However it is added and however often it is sorted in; activations have many ties."""
    monkeypatch.setattr(tally, "SETTLE", settle)
    hits = random_hits(40)
    near = near_misses(hits)
    asked = (near, 480, FEATURES, LIMITS)
    assert as_bytes(fold(hits, *asked, steps)) == as_bytes(by_sorting(hits, *asked))


@pytest.mark.parametrize("shards", [2, 5, 13])
@pytest.mark.parametrize("backwards", [False, True])
def test_any_number_of_shards_in_any_order_gives_the_same_bytes(shards, backwards):
    hits = random_hits(40)
    edges = np.linspace(0, 40, shards + 1).astype(int)
    parts = [part(hits, low, high) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    parts = parts[::-1] if backwards else parts
    together = functools.reduce(merge, parts)
    assert as_bytes(together) == as_bytes(part(hits, 0, 40))


def test_merging_is_associative():
    a, b, c = (part(random_hits(30), low, low + 10) for low in (0, 10, 20))
    left = merge(merge(a, b), c)
    assert as_bytes(left) == as_bytes(merge(a, merge(b, c)))


def three_hits():
    return Hits(
        np.array([1, 1, 0], np.int32),
        np.array([2.0, 4.0, 1.0], np.float32),
        np.array([0, 0, 1], np.int32),
        np.array([3, 5, 2], np.int32),
        np.array([[1, -3], [2, 2.5], [0, 1]], np.float32),
    )


def test_figures_are_those_computed_by_hand():
    state = fold(three_hits(), NONE, 20, 3, LIMITS)
    assert state.tokens.tolist() == [20]
    assert state.firings.tolist() == [1, 2, 0]
    assert (state.act / FIXED).tolist() == [1, 6, 0]
    assert (state.square / FIXED).tolist() == [1, 20, 0]
    assert state.max_act.tolist() == [1, 4, 0]
    assert (state.dfa / FIXED).tolist() == [[0, 1], [3, -0.5], [0, 0]]
    assert (state.abs_dfa / FIXED).tolist() == [[0, 1], [3, 5.5], [0, 0]]
    assert state.won.tolist() == [[0, 1], [1, 1], [0, 0]]
    assert state.histogram[1].nonzero()[0].tolist() == [36, 40]  # 2^1 and 2^2


def test_the_top_holds_one_firing_per_context_strongest_first():
    state = fold(three_hits(), NONE, 20, 3, LIMITS)
    assert state.top.feature.tolist() == [0, 1]
    assert state.top.pos.tolist() == [2, 5]


def test_bins_are_quarter_octaves_and_the_ends_take_the_rest():
    acts = torch.tensor([2.0**-8, 2.0**-7.7, 1.0, 1.19, 2.0**9, 2.0**-20])
    assert histogram_bin(acts).tolist() == [0, 1, 32, 33, 63, 0]


def test_random_firings_are_spread_over_the_corpus():
    hits = random_hits(400)
    kept = part(hits, 0, 400).random
    assert (np.bincount(kept.feature) == LIMITS.random).all()
    assert 100 < kept.ctx.mean() < 300
    assert kept.ctx.max() > 320


def test_a_shard_folded_twice_keeps_the_same_firings():
    once = part(random_hits(20), 0, 20)
    twice = merge(once, once)
    for name in ("top", "near"):
        assert [c.tolist() for c in getattr(twice, name)] == [
            c.tolist() for c in getattr(once, name)
        ]


def test_the_sketch_holds_the_places_with_the_lowest_hash_of_all_features_alike():
    hits = random_hits(200)
    state = part(hits, 0, 200)
    for feature in range(FEATURES):
        mine = hits.feature == feature
        lowest = np.sort(place_hash(hits.ctx[mine].astype(int), hits.pos[mine].astype(int)))[
            : LIMITS.sketch
        ]
        kept = state.sketch.feature == feature
        found = place_hash(*(c[kept].astype(int) for c in (state.sketch.ctx, state.sketch.pos)))
        assert found.tolist() == lowest.tolist()


def test_near_misses_are_the_highest_one_per_context():
    state = part(random_hits(40), 0, 40)
    kept = state.near.feature == 2
    assert state.near.act[kept].tolist() == [0, 0, 0]
    assert len(set(state.near.ctx[kept])) == 3


def test_arrays_give_the_fold_back():
    state = part(random_hits(5), 0, 5)
    again = from_arrays(to_arrays(state, "x."), "x.")
    assert as_bytes(again) == as_bytes(state)


def test_no_firings_at_all_is_a_fold_too():
    none = Hits(*(column[:0] for column in three_hits()))
    state = merge(fold(none, NONE, 9, 3, LIMITS), fold(three_hits(), NONE, 20, 3, LIMITS))
    assert state.tokens.tolist() == [29]
    assert state.firings.tolist() == [1, 2, 0]
