"""The step of fixed shapes against the step over single layers, which is its oracle."""

import pytest
import torch

from ingest.train import stacked
from ingest.train.params import Params
from ingest.train.step import largest, layer_step, revive, select
from tests.ingest.train import gathered

L, N, F, D = 3, 40, 30, 12
DTYPES = [torch.float32, torch.bfloat16]


def some_params(seed=0, layers=L, d_sae=F, d_in=D):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(layers, *shape, generator=g)

    w_dec = torch.nn.functional.normalize(draw(d_sae, d_in), dim=-1)
    return Params(
        draw(d_sae, d_in), draw(d_sae) / 10, w_dec, draw(d_in) / 10, torch.zeros(layers, d_sae)
    )


def zeros(params):
    return Params(*(torch.full_like(part, 7.0) for part in params))  # all of it must be written


def inputs(n=N, layers=L, d_in=D, seed=1):
    return torch.randn(layers, n, d_in, generator=torch.Generator().manual_seed(seed))


def places_of(chosen, layer, width=F):
    at = chosen.rows[layer] * width + chosen.columns[layer]
    return at[(chosen.values[layer] > 0)].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "count"), [(40, 160), (40, 1), (40, 900), (3000, 12_000)])
def test_the_largest_of_a_batch_are_the_oracles(dtype, n, count):
    pre = torch.randn(L, n, F, generator=torch.Generator().manual_seed(0)).to(dtype)
    chosen = stacked.largest_of_batch(pre, count)
    assert chosen.rows.shape == (L, count)
    for layer in range(L):
        assert places_of(chosen, layer) == largest(pre[layer], count, 0.0).tolist()
    assert not chosen.missed.any()


def test_of_equal_entries_the_first_are_taken():
    pre = torch.ones(1, 4, 3)
    assert places_of(stacked.largest_of_batch(pre, 5), 0, 3) == largest(pre[0], 5, 0.0).tolist()


def test_fillers_stand_at_the_end_beyond_the_last_token():
    pre = torch.tensor([[[1.0, -1], [-2, 3]]])
    chosen = stacked.largest_of_batch(pre, 4)
    assert chosen.rows.tolist() == [[0, 1, 2, 2]]
    assert chosen.values.tolist() == [[1, 3, 0, 0]]
    assert not chosen.missed


def test_a_bound_from_tokens_unlike_the_others_is_noticed():
    pre = torch.rand(1, 3 * stacked.SAMPLE, 4, generator=torch.Generator().manual_seed(0))
    pre[:, : stacked.SAMPLE] *= 100.0
    assert stacked.largest_of_batch(pre, 1200).missed  # too few candidates
    pre[:, : stacked.SAMPLE] /= 10_000.0
    assert stacked.largest_of_batch(pre, 1200).missed  # too many
    mixed = torch.randperm(len(pre[0]), generator=torch.Generator().manual_seed(1))
    assert not stacked.largest_of_batch(pre[:, mixed], 1200).missed


def test_the_largest_of_each_token_fire_where_they_are_positive():
    pre = torch.tensor([[[3.0, 1, 2], [-1, -2, 5]]])
    chosen = stacked.largest_of_tokens(pre, 2)
    assert chosen.rows.tolist() == [[0, 0, 1, 1]]
    assert chosen.columns.tolist() == [[0, 2, 0, 2]]
    assert stacked.spread(chosen, pre).tolist() == [[[3, 0, 2], [0, 0, 5]]]


def oracle(params, x, count, edges=(F,), l1=0.0):
    """Gradients and what each layer gave, by the step over single layers."""
    gradients = Params(*(torch.zeros_like(part) for part in params))
    done = []
    for layer in range(L):
        w_enc, b_enc = params.w_enc[layer], params.b_enc[layer]
        hits = largest(x[layer] @ w_enc.T + b_enc, count, 0.0)
        firings = select(x[layer], w_enc, b_enc, hits)
        done.append(layer_step(params, gradients, layer, x[layer], x[layer], firings, edges, l1))
    return gradients, done


def same(ours, theirs, done, expected):
    for name, one, other in zip(Params._fields[:4], ours, theirs, strict=False):
        assert torch.allclose(one, other, atol=1e-6), name
    for layer, one in enumerate(expected):
        assert float(done.squared_error[layer]) == pytest.approx(float(one.squared_error))
        assert float(done.l0[layer]) == one.l0
        assert float(done.lowest[layer]) == pytest.approx(float(one.lowest), rel=1e-5)
        assert torch.equal(done.fired[layer], one.fired)
        assert torch.allclose(done.residual[layer], one.residual, atol=1e-5)


@pytest.mark.parametrize("edges", [(F,), (7, 19, F)])
@pytest.mark.parametrize("l1", [0.0, 0.7])
def test_dense_gradients_are_the_oracles(edges, l1):
    params, x = some_params(), inputs()
    pre = stacked.pre_activations(params, x, torch.float32)
    acts = stacked.spread(stacked.largest_of_batch(pre, N * 4), pre)
    gradients = zeros(params)
    done, by_act = stacked.dense(params, gradients, x, x, acts, edges, l1)
    same(gradients, *(lambda g, d: (g, done, d))(*oracle(params, x, N * 4, edges, l1)))
    assert by_act.shape == acts.shape


def test_sparse_gradients_are_the_oracles():
    params, x = some_params(), inputs()
    pre = stacked.pre_activations(params, x, torch.float32)
    chosen = stacked.largest_of_batch(pre, N * 4)
    gradients = zeros(params)
    done = stacked.sparse(params, gradients, x, chosen, torch.float32, gathered)
    theirs, expected = oracle(params, x, N * 4)
    same(gradients, theirs, done, expected)


def test_a_layer_that_fires_nowhere_gets_no_gradients_but_the_decoders_bias():
    params, x = some_params(), inputs()
    params.b_enc[1] = -1e6
    pre = stacked.pre_activations(params, x, torch.float32)
    chosen = stacked.largest_of_batch(pre, N * 4)
    gradients = zeros(params)
    done = stacked.sparse(params, gradients, x, chosen, torch.float32, gathered)
    assert gradients.w_dec[1].abs().max() == gradients.w_enc[1].abs().max() == 0
    assert (done.l0[1], done.lowest[1], done.fired[1].sum()) == (0, 0, 0)
    assert torch.equal(done.residual[1], x[1] - params.b_dec[1])


def test_reviving_is_the_oracles_and_leaves_layers_without_dead_features_alone():
    params, x = some_params(), inputs()
    residual = torch.randn(L, N, D, generator=torch.Generator().manual_seed(2))
    dead = torch.zeros(L, F, dtype=torch.bool)
    dead[0, [3, 7, 8, 20]] = dead[2, 5:25] = True
    ours, theirs = (Params(*(torch.zeros_like(part) for part in params)) for _ in range(2))
    stacked.revive(params, ours, x, residual, dead, 0.25, torch.float32)
    for layer in range(L):
        which = dead[layer].nonzero().squeeze(-1)
        revive(params, theirs, layer, x[layer], residual[layer], which, 0.25)
    for name, one, other in zip(Params._fields, ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-7), name
    assert ours.w_dec[0].abs().max() > 0
    assert ours.w_dec[1].abs().max() == 0
