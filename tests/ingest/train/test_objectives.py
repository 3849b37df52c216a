"""Each objective's own part: who fires, and JumpReLU's estimator against autograd."""

import pytest
import torch

from atlas.errors import ConfigError
from ingest.config import SaePart, TrainPart, make_job
from ingest.train.objectives import Pass, make_objective
from ingest.train.params import Params
from tests.ingest.train.test_step import D, F, N, some_params, x_and_hits, zeros


def an_objective(name, steps=100, **more):
    sae = SaePart(layers=(0,), d_sae=F, objective=name, **{"k": 4, **more})
    return make_objective(sae, TrainPart(anneal=0.1), steps)


def test_topk_fires_the_k_largest_of_each_token_and_nothing_negative():
    pre = torch.tensor([[1.0, 3, 2, -1], [-1, -2, 5, -3]])
    hits = an_objective("topk", k=2).hits(pre, 99, 0.0, torch.zeros(4))
    assert hits.tolist() == [1, 2, 6]


def test_batchtopk_gives_a_batch_its_k_where_they_are_largest():
    pre = torch.tensor([[1.0, 3, 2, -1], [-1, -2, 5, -3]])
    hits = an_objective("batchtopk", k=1).hits(pre, 99, 0.0, torch.zeros(4))
    assert hits.tolist() == [1, 6]


def test_k_falls_from_four_k_to_k_over_the_first_tenth():
    objective = an_objective("topk", steps=100, k=4)
    assert [objective.k_at(step) for step in (0, 5, 10, 99)] == [16, 10, 4, 4]


class Jump(torch.autograd.Function):
    """H(p - t) and p H(p - t) with the estimator of arXiv 2407.14435, equations 11 and 12."""

    @staticmethod
    def forward(ctx, pre, threshold, width):
        ctx.save_for_backward(pre, threshold)
        ctx.width = width
        fires = (pre > threshold).float()
        return fires, pre * fires

    @staticmethod
    def backward(ctx, by_fires, by_act):
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.width / 2).float() / ctx.width
        by_threshold = -(near * by_fires + threshold * near * by_act).sum(0)
        return by_act * (pre > threshold), by_threshold, None


@pytest.mark.parametrize("l0_weight", [0.0, 0.5])
def test_jumprelus_gradients_equal_those_of_the_dense_formula(l0_weight):
    from ingest.train.step import layer_step, select

    params = some_params()
    x, pre, _ = x_and_hits(params)
    objective = an_objective("jumprelu", l0_weight=l0_weight, bandwidth=0.8)
    hits = objective.hits(pre, 0, 0.0, params.log_threshold[0])
    firings = select(x, params.w_enc[0], params.b_enc[0], hits)
    gradients = zeros(params)
    done = layer_step(params, gradients, 0, x, x, firings, objective.edges, 0.0)
    objective.add_gradients(params, gradients, Pass(0, pre, done.slope, done.l0))

    dense = Params(*(part.clone().requires_grad_() for part in params))
    fires, acts = Jump.apply(
        x @ dense.w_enc[0].T + dense.b_enc[0], dense.log_threshold[0].exp(), 0.8
    )
    x_hat = acts @ dense.w_dec[0] + dense.b_dec[0]
    penalty = l0_weight * (fires.sum() / N / 4 - 1).square()
    ((x - x_hat).square().sum() / (N * D) + penalty).backward()
    for ours, theirs in zip(gradients, dense, strict=True):
        assert torch.allclose(ours, theirs.grad, atol=1e-5)
    assert gradients.log_threshold.abs().max() > 0.01


def test_jumprelu_begins_with_k_firings_per_token():
    z = torch.randn(200, 1, D, generator=torch.Generator().manual_seed(3)) + 2
    objective = an_objective("jumprelu")
    params, scale = objective.start(z, [torch.Generator().manual_seed(0)])
    pre = scale.apply(z.transpose(0, 1))[0] @ params.w_enc[0].T
    hits = objective.hits(pre, 0, 0.0, params.log_threshold[0])
    assert len(hits) / 200 == pytest.approx(4, abs=0.05)


def test_relu_starts_apart_on_raw_z_with_unit_decoder_rows():
    z = torch.randn(50, 1, D) * 3 + 5
    params, scale = an_objective("relu").start(z, [torch.Generator().manual_seed(0)])
    assert torch.equal(scale.apply(z.transpose(0, 1)), z.transpose(0, 1))
    assert torch.allclose(params.w_dec.norm(dim=-1), torch.ones(1, F))
    assert 0.9 * (6 / F) ** 0.5 < params.w_enc.abs().max() < (6 / F) ** 0.5
    assert not torch.allclose(params.w_enc, params.w_dec)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"l1": 0.5}, "l1 has no effect with objective 'batchtopk'"),
        ({"objective": "topk", "prefixes": [4]}, "prefixes has no effect with objective 'topk'"),
        ({"prefixes": [8, 4]}, r"prefixes \[8, 4\] do not rise"),
        ({"prefixes": [64]}, r"prefixes \[64\] do not rise"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_job({"sae": {"layers": [0], "d_sae": 64, "k": 2, **changes}})


def test_a_setting_of_training_that_would_do_nothing_is_refused():
    relu = {"layers": [0], "objective": "relu"}
    with pytest.raises(ConfigError, match=r"train\.aux has no effect with objective 'relu'"):
        make_job({"sae": relu, "train": {"aux": 0.5}})
    with pytest.raises(ConfigError, match=r"train\.resample has no effect with .*'batchtopk'"):
        make_job({"sae": {"layers": [0]}, "train": {"resample": {"every": 20_000}}})
