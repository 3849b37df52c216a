"""Loss and gradients of a batch, computed over the firings alone.

With k of d_sae features firing per token, only the encoder needs a dense product; decoder,
residual and both weight gradients are sparse products over the firings. That is several times
less arithmetic than automatic differentiation of the dense form, which the tests keep as oracle.
"""

import math
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ingest.train.params import Params

AUX_TOKENS = 256
"""Tokens of a batch on which dead features are trained."""


class Firings(NamedTuple):
    """The firings of one layer in a batch, ordered by token, then feature."""

    rows: Tensor  # [firing], token
    columns: Tensor  # [firing], feature
    values: Tensor  # [firing], activation
    shape: tuple[int, int]  # batch, d_sae

    def among(self, low: int, high: int) -> "Firings":
        """The firings of features from `low` to before `high`, renumbered from 0."""
        if (low, high) == (0, self.shape[1]):
            return self
        inside = (self.columns >= low) & (self.columns < high)
        rows, columns, values = (part[inside] for part in self[:3])
        return Firings(rows, columns - low, values, (self.shape[0], high - low))

    def matrix(self) -> Tensor:
        """Activations as a sparse matrix `[batch, d_sae]`, CSR."""
        return csr(self.rows, self.columns, self.values, self.shape)


class LayerStep(NamedTuple):
    """What one layer's batch gave."""

    squared_error: Tensor  # [], mean over tokens of |x - x_hat|^2
    l0: float
    lowest: Tensor  # [], smallest activation that was let through
    fired: Tensor  # [d_sae], firings
    residual: Tensor  # [batch, d_in], x - x_hat
    slope: Tensor  # [batch, d_in], gradient of the loss by x_hat


def largest(pre: Tensor, count: int, guess: float) -> Tensor:
    """Flat indices of the `count` largest positive entries of `pre`, ascending.

    Args:
        pre: `[batch, d_sae]`.
        count: how many.
        guess: about where the cut lies; only speed depends on it, since sorting the few entries
            above it replaces sorting all.
    """
    flat = pre.flatten()
    for bound in (guess, guess / 2, 0.0):
        above = (flat > max(0.0, bound)).nonzero().squeeze(-1)
        if len(above) >= count:
            break
    if len(above) <= count:
        return above
    values = flat[above]
    cut = values.topk(count, sorted=False).values.min()
    kept = above[values >= cut]
    return kept if len(kept) == count else _without_ties(flat, kept, cut, len(kept) - count)


def _without_ties(flat: Tensor, kept: Tensor, cut: Tensor, surplus: int) -> Tensor:
    """`kept` less the last `surplus` of the entries that equal the cut."""
    ties = (flat[kept] == cut).nonzero().squeeze(-1)
    mask = torch.ones(len(kept), dtype=torch.bool, device=kept.device)
    mask[ties[-surplus:]] = False
    return kept[mask]


def select(x: Tensor, w_enc: Tensor, b_enc: Tensor, hits: Tensor) -> Firings:
    """Firings at flat indices `hits`, their values computed in float32.

    Args:
        x: `[batch, d_in]`.
        w_enc: `[d_sae, d_in]`.
        b_enc: `[d_sae]`.
        hits: `[firing]` flat indices into `[batch, d_sae]`, ascending.
    """
    rows, columns = hits // len(w_enc), hits % len(w_enc)
    shape = (len(x), len(w_enc))
    pattern = csr(rows, columns, torch.zeros(len(hits), device=x.device), shape)
    values = sampled(pattern, x, w_enc) + b_enc[columns]
    return Firings(rows, columns, values.clamp(min=0), shape)


