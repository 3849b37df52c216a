"""A stand-in for a language model whose z is a known sparse mixture, for SAEs to find."""

import numpy as np
import torch

from ingest.config import PositionsPart
from ingest.corpus import Contexts
from ingest.train.stream import Buffers, Stream


class PlantedModel:
    """Every token id stands for three of `directions`, at fixed strengths, in every layer."""

    device = "cpu"

    def __init__(self, vocab=500, heads=2, d_head=8, features=24, layers=2, seed=0):
        generator = torch.Generator().manual_seed(seed)
        shape = (layers, features, heads * d_head)
        self.directions = torch.nn.functional.normalize(
            torch.randn(shape, generator=generator), dim=-1
        )
        which = torch.stack(
            [torch.randperm(features, generator=generator)[:3] for _ in range(vocab)]
        )
        strength = torch.rand(vocab, 3, generator=generator) + 0.5
        mix = torch.zeros(vocab, features).scatter(1, which, strength)
        self.table = torch.einsum("vf,lfd->lvd", mix, self.directions) + 0.3
        self.shape = (heads, d_head)
        self.passes = 0

    def z(self, tokens, layers):
        self.passes += 1
        return {layer: self.table[layer][tokens].unflatten(-1, self.shape) for layer in layers}


def some_contexts(count=64, width=16, vocab=500, seed=0):
    tokens = np.random.default_rng(seed).integers(0, vocab, (count, width)).astype(np.int32)
    full = np.full(count, width, np.int32)
    return Contexts(tokens, full, np.arange(count, dtype=np.int32), np.zeros(count, np.int32))


def a_stream(
    model=None, layers=(0, 1), seed=0, buffer=32, repeats=2, batch=64, trained=None, **positions
):
    return Stream(
        model or PlantedModel(),
        some_contexts(),
        layers,
        PositionsPart(**positions),
        Buffers(buffer, repeats, batch, seed),
        batch_contexts=8,
        trained=trained,
    )
