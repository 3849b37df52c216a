"""The sparse step against automatic differentiation of the dense formula."""

import pytest
import torch

from ingest.train.params import Params
from ingest.train.step import largest, layer_step, project_and_clip, revive, select

N, F, D = 40, 30, 12


def some_params(seed=0):
    g = torch.Generator().manual_seed(seed)
    w_dec = torch.nn.functional.normalize(torch.randn(1, F, D, generator=g), dim=-1)
    return Params(
        torch.randn(1, F, D, generator=g),
        torch.randn(1, F, generator=g) / 10,
        w_dec,
        torch.randn(1, D, generator=g) / 10,
        torch.randn(1, F, generator=g) / 10,
    )


def zeros(params):
    return Params(*(torch.zeros_like(part) for part in params))


def x_and_hits(params, count=N * 4):
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(1))
    pre = x @ params.w_enc[0].T + params.b_enc[0]
    return x, pre, largest(pre, count, 0.0)


@pytest.mark.parametrize("guess", [0.0, 0.5, 3.0, 100.0])
def test_the_largest_entries_are_found_whatever_the_guess(guess):
    _, pre, _ = x_and_hits(some_params())
    hits = largest(pre, 50, guess)
    assert set(hits.tolist()) == set(pre.flatten().topk(50).indices.tolist())
    assert hits.tolist() == sorted(hits.tolist())


def test_only_positive_entries_can_fire():
    assert largest(torch.tensor([[1.0, -1], [-2, 3]]), 4, 0.0).tolist() == [0, 3]


@pytest.mark.parametrize("edges", [(F,), (7, 19, F)])
@pytest.mark.parametrize("l1", [0.0, 0.7])
def test_gradients_equal_those_of_the_dense_formula(l1, edges):
    params = some_params()
    x, pre, hits = x_and_hits(params)
    gradients = zeros(params)
    firings = select(x, params.w_enc[0], params.b_enc[0], hits)
    done = layer_step(params, gradients, 0, x, x, firings, edges, l1)

    dense = Params(*(part.clone().requires_grad_() for part in params))
    mask = torch.zeros(N * F).index_fill(0, hits, 1).view(N, F)
    acts = (x @ dense.w_enc[0].T + dense.b_enc[0]) * mask
    loss = l1 * acts.sum() / (N * D)
    for edge in edges:
        x_hat = acts[:, :edge] @ dense.w_dec[0][:edge] + dense.b_dec[0]
        loss = loss + (x - x_hat).square().sum() / (N * D * len(edges))
    loss.backward()
    for ours, theirs in zip(gradients[:4], dense[:4], strict=True):
        assert torch.allclose(ours, theirs.grad, atol=1e-6)
    assert torch.allclose(done.residual, (x - x_hat).detach(), atol=1e-5)
    assert float(done.squared_error) == pytest.approx(float(done.residual.square().sum() / N))
    assert done.l0 == 4
    assert float(done.lowest) == pytest.approx(float(pre.flatten()[hits].min()), rel=1e-5)
    assert done.fired.tolist() == mask.sum(0).tolist()


def test_reviving_adds_the_gradients_of_the_residual_loss_to_dead_features_only():
    params, weight = some_params(), 0.25
    x, _, _ = x_and_hits(params)
    residual = torch.randn(N, D, generator=torch.Generator().manual_seed(2))
    dead = torch.tensor([3, 7, 8, 20])
    gradients = zeros(params)
    revive(params, gradients, 0, x, residual, dead, weight)

    dense = Params(*(part.clone().requires_grad_() for part in params))
    acts = (x @ dense.w_enc[0][dead].T + dense.b_enc[0][dead]).relu()
    loss = weight * (acts @ dense.w_dec[0][dead] - residual).square().sum() / (N * D)
    loss.backward()
    for ours, theirs in zip(gradients[:3], dense[:3], strict=True):
        assert torch.allclose(ours, theirs.grad, atol=1e-6)
    assert gradients.w_dec[0].abs().sum(-1).nonzero().squeeze().tolist() == dead.tolist()


def test_projection_leaves_no_gradient_along_a_decoder_row_and_clips_each_layer():
    params, gradients = some_params(), some_params(seed=5)
    project_and_clip(params, gradients, limit=0.5)
    assert (gradients.w_dec * params.w_dec).sum(-1).abs().max() < 1e-6
    norm = sum(float(part.square().sum()) for part in gradients) ** 0.5
    assert norm == pytest.approx(0.5, rel=1e-5)
