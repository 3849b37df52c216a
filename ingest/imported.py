"""Published SAEs in the place of trained ones: read, put on our z, checked against the model."""

import torch
from torch import Tensor

from atlas.errors import ConfigError
from atlas.lens.exchange import source
from atlas.lens.exchange.published import Published
from atlas.lens.sae import Sae, shifted
from atlas.model import LanguageModel
from ingest.config import MOST_FEATURES, PositionsPart, SaePart
from ingest.corpus import Contexts
from ingest.train.stream import harvest, sink_limits, valid_positions

SAMPLE = 64
"""Contexts on which the sinks' norms are measured."""


def read_saes(part: SaePart, model: LanguageModel) -> dict[int, Sae]:
    """The SAEs of `part.source` by layer, on this model's z.

    Raises:
        ConfigError: they cannot be found or read, are of another width than the model's z, or have
            more than MOST_FEATURES features.
    """
    assert part.source is not None
    found = source.read(part.source, part.layers)
    return {layer: _fitted(one, part, model) for layer, one in found.items()}


def _fitted(one: Published, part: SaePart, model: LanguageModel) -> Sae:
    if one.sae.d_in != model.d_in:
        raise ConfigError(
            f"the SAE of layer {one.layer} in {part.source} reads {one.sae.d_in} numbers, but z of "
            f"model {model.info.id} has {model.d_in}",
            "name the model that it was trained on",
        )
    if one.sae.d_sae > MOST_FEATURES:
        raise ConfigError(
            f"the SAE of layer {one.layer} in {part.source} has {one.sae.d_sae:,} features; at "
            f"most {MOST_FEATURES:,} can be mined"
        )
    sae = one.sae.to(model.device)
    without = one.folded if part.value_bias == "auto" else part.value_bias == "folded"
    return shifted(sae, model.value_bias(one.layer)) if without else sae


def measure_limits(
    model: LanguageModel,
    contexts: Contexts,
    layers: tuple[int, ...],
    positions: PositionsPart,
    batch_contexts: int,
) -> Tensor:
    """`[layer]`: norm of z beyond which a position is a sink, where no training has measured it."""
    tokens = torch.from_numpy(contexts.tokens[:SAMPLE]).long()
    length = torch.from_numpy(contexts.length[:SAMPLE]).long()
    z = harvest(model, tokens, layers, batch_contexts)
    valid = valid_positions(length, tokens.shape[1], positions.skip_first).to(z.device)
    return sink_limits(z, valid, positions.sink_norm)
