"""The SAEs under training, all layers stacked, in normalised units.

Inputs are centred and scaled so that their mean squared norm is d_in; `fold` undoes both when the
SAEs are saved, so nothing downstream knows of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.sae import Sae


class Params(NamedTuple):
    """Weights of all layers' SAEs. Decoder rows have unit norm."""

    w_enc: Tensor  # [layer, d_sae, d_in]
    b_enc: Tensor  # [layer, d_sae]
    w_dec: Tensor  # [layer, d_sae, d_in]
    b_dec: Tensor  # [layer, d_in]


class Scale(NamedTuple):
    """How raw z becomes training input: (z - mean) * factor."""

    mean: Tensor  # [layer, d_in]
    factor: Tensor  # [layer]

    def apply(self, z: Tensor) -> Tensor:
        """Raw z `[layer, n, d_in]` to float32 training input of the same shape."""
        return (z.float() - self.mean[:, None]) * self.factor[:, None, None]


def measure_scale(z: Tensor) -> Scale:
    """Mean per dimension, and the factor that makes the mean squared norm d_in.

    Args:
        z: `[token, layer, d_in]`.
    """
    z = z.float()
    mean = z.mean(0)
    power = (z - mean).square().sum(-1).mean(0)
    return Scale(mean, (z.shape[-1] / power.clamp(min=1e-12)).sqrt())


def initialise(
    z: Tensor, scale: Scale, d_sae: int, generator: torch.Generator, variance: float = 0.99
) -> Params:
    """Random unit decoder rows inside the active subspace, encoders their transpose, biases 0.

    Attention outputs use part of their directions only; rows outside would be born dead
    (arXiv 2508.16929).

    Args:
        z: `[token, layer, d_in]`, raw activations that show the subspace.
        scale: how they are normalised.
        d_sae: features per SAE.
        generator: source of randomness, on the CPU.
        variance: share of the variance that the subspace holds.
    """
    rows = []
    for layer in range(z.shape[1]):
        x = (z[:, layer].float() - scale.mean[layer]) * scale.factor[layer]
        values, vectors = torch.linalg.eigh(x.T @ x / len(x))
        share = values.flip(0).cumsum(0) / values.sum()
        rank = int((share < variance).sum()) + 1
        basis = vectors[:, -rank:]
        mix = torch.randn(d_sae, rank, generator=generator).to(basis.device)
        rows.append(torch.nn.functional.normalize(mix @ basis.T, dim=-1))
    w_dec = torch.stack(rows)
    zeros = torch.zeros(w_dec.shape[:2], device=w_dec.device)
    return Params(w_dec.clone(), zeros, w_dec, torch.zeros_like(scale.mean))


def fold(params: Params, scale: Scale, threshold: Tensor) -> list[Sae]:
    """One SAE per layer on raw z; activations in raw units too.

    With x = (z - mean) s: acts / s = z @ w_enc.T + (b_enc / s - mean @ w_enc.T), and
    z_hat = (acts / s) @ w_dec + b_dec / s + mean.

    Args:
        params: trained weights.
        scale: their normalisation.
        threshold: `[layer, d_sae]` in normalised units.
    """
    saes = []
    for layer in range(len(params.w_enc)):
        w_enc, w_dec = params.w_enc[layer], params.w_dec[layer]
        mean, s = scale.mean[layer], scale.factor[layer]
        saes.append(
            Sae(
                w_enc.clone(),
                params.b_enc[layer] / s - w_enc @ mean,
                w_dec.clone(),
                params.b_dec[layer] / s + mean,
                threshold[layer] / s,
            )
        )
    return saes
