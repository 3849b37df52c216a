"""Loss and gradients of all layers at once, in shapes that never depend on what the data holds.

Meant for CUDA: nothing here asks the device for a value, so the host runs ahead of it and the
kernels of a step can be captured. The step over single layers (ingest/train/step.py) computes the
same and is the oracle of the tests. Two ways from the firings on:

- dense: activations spread out to `[layer, batch, d_sae]`, five matrix products;
- sparse: the firings alone, by kernels that gather weight rows (ingest/train/kernels.py).
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ingest.train.params import Params
from ingest.train.step import AUX_TOKENS

SAMPLE = 1024
"""Tokens of a batch from which the bound of its candidates is estimated."""
LOW, ROOM = 1.4, 2.0
"""Candidates aimed at, and candidates there is room for, as parts of the firings wanted."""


class Chosen(NamedTuple):
    """Places of several layers that fire, by token, then feature; the same number in each layer.

    A place whose value is not above 0 does not fire; where there are too few, such places fill up
    the end, beyond the last token.
    """

    rows: Tensor  # [layer, place] int64, token, ascending; the batch's length for a filler
    columns: Tensor  # [layer, place] int64, feature
    values: Tensor  # [layer, place], pre-activations in the precision of the encoder product
    missed: Tensor  # [layer], bool: there was no room for all candidates, or there were too few


class Done(NamedTuple):
    """What a batch gave, for several layers."""

    squared_error: Tensor  # [layer], mean over tokens of |x - x_hat|^2
    l0: Tensor  # [layer]
    lowest: Tensor  # [layer], smallest activation; 0 where nothing fired
    fired: Tensor  # [layer, d_sae], firings
    residual: Tensor  # [layer, batch, d_in], x - x_hat


class ByToken(NamedTuple):
    """What each token's firings give."""

    values: Tensor  # [layer, place], activation, at least 0; 0 for fillers
    along: Tensor  # [layer, place], residual . decoder row; 0 for fillers
    residual: Tensor  # [layer, batch, d_in], x - x_hat
    errors: Tensor  # [layer, batch], |residual|^2


class Hits(NamedTuple):
    """Firings in the order of their features, within a feature by token."""

    order: Tensor  # [layer, hit] int64, place of each hit
    starts: Tensor  # [layer, d_sae + 1] int64, first hit of each feature; the last is their number
    rows: Tensor  # [layer, place], token
    by_w_dec: Tensor  # [layer, place], what multiplies the residual in the decoder's gradient
    by_w_enc: Tensor  # [layer, place], what multiplies x in the encoder's gradient


class Kernels(Protocol):
    """The two halves of the sparse step and of the descent, in float32 but for gathered rows."""

    def by_token(
        self, x: Tensor, params: Params, w_dec: Tensor, starts: Tensor, columns: Tensor
    ) -> ByToken:
        """Activations, reconstruction and residual, and the residual's products.

        Args:
            x: `[layer, batch, d_in]`, float32.
            params: weights.
            w_dec: `[layer, d_sae, d_in]`, the decoder in the precision to gather it in.
            starts: `[layer, batch + 1]`, first place of each token.
            columns: `[layer, place]`, features.
        """
        ...

    def by_feature(self, gradients: Params, x: Tensor, residual: Tensor, hits: Hits) -> None:
        """Write the gradients of the weight rows and of the encoder's bias, feature by feature.

        Args:
            gradients: w_enc, b_enc and w_dec are written, also where a feature has no hit.
            x: `[layer, batch, d_in]`, in the precision to gather it in.
            residual: `[layer, batch, d_in]`, likewise.
            hits: which, and with what weights.
        """
        ...

    def project(self, params: Params, gradients: Params) -> Tensor:
        """Drop the decoder gradient along each row; the square `[layer]` of both matrices'."""
        ...

    def adam(
        self,
        weights: Tensor,
        gradient: Tensor,
        moments: list[Tensor],
        factor: Tensor,
        rate: float,
        betas: tuple[float, float],
        correct: list[float],
        renormalise: bool,
    ) -> None:
        """A step of Adam with gradients times `factor`, as PyTorch's with eps = 1e-8.

        Args:
            weights: `[layer, d_sae, d_in]`, written to.
            gradient: likewise, read.
            moments: the first and the second, likewise, written to.
            factor: `[layer]`.
            rate: learning rate.
            betas: of the moments.
            correct: 1 - beta^step of each.
            renormalise: whether rows get unit norm afterwards.
        """
        ...


def part_of(params: Params, layers: slice) -> Params:
    """Views of some layers' weights."""
    return Params(*(part[layers] for part in params))


def pre_activations(params: Params, entering: Tensor, dtype: torch.dtype) -> Tensor:
    """`[layer, batch, d_sae]` in `dtype`, of inputs `[layer, batch, d_in]`."""
    bias, w_enc = params.b_enc[:, None].to(dtype), params.w_enc.to(dtype)
    return torch.baddbmm(bias, entering.to(dtype), w_enc.mT)


