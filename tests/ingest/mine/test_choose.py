"""Which firings become examples: hand-made folds with known answers."""

import numpy as np
import pytest
import torch

from ingest.config import MinePart
from ingest.mine.choose import KINDS, choose, deciles, limits_of
from ingest.mine.keep import Kept, histogram_bin
from tests.ingest.mine.folds import Hits, fold

PART = MinePart(top=2, bands=2, per_band=1, random=2, per_decile=1, near_misses=2)


def firings(acts):
    """Firings of one feature, one per context."""
    count = len(acts)
    act = np.array(acts, np.float32)
    zeros = np.zeros(count, np.int32)
    return Hits(zeros, act, np.arange(count, dtype=np.int32), zeros, np.ones((count, 1)))


def chosen_of(acts, near=()):
    count = len(near)
    zeros = np.zeros(count, np.int32)
    missed = Kept(zeros, np.array(near, np.float32), np.arange(count, dtype=np.int32), zeros + 5)
    return choose(fold(firings(acts), missed, 10_000, 1, limits_of(PART)), PART)


def of_kind(chosen, kind):
    rows = chosen.kind == KINDS.index(kind)
    return chosen.ctx[rows], chosen.band[rows]


def test_every_kind_gets_its_number_and_no_firing_is_chosen_twice():
    chosen = chosen_of(np.linspace(0.5, 8, 400), near=(0.1, 0.3, 0.2, 0.4))
    counts = {kind: len(of_kind(chosen, kind)[0]) for kind in KINDS}
    assert counts == {"top": 2, "interval": 2, "random": 2, "decile": 10, "near_miss": 3}
    fired = chosen.kind != KINDS.index("near_miss")
    assert len(set(chosen.ctx[fired])) == fired.sum()
    assert set(of_kind(chosen, "near_miss")[0]) == {3, 1, 2}


def test_a_decile_example_lies_in_its_tenth_of_the_firings():
    acts = np.exp(np.random.default_rng(0).normal(size=1000)).astype(np.float32)
    order = acts.argsort().argsort()
    contexts, bands = of_kind(chosen_of(acts), "decile")
    assert sorted(bands) == list(range(10))
    for ctx, band in zip(contexts, bands, strict=True):
        assert order[ctx] / 100 == pytest.approx(band + 0.5, abs=0.8)


def test_decile_edges_are_interpolated_within_a_bin():
    acts = 2.0 ** np.linspace(1.001, 1.249, 100)  # all in one bin, even in log activation
    histogram = np.bincount(histogram_bin(torch.from_numpy(acts)), minlength=64)[None]
    assert deciles(histogram, Kept(*firings(acts)[:4])).tolist() == [n // 10 for n in range(100)]
