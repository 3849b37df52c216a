"""What follows from weights alone: logit effects, head shares, nearest decoder directions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.lens.sae import Sae
from atlas.model import LanguageModel

BLOCK = 1024
"""Features per product with the vocabulary or with all other features."""


class Logits(NamedTuple):
    """Tokens that every feature promotes and suppresses."""

    top_tokens: NDArray[Any]  # int32 [feature, rank]
    top_logits: NDArray[Any]
    bottom_tokens: NDArray[Any]
    bottom_logits: NDArray[Any]


class Nearest(NamedTuple):
    """Nearest features by cosine of the decoder's image in the residual stream."""

    layer: NDArray[Any]  # int32 [feature, rank]
    feature: NDArray[Any]
    cosine: NDArray[Any]


@torch.inference_mode()
def logit_effects(model: LanguageModel, layer: int, sae: Sae, count: int) -> Logits:
    """Strongest effects of each decoder row through W_O, final norm weight and unembedding."""
    directions = _written(model, layer, sae)
    parts = []
    for block in directions.split(BLOCK):
        effects = model.logit_effects(block)
        up, down = effects.topk(count, 1), effects.topk(count, 1, largest=False)
        parts.append([up.indices.int(), up.values, down.indices.int(), down.values])
    return Logits(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


@torch.inference_mode()
def directions(model: LanguageModel, saes: Mapping[int, Sae]) -> dict[int, torch.Tensor]:
    """Layer to what each feature writes into the residual stream: unit `[feature, d_model]`."""
    return {
        layer: torch.nn.functional.normalize(_written(model, layer, sae), dim=-1)
        for layer, sae in saes.items()
    }


@torch.inference_mode()
def nearest(
    written: Mapping[int, torch.Tensor], alive: Mapping[int, NDArray[Any]], count: int
) -> dict[int, Nearest]:
    """For each feature its `count` nearest live ones in every layer's SAE, itself left out.

    Args:
        written: as `directions` gives them.
        alive: layer to whether each feature ever fired.
        count: neighbours per feature and layer.

    Returns:
        Layer to `[feature, count * layers]`; -1 features and cosines of -inf where there are fewer.
    """
    found = {}
    for layer, mine in written.items():
        parts = [
            _nearest_in(mine, theirs, torch.from_numpy(alive[other]), other, count, layer == other)
            for other, theirs in written.items()
        ]
        found[layer] = Nearest(*(np.concatenate(column, 1) for column in zip(*parts, strict=True)))
    return found


def _nearest_in(
    mine: torch.Tensor,
    theirs: torch.Tensor,
    alive: torch.Tensor,
    layer: int,
    count: int,
    same: bool,
) -> Nearest:
    rows = []
    dead = ~alive.to(mine.device)
    for begin in range(0, len(mine), BLOCK):
        cosine = mine[begin : begin + BLOCK] @ theirs.T
        cosine[:, dead] = -torch.inf
        if same:
            own = torch.arange(len(cosine), device=mine.device)
            cosine[own, own + begin] = -torch.inf
        rows.append(cosine.topk(min(count, cosine.shape[1]), dim=1))
    values = torch.cat([row.values for row in rows]).cpu().numpy()
    indices = torch.cat([row.indices for row in rows]).int().cpu().numpy()
    indices[~np.isfinite(values)] = -1
    return Nearest(np.full(indices.shape, layer, np.int32), indices, values)


def _written(model: LanguageModel, layer: int, sae: Sae) -> torch.Tensor:
    """What each feature writes into the residual stream per unit, `[feature, d_model]`."""
    return model.writes(layer, sae.w_dec)
