"""Attention scores add up over pairs of pieces, or the model is refused."""

import pytest
import torch

from atlas.lens.pieces import vectors
from atlas.lens.qk import objection, pairs, rotate, scores
from tests.lens.conftest import Prompt, a_prompt, close

# What the model itself hands to its softmax; other families do not show it.
SHOWN = ("falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "llama", "mistral")
SHOWN += ("olmo2", "phi", "qwen2", "qwen3", "stablelm")
REFUSED = ("bloom", "gptj")  # ALiBi, and rotary positions of neighbouring dimensions


def real_scores(prompt: Prompt, layer: int) -> torch.Tensor:
    tokens = prompt.internals.tokens[None]
    _, cache = prompt.model.bridge.run_with_cache(tokens, names_filter=lambda n: "scores" in n)
    return cache[f"blocks.{layer}.attn.hook_attn_scores"][0]


def test_pairs_sum_to_the_score_that_goes_into_the_softmax(prompt):
    if prompt.model.info.family not in SHOWN:
        pytest.skip("this family does not show its scores")
    layer, dst, src = 2, 11, 9
    real = real_scores(prompt, layer)
    at = [vectors(prompt.internals, prompt.layers, prompt.lenses, p, layer)[1] for p in (dst, src)]
    for head in (0, 3):
        scoring = prompt.model.scoring(prompt.internals.tokens, layer, head)
        found = pairs(scoring, prompt.internals, (layer, head), (dst, at[0]), (src, at[1]))
        score = found.value.sum()
        capped = scoring.cap * torch.tanh(score / scoring.cap) if scoring.cap else score
        assert close(capped, real[head, dst, src], found.value.abs().sum())
        row = prompt.internals.pattern[layer, head, dst]
        rebuilt = scores(scoring, prompt.internals, layer)[dst]
        assert close(rebuilt[src], score, found.value.abs().sum())
        assert close(found.contrast.sum(), score - rebuilt @ row, found.value.abs().sum())


def test_rebuilt_scores_make_the_models_own_pattern_or_the_family_is_refused(prompt):
    for layer, head in ((0, 0), (2, 3)):
        scoring = prompt.model.scoring(prompt.internals.tokens, layer, head)
        reason = objection(scoring, prompt.internals, layer, head)
        assert (reason is not None) == (prompt.model.info.family in REFUSED)


def test_scores_under_rotary_positions_depend_on_the_distance_alone():
    scoring = a_prompt("llama").model.scoring(torch.arange(12), 0, 0)
    cos, sin = scoring.query.cos, scoring.query.sin
    q, k = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))

    def score(dst: int, src: int) -> torch.Tensor:
        at = [rotate(x, cos[[p]], sin[[p]]) for x, p in ((q, dst), (k, src))]
        return at[0] @ at[1].T

    assert torch.allclose(score(5, 2), score(11, 8), atol=1e-5)
    assert not torch.allclose(score(5, 2), score(5, 4), atol=1e-2)


def test_a_quarter_turn_moves_the_first_half_to_the_second():
    y = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0]])
    assert rotate(y, torch.zeros(1, 4), torch.ones(1, 4)).tolist() == [[-3, -4, 1, 2, 9]]