def largest_of_batch(pre: Tensor, count: int, slack: float = 1.0) -> Chosen:
    """The `count` largest positive entries of each layer: what `step.largest` finds.

    Candidates lie above a bound that some tokens of the batch show, which is why tokens have to
    come in random order; the cut among candidates is exact. `missed` says where the bound was so
    far off that some of the largest were not among the candidates.

    Args:
        pre: `[layer, batch, d_sae]`.
        count: how many per layer.
        slack: more than 1 for more room.
    """
    layers, n, d_sae = pre.shape
    size = n * d_sae
    count = min(count, size)
    room = min(size, math.ceil(ROOM * slack * count))
    low = _bound(pre, min(size, LOW * slack * count))
    flat = pre.flatten(1)
    found = torch.stack(
        [
            torch.nonzero_static(flat[layer] >= low[layer], size=room, fill_value=size).squeeze(-1)
            for layer in range(layers)
        ]
    )
    there = found < size
    values = flat.gather(1, found.clamp(max=size - 1)).masked_fill(~there, 0)
    cut = values.topk(count, sorted=False).values.amin(1, keepdim=True)
    above = values > cut
    ties = there & (values == cut)
    kept = above | ties & (ties.cumsum(1) <= count - above.sum(1, keepdim=True))
    place = torch.where(kept, kept.cumsum(1) - 1, count)
    at = found.new_full((layers, count + 1), size).scatter_(1, place, found)[:, :count]
    at_values = values.new_zeros(layers, count + 1).scatter_(1, place, values)[:, :count]
    full = there[:, -1] if room < size else torch.zeros_like(there[:, -1])
    few = (kept.sum(1) < count) & (low > torch.finfo(pre.dtype).tiny)
    at_values = at_values.masked_fill(at == size, 0)
    return Chosen(at // d_sae, at % d_sae, at_values, full | few)


def _bound(pre: Tensor, count: float) -> Tensor:
    """`[layer]`: what about `count` entries of each layer exceed; at least the least positive."""
    some = pre[:, :SAMPLE].flatten(1)
    wanted = max(1, min(some.shape[1], round(count * some.shape[1] / pre[0].numel())))
    bound: Tensor = some.topk(wanted, sorted=False).values.amin(1)
    return bound.clamp(min=torch.finfo(pre.dtype).tiny)


def largest_of_tokens(pre: Tensor, k: int) -> Chosen:
    """The k largest entries of each token; those that are not positive do not fire.

    Args:
        pre: `[layer, batch, d_sae]`.
        k: how many per token.
    """
    layers, n, _ = pre.shape
    columns, order = pre.topk(k, dim=-1, sorted=False).indices.sort(dim=-1)
    values = pre.gather(-1, columns)
    rows = torch.arange(n, device=pre.device).repeat_interleave(k).repeat(layers, 1)
    missed = torch.zeros(layers, dtype=torch.bool, device=pre.device)
    return Chosen(rows, columns.flatten(1), values.flatten(1), missed)


def spread(chosen: Chosen, pre: Tensor) -> Tensor:
    """Activations `[layer, batch, d_sae]`, zero where nothing was chosen, in `pre`'s precision."""
    _, n, d_sae = pre.shape
    at = (chosen.rows * d_sae + chosen.columns).clamp(max=n * d_sae - 1)
    # Adding, because fillers share a place with a firing; each sum has one term that is not 0.
    return torch.zeros_like(pre).flatten(1).scatter_add_(1, at, chosen.values.relu()).view_as(pre)


def dense(
    params: Params,
    gradients: Params,
    x: Tensor,
    entering: Tensor,
    acts: Tensor,
    edges: tuple[int, ...],
    l1: float,
) -> tuple[Done, Tensor]:
    """What `step.layer_step` computes, for several layers, by products with all activations.

    Args:
        params: weights.
        gradients: written to, same shapes.
        x: `[layer, batch, d_in]`, normalised, float32.
        entering: what the encoder saw, same shape.
        acts: `[layer, batch, d_sae]`, in the precision of the products.
        edges: ends of the nested prefixes, ascending; the last is d_sae.
        l1: weight of the L1 penalty in normalised units.

    Returns:
        What the batch gave, and `[layer, batch, d_sae]`: the gradient of the error by every
        activation, whether it fired or not, in the precision of the products.
    """
    n, d_in = x.shape[1:]
    w_dec, seen = params.w_dec.to(acts.dtype), entering.to(acts.dtype)
    bands = [slice(*band) for band in zip((0, *edges), edges, strict=False)]
    x_hat, residuals = params.b_dec[:, None], []
    for band in bands:
        x_hat = product(acts[..., band], w_dec[:, band]) + x_hat
        residuals.append(x - x_hat)
    slope, parts = torch.zeros_like(x), []
    for band, left in zip(bands[::-1], residuals[::-1], strict=True):
        slope.add_(left, alpha=-2 / (n * d_in * len(bands)))
        thin = slope.to(acts.dtype)
        by_act = thin @ w_dec[:, band].mT
        by_pre = (by_act + l1 / (n * d_in)) * (acts[..., band] > 0)
        gradients.w_dec[:, band] = product(acts[..., band].mT, thin)
        gradients.w_enc[:, band] = product(by_pre.mT, seen)
        gradients.b_enc[:, band] = by_pre.sum(1, dtype=torch.float32)
        parts.append(by_act)
    gradients.b_dec.copy_(slope.sum(1))
    fires = acts > 0
    fired = fires.sum(1)
    lowest = torch.where(fires, acts, torch.inf).flatten(1).amin(1).float()
    error = residuals[-1].square().sum((1, 2)) / n
    l0 = fired.sum(1) / n
    return Done(error, l0, _finite(lowest), fired, residuals[-1]), torch.cat(parts[::-1], -1)


def sparse(
    params: Params,
    gradients: Params,
    x: Tensor,
    chosen: Chosen,
    dtype: torch.dtype,
    kernels: Kernels,
) -> Done:
    """What `dense` computes for one prefix and no L1 penalty, over the firings alone.

    Activations are products of float32 inputs and weights; other rows are gathered in `dtype`.

    Args:
        params: weights.
        gradients: written to, same shapes.
        x: `[layer, batch, d_in]`, normalised, float32; also what the encoder saw.
        chosen: places that may fire.
        dtype: precision of the decoder, residual and input rows that are gathered.
        kernels: what gathers them.
    """
    n, d_in = x.shape[1:]
    starts = _starts(chosen.rows, n)
    found = kernels.by_token(x, params, params.w_dec.to(dtype), starts, chosen.columns)
    factor = -2 / (n * d_in)
    fires = found.values > 0
    hits = _by_feature(chosen, found, fires, factor, params.b_enc.shape[1])
    kernels.by_feature(gradients, x.to(dtype), found.residual.to(dtype), hits)
    gradients.b_dec.copy_(found.residual.sum(1) * factor)
    # As they were chosen: the least of float32 values is lower than the cut that rounding saw.
    lowest = torch.where(fires, chosen.values, torch.inf).amin(1).float()
    l0 = hits.starts[:, -1] / n
    return Done(
        found.errors.sum(1) / n, l0, _finite(lowest), hits.starts.diff(dim=1), found.residual
    )


def _by_feature(chosen: Chosen, found: ByToken, fires: Tensor, factor: float, d_sae: int) -> Hits:
    keys = chosen.columns.masked_fill(~fires, d_sae).int()
    keys, order = keys.sort(dim=1, stable=True)
    return Hits(
        order,
        _starts(keys, d_sae),
        chosen.rows,
        found.values * factor,
        found.along.masked_fill(~fires, 0) * factor,
    )


def _starts(ascending: Tensor, count: int) -> Tensor:
    """`[layer, count + 1]`: where each number's run begins in `[layer, n]` ascending ones."""
    numbers = torch.arange(count + 1, device=ascending.device, dtype=ascending.dtype)
    return torch.searchsorted(ascending, numbers.expand(len(ascending), -1).contiguous())


def _finite(lowest: Tensor) -> Tensor:
    return lowest.masked_fill(lowest.isinf(), 0)


def revive(
    params: Params,
    gradients: Params,
    x: Tensor,
    residual: Tensor,
    dead: Tensor,
    weight: float,
    dtype: torch.dtype,
) -> None:
    """Add the gradients of AuxK as `step.revive` does, for several layers.

    Args:
        params: weights.
        gradients: added to.
        x: `[layer, batch, d_in]`.
        residual: `[layer, batch, d_in]`, x - x_hat.
        dead: `[layer, d_sae]`, bool.
        weight: of this loss beside the main one.
        dtype: precision of the products.
    """
    x, residual = x[:, :AUX_TOKENS], residual[:, :AUX_TOKENS]
    n, d_in = x.shape[1:]
    w_dec, seen = params.w_dec.to(dtype), x.to(dtype)
    pre = pre_activations(params, x, dtype).masked_fill(~dead[:, None], -torch.inf)
    top = pre.topk(min(d_in // 2, pre.shape[-1]), dim=-1, sorted=False)
    acts = torch.zeros_like(pre).scatter_(-1, top.indices, top.values.relu())
    slope = ((product(acts, w_dec) - residual) * (2 * weight / (n * d_in))).to(dtype)
    by_pre = (slope @ w_dec.mT) * (acts > 0)
    gradients.w_dec.add_(product(acts.mT, slope))
    gradients.w_enc.add_(product(by_pre.mT, seen))
    gradients.b_enc.add_(by_pre.sum(1, dtype=torch.float32))


def product(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` over layers, in float32 whatever the precision of the factors."""
    if left.is_cuda and left.dtype != torch.float32:
        return torch.bmm(left, right, out_dtype=torch.float32)
    return torch.bmm(left, right).float()
