"""The SAEs under training, all layers stacked, in normalised units.

Inputs are centred and scaled so that their mean squared norm is d_in; `fold` undoes both when the
SAEs are saved, so nothing downstream knows of it.
"""

import math
from collections.abc import Sequence
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
    log_threshold: Tensor  # [layer, d_sae], JumpReLU's; no other objective moves it


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
    # Layer by layer: how a sum over several is split would depend on how many there are.
    alone = [_scale(z[:, layer].float()) for layer in range(z.shape[1])]
    return Scale(*map(torch.stack, zip(*alone, strict=True)))


def _scale(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean(0)
    power = (x - mean).square().sum(-1).mean(0)
    return mean, (x.shape[-1] / power.clamp(min=1e-12)).sqrt()


def initialise(
    z: Tensor,
    scale: Scale,
    d_sae: int,
    generators: Sequence[torch.Generator],
    variance: float = 0.99,
) -> Params:
    """Random unit decoder rows inside the active subspace, encoders their transpose, biases 0.

    Attention outputs use part of their directions only; rows outside would be born dead
    (arXiv 2508.16929).

    Args:
        z: `[token, layer, d_in]`, raw activations that show the subspace.
        scale: how they are normalised.
        d_sae: features per SAE.
        generators: a source of randomness per layer, on the CPU.
        variance: share of the variance that the subspace holds.
    """
    rows = []
    for layer, generator in enumerate(generators):
        x = (z[:, layer].float() - scale.mean[layer]) * scale.factor[layer]
        values, vectors = torch.linalg.eigh(x.T @ x / len(x))
        share = values.flip(0).cumsum(0) / values.sum()
        rank = int((share < variance).sum()) + 1
        basis = vectors[:, -rank:]
        mix = torch.randn(d_sae, rank, generator=generator).to(basis.device)
        rows.append(torch.nn.functional.normalize(mix @ basis.T, dim=-1))
    w_dec = torch.stack(rows)
    return _without_biases(w_dec.clone(), w_dec)


def apart(z: Tensor, d_sae: int, generators: Sequence[torch.Generator]) -> Params:
    """Encoder and decoder drawn apart, as in PAPER.md section 3.1: Kaiming-uniform, unit rows.

    The encoder's range is that of the paper's code, whose matrix is `[d_in, d_sae]`.

    Args:
        z: `[token, layer, d_in]`, for the shape and device.
        d_sae: features per SAE.
        generators: a source of randomness per layer, on the CPU.
    """
    drawn = [torch.rand(2, d_sae, z.shape[2], generator=one) * 2 - 1 for one in generators]
    w_enc, w_dec = torch.stack(drawn, dim=1)
    w_enc = w_enc * math.sqrt(6 / d_sae)
    w_dec = torch.nn.functional.normalize(w_dec, dim=-1)
    return _without_biases(w_enc.to(z.device), w_dec.to(z.device))


def unscaled(z: Tensor) -> Scale:
    """The scale that leaves `[token, layer, d_in]` activations as they are."""
    _, layers, d_in = z.shape
    zeros = torch.zeros(layers, d_in, device=z.device)
    return Scale(zeros, torch.ones(layers, device=z.device))


def _without_biases(w_enc: Tensor, w_dec: Tensor) -> Params:
    by_feature = torch.zeros(w_dec.shape[:2], device=w_dec.device)
    b_dec = torch.zeros(len(w_dec), w_dec.shape[2], device=w_dec.device)
    return Params(w_enc, by_feature, w_dec, b_dec, by_feature.clone())


def fold(
    params: Params, scale: Scale, threshold: Tensor, k: int = 0, tied: bool = False
) -> list[Sae]:
    """One SAE per layer on raw z; activations in raw units too.

    With x = (z - mean) s: acts / s = z @ w_enc.T + (b_enc / s - mean @ w_enc.T), and
    z_hat = (acts / s) @ w_dec + b_dec / s + mean.

    Args:
        params: trained weights.
        scale: their normalisation.
        threshold: `[layer, d_sae]` in normalised units.
        k: features that fire per token, for TopK; 0 for all others.
        tied: whether the encoder saw x - b_dec.
    """
    saes = []
    for layer in range(len(params.w_enc)):
        w_enc, w_dec = params.w_enc[layer], params.w_dec[layer]
        mean, s = scale.mean[layer], scale.factor[layer]
        b_enc = params.b_enc[layer] - (w_enc @ params.b_dec[layer]) * tied
        saes.append(
            Sae(
                w_enc.clone(),
                b_enc / s - w_enc @ mean,
                w_dec.clone(),
                params.b_dec[layer] / s + mean,
                threshold[layer] / s,
                k,
            )
        )
    return saes
