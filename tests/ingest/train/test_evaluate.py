"""Evaluation: every formula against numbers worked out by hand, losses against plain loops."""

import math

import pytest
import torch

from atlas.lens.sae import Sae, decode, encode
from atlas.types import Interval
from ingest.config import PositionsPart
from ingest.train.evaluate import (
    Evaluated,
    Losses,
    Moments,
    evaluate,
    fvu,
    interval,
    recovered,
)
from tests.ingest.train.planted import some_contexts
from tests.models import VOCAB, a_model


def test_fvu_is_what_is_left_over_the_variance_around_the_mean():
    # z is 1 and 3 in one dimension: mean 2, variance sum 2; errors 0.5^2 twice.
    moments = Moments(2, torch.tensor([4.0], dtype=torch.float64), 10.0, 0.5, torch.zeros(3))
    assert fvu(moments) == 0.25


def test_an_interval_is_the_mean_and_1_96_standard_errors():
    # 1, 2, 3: mean 2, standard deviation 1, standard error 1 / sqrt(3).
    half = 1.96 / math.sqrt(3)
    found = interval(torch.tensor([1.0, 2, 3], dtype=torch.float64))
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))


def test_recovered_is_withheld_where_the_ablation_costs_no_more_than_noise():
    assert recovered(2.0, 2.25, 3.0, Interval(0.5, 1.5)) == 0.75
    assert recovered(2.0, 2.25, 3.0, Interval(-0.1, 2.1)) is None


@pytest.fixture(scope="module")
def case():
    """A tiny model, SAEs on two layers, held-out contexts of changing length."""
    model = a_model("llama")
    g = torch.Generator().manual_seed(0)
    saes = {
        layer: Sae(
            torch.randn(12, model.d_in, generator=g),
            torch.randn(12, generator=g) / 10,
            torch.randn(12, model.d_in, generator=g) / 10,
            torch.randn(model.d_in, generator=g) / 10,
            torch.full((12,), 0.05),
        )
        for layer in (0, 2)
    }
    contexts = some_contexts(count=7, width=10, vocab=VOCAB)
    contexts.length[3] = 6
    return model, saes, contexts


def scored(contexts):
    """The positions that count, as (context, position)."""
    return [(c, p) for c in range(7) for p in range(1, int(contexts.length[c]))]


def by_hand(model, contexts, replace):
    """Mean loss at scored positions whose next token is text, with z replaced there."""
    tokens = torch.from_numpy(contexts.tokens).long()
    where = scored(contexts)

    def edit(new):
        def apply(z):
            z = z.clone()
            for c, p in where:
                z[c, p] = new(z[c, p].flatten()).view_as(z[c, p])
            return z

        return apply

    losses = model.losses(tokens, {layer: edit(new) for layer, new in replace.items()})
    counted = [(c, p) for c, p in where if p + 1 < int(contexts.length[c])]
    return sum(float(losses[c, p]) for c, p in counted) / len(counted)


def test_losses_are_those_of_the_model_run_with_each_replacement(case):
    model, saes, contexts = case
    limits = torch.full((2,), torch.inf)
    found = evaluate(model, saes, contexts, PositionsPart(sink_norm=None), limits, 3)
    tokens = torch.from_numpy(contexts.tokens).long()
    z = {n: v.flatten(2) for n, v in model.z(tokens, [0, 2]).items()}
    seen = {n: torch.stack([v[c, p] for c, p in scored(contexts)]) for n, v in z.items()}
    news = {
        "sae": lambda n: lambda one: decode(saes[n], encode(saes[n], one[None]))[0],
        "zero": lambda _: torch.zeros_like,
        "mean": lambda n: lambda _: seen[n].mean(0),
    }
    groups = [((0,), found.alone[0].losses), ((2,), found.alone[2].losses)]
    for layers, losses in [*groups, ((0, 2), found.together)]:
        assert losses.ce_clean == pytest.approx(by_hand(model, contexts, {}), abs=1e-5)
        for kind, new in news.items():
            expected = by_hand(model, contexts, {n: new(n) for n in layers})
            assert getattr(losses, f"ce_{kind}") == pytest.approx(expected, abs=1e-5)
            cost = getattr(losses, f"{kind}_cost")
            assert cost.low < expected - losses.ce_clean < cost.high
    for n, one in found.alone.items():
        acts = encode(saes[n], seen[n])
        left = (seen[n] - decode(saes[n], acts)).square().sum()
        spread = (seen[n] - seen[n].mean(0)).square().sum()
        assert one.l0 == pytest.approx(float((acts > 0).sum()) / len(acts))
        assert one.fvu == pytest.approx(float(left / spread), rel=1e-4)
        assert one.tokens == len(acts)
        assert one.dead == pytest.approx(float((acts.sum(0) == 0).float().mean()))


def test_one_layer_has_no_joint_evaluation(case):
    model, saes, contexts = case
    limits = torch.full((1,), torch.inf)
    found = evaluate(model, {2: saes[2]}, contexts, PositionsPart(), limits, 3)
    assert found.together is None


def test_columns_come_back_as_they_were():
    losses = Losses(1.0, 2.0, 3.0, 4.0, *(Interval(n, n + 1.0) for n in range(3)), 0.5, None)
    one = Evaluated(3.0, 0.2, losses, 0.25, 99)
    assert Evaluated.from_columns(one.to_columns()) == one
    assert Losses.from_columns(one.to_columns()) == losses