def layer_step(
    params: Params,
    gradients: Params,
    layer: int,
    x: Tensor,
    entering: Tensor,
    firings: Firings,
    edges: tuple[int, ...],
    l1: float,
) -> LayerStep:
    """Loss (|x - x_hat|^2 + l1 * sum acts) / d_in, averaged over tokens, and its gradients.

    With several edges |x - x_hat|^2 is the mean over the prefixes `features < edge`, each of which
    rebuilds x by itself.

    Args:
        params: weights.
        gradients: written to, same shapes.
        layer: which.
        x: `[batch, d_in]`, normalised.
        entering: `[batch, d_in]`, what the encoder saw: x, or x less something.
        firings: what fired.
        edges: ends of the prefixes, ascending; the last is d_sae.
        l1: weight of the L1 penalty in normalised units.
    """
    n, d_in = x.shape
    bands = list(zip((0, *edges), edges, strict=False))
    parts = [firings.among(low, high).matrix() for low, high in bands]
    x_hat, residuals = params.b_dec[layer], []
    for (low, high), acts in zip(bands, parts, strict=True):
        x_hat = acts @ params.w_dec[layer, low:high] + x_hat
        residuals.append(x - x_hat)
    slope = torch.zeros_like(x)
    for (low, high), acts, left in zip(bands[::-1], parts[::-1], residuals[::-1], strict=True):
        slope.add_(left, alpha=-2 / (n * d_in * len(bands)))
        _weights(params, gradients, layer, slice(low, high), acts, slope, entering, l1)
    gradients.b_dec[layer] = slope.sum(0)
    values = firings.values
    return LayerStep(
        residuals[-1].square().sum() / n,
        len(values) / n,
        values.min() if len(values) else values.new_zeros(()),
        torch.bincount(firings.columns, minlength=firings.shape[1]),
        residuals[-1],
        slope,
    )


def _weights(
    params: Params,
    gradients: Params,
    layer: int,
    band: slice,
    acts: Tensor,
    slope: Tensor,
    entering: Tensor,
    l1: float,
) -> None:
    """Gradients of the encoder and decoder rows of one band of features, `acts` in CSR."""
    values, columns = acts.values(), acts.col_indices()
    by_acts = sampled(acts, slope, params.w_dec[layer, band])
    by_acts = (by_acts + l1 / slope.numel()) * (values > 0)
    by_feature, order = _transposed(acts)
    gradients.w_dec[layer, band] = _with_values(by_feature, values[order]) @ slope
    gradients.w_enc[layer, band] = _with_values(by_feature, by_acts[order]) @ entering
    zeros = torch.zeros_like(params.b_enc[layer, band])
    gradients.b_enc[layer, band] = zeros.index_add_(0, columns, by_acts)


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
    if math.isinf(limit):
        return
    # Layer by layer: how a sum over several is split would depend on how many there are.
    square = torch.stack([_square(layer) for layer in zip(*gradients, strict=True)])
    factor = (limit / square.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    for part in gradients:
        part.mul_(factor.view(-1, *[1] * (part.ndim - 1)))


def _square(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([part.square().sum() for part in parts]).sum()


def sampled(pattern: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Entries of `left @ right.T` where the sparse matrix `pattern` has entries, in its order."""
    zeros = _with_values(pattern, torch.zeros_like(pattern.values()))
    found: Tensor = torch.sparse.sampled_addmm(zeros, left, right.T).values()
    return found


def csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A sparse matrix from entries whose rows ascend."""
    edges = torch.arange(shape[0] + 1, device=rows.device)
    return _sparse(torch.searchsorted(rows, edges), columns, values, shape)


def _transposed(acts: Tensor) -> tuple[Tensor, Tensor]:
    """The transpose of a CSR matrix, and which entry of the original each of its entries is."""
    numbered = _with_values(acts, torch.arange(acts.values().numel(), device=acts.device))
    turned = numbered.to_sparse_csc()
    shape = (acts.shape[1], acts.shape[0])
    order = turned.values()
    return _sparse(turned.ccol_indices(), turned.row_indices(), order, shape), order


def _with_values(pattern: Tensor, values: Tensor) -> Tensor:
    return _sparse(pattern.crow_indices(), pattern.col_indices(), values, pattern.shape)


def _sparse(
    starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...] | torch.Size
) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # once each: "beta", "invariants"
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)
