"""Loss and gradients of a batch, computed over the firings alone.

With k of d_sae features firing per token, only the encoder needs a dense product; decoder,
residual and both weight gradients are sparse products over the firings. That is several times
less arithmetic than automatic differentiation of the dense form, which the tests keep as oracle.
"""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from ingest.train.params import Params

AUX_TOKENS = 256
"""Tokens of a batch on which dead features are trained."""


class Selected(NamedTuple):
    """The firings of one layer in a batch: a sparse matrix `[batch, d_sae]` of activations."""

    acts: Tensor  # CSR
    rows: Tensor  # [hit], token of each firing, ascending


class LayerStep(NamedTuple):
    """What one layer's batch gave."""

    squared_error: float  # mean over tokens of |x - x_hat|^2
    l0: float
    lowest: float  # smallest activation that was let through
    fired: Tensor  # [d_sae], bool


def largest(pre: Tensor, count: int, guess: float) -> Tensor:
    """Flat indices of the `count` largest positive entries of `pre`, ascending.

    Args:
        pre: `[batch, d_sae]`.
        count: how many.
        guess: about where the cut lies; only speed depends on it, since sorting the few entries
            above it replaces sorting all.
    """
    flat = pre.flatten()
    above = (flat > max(0.0, guess)).nonzero().squeeze(-1)
    if len(above) < count:
        above = (flat > 0).nonzero().squeeze(-1)
    if len(above) > count:
        above = above[flat[above].topk(count, sorted=False).indices].sort().values
    return above


def select(x: Tensor, w_enc: Tensor, b_enc: Tensor, hits: Tensor) -> Selected:
    """Firings at flat indices `hits`, their values computed in float32.

    Args:
        x: `[batch, d_in]`.
        w_enc: `[d_sae, d_in]`.
        b_enc: `[d_sae]`.
        hits: `[hit]` flat indices into `[batch, d_sae]`, ascending.
    """
    rows, columns = hits // len(w_enc), hits % len(w_enc)
    pattern = csr(rows, columns, torch.zeros(len(hits), device=x.device), (len(x), len(w_enc)))
    values = torch.sparse.sampled_addmm(pattern, x, w_enc.T).values() + b_enc[columns]
    return Selected(csr(rows, columns, values.clamp(min=0), pattern.shape), rows)


def layer_step(
    params: Params, gradients: Params, layer: int, x: Tensor, chosen: Selected, l1: float
) -> tuple[LayerStep, Tensor]:
    """Loss (|x - x_hat|^2 + l1 * sum acts) / d_in, averaged over tokens, and its gradients.

    Args:
        params: weights.
        gradients: written to, same shapes.
        layer: which.
        x: `[batch, d_in]`, normalised.
        chosen: the firings.
        l1: weight of the L1 penalty in normalised units.

    Returns:
        Figures of the step, and the residual x - x_hat `[batch, d_in]`.
    """
    w_dec = params.w_dec[layer]
    n, d_in = x.shape
    residual = x - (chosen.acts @ w_dec + params.b_dec[layer])
    slope = residual * (-2 / (n * d_in))  # of the loss by x_hat
    by_acts = torch.sparse.sampled_addmm(_zeros_like(chosen.acts), slope, w_dec.T).values()
    by_acts = (by_acts + l1 / (n * d_in)) * (chosen.acts.values() > 0)
    columns = chosen.acts.col_indices()
    order = columns.argsort(stable=True)
    by_feature = (columns[order], chosen.rows[order])
    shape = (len(w_dec), n)
    gradients.w_dec[layer] = csr(*by_feature, chosen.acts.values()[order], shape) @ slope
    gradients.w_enc[layer] = csr(*by_feature, by_acts[order], shape) @ x
    gradients.b_enc[layer] = torch.zeros_like(params.b_enc[layer]).index_add_(0, columns, by_acts)
    gradients.b_dec[layer] = slope.sum(0)
    fired = torch.zeros(len(w_dec), dtype=torch.bool, device=x.device)
    fired[columns] = True
    values = chosen.acts.values()
    figures = LayerStep(
        float(residual.square().sum() / n),
        len(values) / n,
        float(values.min()) if len(values) else 0.0,
        fired,
    )
    return figures, residual


def revive(
    params: Params,
    gradients: Params,
    layer: int,
    x: Tensor,
    residual: Tensor,
    dead: Tensor,
    weight: float,
) -> None:
    """Add the gradients of AuxK: dead features learn to rebuild what the live ones left over.

    Gao et al. 2024 (arXiv 2406.04093, section A.2); the residual is taken as given.

    Args:
        params: weights.
        gradients: added to.
        layer: which.
        x: `[batch, d_in]`.
        residual: `[batch, d_in]`, x - x_hat.
        dead: `[dead]` indices of dead features; nothing happens when empty.
        weight: of this loss beside the main one.
    """
    if not len(dead) or not weight:
        return
    x, residual = x[:AUX_TOKENS], residual[:AUX_TOKENS]
    n, d_in = x.shape
    w_enc, w_dec = params.w_enc[layer][dead], params.w_dec[layer][dead]
    pre = x @ w_enc.T + params.b_enc[layer][dead]
    top = pre.topk(min(d_in // 2, len(dead)), dim=-1)
    acts = torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())
    slope = (acts @ w_dec - residual) * (2 * weight / (n * d_in))
    by_pre = (slope @ w_dec.T) * (acts > 0)
    gradients.w_dec[layer].index_add_(0, dead, acts.T @ slope)
    gradients.w_enc[layer].index_add_(0, dead, by_pre.T @ x)
    gradients.b_enc[layer].index_add_(0, dead, by_pre.sum(0))


def project_and_clip(params: Params, gradients: Params, limit: float = 1.0) -> None:
    """Drop the decoder gradient along each row, then bound each layer's gradient norm."""
    along = (gradients.w_dec * params.w_dec).sum(-1, keepdim=True)
    gradients.w_dec.addcmul_(along, params.w_dec, value=-1)
    square = sum(part.square().flatten(1).sum(1) for part in gradients)
    factor = (limit / torch.as_tensor(square).sqrt().clamp(min=1e-12)).clamp(max=1.0)
    for part in gradients:
        part.mul_(factor.view(-1, *[1] * (part.ndim - 1)))


def csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A sparse matrix from row-sorted entries."""
    starts = torch.zeros(shape[0] + 1, dtype=torch.int64, device=rows.device)
    starts[1:] = torch.bincount(rows, minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # once: "beta", "invariants"
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


def _zeros_like(sparse: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")
        return torch.sparse_csr_tensor(
            sparse.crow_indices(),
            sparse.col_indices(),
            torch.zeros_like(sparse.values()),
            sparse.shape,
            check_invariants=False,
        )
