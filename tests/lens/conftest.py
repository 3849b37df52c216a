"""A prompt of every family seen through random SAEs."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from atlas.lens.frozen import Internals, Layer
from atlas.lens.pieces import Lens, Pieces, attribute, look, table
from atlas.lens.sae import Sae
from atlas.model import LanguageModel
from tests.models import FAMILIES, a_model, some_tokens


def a_sae(d_in: int, d_sae: int = 40, seed: int = 0, k: int = 0) -> Sae:
    """A random SAE of which about a third of the features fire, biases and thresholds included."""
    generator = torch.Generator().manual_seed(seed)
    draw = [(d_sae, d_in), (d_sae,), (d_sae, d_in), (d_in,)]
    w_enc, b_enc, w_dec, b_dec = (torch.randn(s, generator=generator) * 0.3 for s in draw)
    return Sae(w_enc, b_enc, w_dec, b_dec, torch.full((d_sae,), 0.2), k)


class Prompt(NamedTuple):
    """One prompt with everything that attribution takes. Layer 1 has no SAE, layer 2 a TopK one."""

    model: LanguageModel
    internals: Internals
    layers: list[Layer]
    saes: list[Sae | None]
    lenses: list[Lens]
    pieces: Pieces

    def give(self, reads: Tensor, below: int) -> Tensor:
        return attribute(self.internals, self.layers, self.lenses, reads, below)


def a_prompt(family: str, **changes: object) -> Prompt:
    model = a_model(family, **changes)
    internals = model.internals(some_tokens(1)[0])
    layers = [model.layer(n) for n in range(3)]
    saes = [a_sae(model.d_in), None, a_sae(model.d_in, seed=2, k=6)]
    lenses = [look(z.flatten(1), sae) for z, sae in zip(internals.z, saes, strict=True)]
    return Prompt(model, internals, layers, saes, lenses, table(lenses, len(internals.tokens)))


CASES = [(family, ()) for family in sorted(FAMILIES)] + [
    ("llama", (("attention_bias", True), ("mlp_bias", True))),
    ("qwen3", (("attention_bias", True),)),
    ("gpt_neox", (("use_parallel_residual", False),)),
    ("stablelm", (("use_qkv_bias", True),)),
]
"""Families, then changes: with and without biases, parallel and serial blocks."""


@pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *(k for k, _ in case[1])]))
def prompt(request) -> Prompt:
    family, changes = request.param
    return a_prompt(family, **dict(changes))


def close(a: Tensor | float, b: Tensor | float, size: Tensor | float | None = None) -> bool:
    """Whether two results agree within 1e-4 of the size of what was added up."""
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    size = torch.as_tensor(b if size is None else size).abs().max()
    return bool((a - b).abs().max() <= 1e-4 * size)
