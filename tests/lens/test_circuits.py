"""Copying and composition: against the full matrices, and on heads made by hand."""

import pytest
import torch

from atlas.lens.circuits import Circuit, composition, copying
from tests.models import FAMILIES, a_model

MODELS = sorted(FAMILIES)


def full(circuit, head):
    """The d_model x d_model OV and QK matrices of a head."""
    return (
        circuit.w_v[head] @ circuit.w_o[head],
        circuit.w_q[head] @ circuit.w_k[head].T,
    )


@pytest.mark.parametrize("family", MODELS)
def test_composition_is_the_ratio_of_frobenius_norms_of_the_full_matrices(family):
    model = a_model(family)
    first, second = model.circuit(0), model.circuit(2)
    scores = composition(first, 1, second)
    ov, _ = full(first, 1)
    for head in range(model.info.n_heads):
        ov_later, qk_later = full(second, head)
        for score, read in zip(scores, (qk_later, qk_later.T, ov_later), strict=True):
            expected = (ov @ read).norm() / (ov.norm() * read.norm())
            assert float(score[head]) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "qwen3", "olmo2"])
def test_folded_weights_give_the_models_own_queries_keys_and_values(family):
    model = a_model(family)
    tokens = torch.arange(2, 12)
    internals, circuit = model.internals(tokens), model.circuit(1)
    x = internals.residual(1)[:1]  # at position 0 nothing is turned
    layer, start = model.layer(1), torch.tensor([0])
    for head in range(model.info.n_heads):
        how = model.scoring(tokens, 1, head)
        for side, w in ((how.query, circuit.w_q), (how.key, circuit.w_k)):
            mine = x / how.before_scale[0] @ w[head] / side.norm_scale[0]
            assert torch.allclose(mine, how.project(side, x, start), atol=1e-4)
        kv = int(model.kv_head[head])
        bias = layer.norm.bias @ layer.w_v[kv] + layer.b_v[kv]
        value = x / how.before_scale[0] @ circuit.w_v[head] + bias
        assert torch.allclose(value[0], internals.v[1][0, kv], atol=1e-4)


def test_a_head_that_copies_scores_one_and_one_that_inverts_minus_one():
    generator = torch.Generator().manual_seed(0)
    embed = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=1)
    w = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q[:, :4]
    circuit = Circuit(w[None], w[None], torch.stack([w, w]), torch.stack([w.T, -w.T]))
    assert copying(circuit, embed.T @ embed).tolist() == pytest.approx([1, -1])


def test_heads_made_for_each_other_compose_fully_and_others_not_at_all():
    eye = torch.eye(8)
    low, high = eye[:, :4], eye[:, 4:]
    writer = Circuit(low[None], low[None], low[None], high.T[None])  # reads low, writes high
    later = Circuit(*(torch.stack(part) for part in ([low, high], [high, low], [low, low],
                                                     [low.T, low.T])))  # fmt: skip
    scores = composition(writer, 0, later)
    # Both matrices have rank 4 and norm 2; their product has norm 2 or vanishes.
    assert scores.q.tolist() == pytest.approx([0, 0.5])
    assert scores.k.tolist() == pytest.approx([0.5, 0])
    assert scores.v.tolist() == pytest.approx([0, 0])
