"""DFA: heads and sources add up to the pre-activation, under grouped-query attention too."""

import torch

from atlas.lens.dfa import head_dfa, source_dfa


def test_sources_sum_to_heads_and_heads_to_the_pre_activation():
    generator = torch.Generator().manual_seed(0)
    heads, groups, d, src = 6, 2, 4, 5
    kv_head = torch.arange(heads) // (heads // groups)
    pattern = torch.rand(3, heads, src, generator=generator).softmax(-1)
    v = torch.randn(3, src, groups, d, generator=generator)
    w = torch.randn(3, heads * d, generator=generator)
    z = torch.einsum("nhs,nshd->nhd", pattern, v[:, :, kv_head])
    by_source = source_dfa(pattern, v, w, kv_head)
    assert torch.allclose(by_source.sum(-1), head_dfa(z, w), atol=1e-5)
    assert torch.allclose(by_source.sum((1, 2)), (z.flatten(1) * w).sum(-1), atol=1e-5)


def test_one_source_gives_its_pattern_times_its_value_along_the_encoder():
    pattern = torch.tensor([[[0.25, 0.75]]])
    v = torch.tensor([[[[2.0, 0.0]], [[0.0, 4.0]]]])
    w = torch.tensor([[3.0, 5.0]])
    assert source_dfa(pattern, v, w, torch.tensor([0])).tolist() == [[[1.5, 15.0]]]
