"""The sparse step's kernels, in Triton: the only file that knows it.

Each program owns what it writes (a token's row, a feature's rows), so there are no atomic additions
and the same input gives the same bits. Tests run them in Triton's interpreter on the CPU
(TRITON_INTERPRET=1) and compile them for the H100's architecture; their speed has not been measured
on any device.
"""

import torch
from torch import Tensor

from atlas.errors import ConfigError
from ingest.train.params import Params
from ingest.train.stacked import ByToken, Hits

try:
    import triton
    import triton.language as tl
except ImportError as error:  # of the wheel, or of a library that it needs
    raise ConfigError(
        f"the sparse step needs Triton, and it cannot be imported ({error})",
        "CUDA builds of PyTorch on Linux bring it; or set train.step = 'dense'",
    ) from error

HITS, WARPS = 8, 8
"""Rows that a program gathers at once, and its warps: compiled for Hopper nothing spills."""


@triton.jit
def _tokens(
    x,
    w_enc,
    b_enc,
    w_dec,
    b_dec,
    starts,
    columns,
    values,
    along,
    residual,
    errors,
    n,
    d_in,
    d_sae,
    places,
    WIDTH: tl.constexpr,
    HITS: tl.constexpr,
):
    """One token of one layer: its activations, reconstruction, residual and their products."""
    token = tl.program_id(0).to(tl.int64)
    layer = tl.program_id(1).to(tl.int64)
    at = tl.arange(0, WIDTH)
    inside = at < d_in
    own = (layer * n + token) * d_in
    x_row = tl.load(x + own + at, mask=inside, other=0.0).to(tl.float32)
    x_hat = tl.load(b_dec + layer * d_in + at, mask=inside, other=0.0)
    begin = tl.load(starts + layer * (n + 1) + token)
    end = tl.load(starts + layer * (n + 1) + token + 1)
    for first in range(begin, end, HITS):
        place = first + tl.arange(0, HITS)
        there = place < end
        feature = layer * d_sae + tl.load(columns + layer * places + place, mask=there, other=0)
        tile = there[:, None] & inside[None, :]
        rows = feature[:, None] * d_in + at[None, :]
        w = tl.load(w_enc + rows, mask=tile, other=0.0).to(tl.float32)
        value = tl.sum(w * x_row[None, :], 1) + tl.load(b_enc + feature, mask=there, other=0.0)
        value = tl.where(there, tl.maximum(value, 0.0), 0.0)
        tl.store(values + layer * places + place, value, mask=there)
        w = tl.load(w_dec + rows, mask=tile, other=0.0).to(tl.float32)
        x_hat += tl.sum(w * value[:, None], 0)
    left = tl.where(inside, x_row - x_hat, 0.0)
    tl.store(residual + own + at, left, mask=inside)
    tl.store(errors + layer * n + token, tl.sum(left * left, 0))
    for first in range(begin, end, HITS):
        place = first + tl.arange(0, HITS)
        there = place < end
        feature = layer * d_sae + tl.load(columns + layer * places + place, mask=there, other=0)
        rows = feature[:, None] * d_in + at[None, :]
        tile = there[:, None] & inside[None, :]
        w = tl.load(w_dec + rows, mask=tile, other=0.0).to(tl.float32)
        tl.store(along + layer * places + place, tl.sum(w * left[None, :], 1), mask=there)


@triton.jit
def _features(
    x,
    residual,
    order,
    starts,
    rows,
    by_w_dec,
    by_w_enc,
    g_enc,
    g_bias,
    g_dec,
    n,
    d_in,
    d_sae,
    places,
    WIDTH: tl.constexpr,
    HITS: tl.constexpr,
):
    """One feature of one layer: its rows of both weight gradients, and its bias."""
    feature = tl.program_id(0).to(tl.int64)
    layer = tl.program_id(1).to(tl.int64)
    at = tl.arange(0, WIDTH)
    inside = at < d_in
    begin = tl.load(starts + layer * (d_sae + 1) + feature)
    end = tl.load(starts + layer * (d_sae + 1) + feature + 1)
    dec = tl.zeros([WIDTH], tl.float32)
    enc = tl.zeros([WIDTH], tl.float32)
    bias = tl.zeros([HITS], tl.float32)
    for first in range(begin, end, HITS):
        hit = first + tl.arange(0, HITS)
        there = hit < end
        place = layer * places + tl.load(order + layer * places + hit, mask=there, other=0)
        row = layer * n + tl.load(rows + place, mask=there, other=0)
        inputs = row[:, None] * d_in + at[None, :]
        tile = there[:, None] & inside[None, :]
        weight = tl.load(by_w_dec + place, mask=there, other=0.0)
        left = tl.load(residual + inputs, mask=tile, other=0.0).to(tl.float32)
        dec += tl.sum(left * weight[:, None], 0)
        weight = tl.load(by_w_enc + place, mask=there, other=0.0)
        seen = tl.load(x + inputs, mask=tile, other=0.0).to(tl.float32)
        enc += tl.sum(seen * weight[:, None], 0)
        bias += weight
    own = (layer * d_sae + feature) * d_in
    tl.store(g_dec + own + at, dec, mask=inside)
    tl.store(g_enc + own + at, enc, mask=inside)
    tl.store(g_bias + layer * d_sae + feature, tl.sum(bias, 0))


@triton.jit
def _projected(w_dec, g_dec, g_enc, squares, d_in, d_sae, WIDTH: tl.constexpr):
    """One feature: its decoder gradient across its row, and the square of both gradients."""
    row = tl.program_id(1).to(tl.int64) * d_sae + tl.program_id(0)
    at = tl.arange(0, WIDTH)
    inside = at < d_in
    w = tl.load(w_dec + row * d_in + at, mask=inside, other=0.0)
    dec = tl.load(g_dec + row * d_in + at, mask=inside, other=0.0)
    enc = tl.load(g_enc + row * d_in + at, mask=inside, other=0.0)
    dec -= tl.sum(dec * w, 0) * w
    tl.store(g_dec + row * d_in + at, dec, mask=inside)
    tl.store(squares + row, tl.sum(dec * dec + enc * enc, 0))


@triton.jit
def _adam(
    weights,
    gradient,
    first,
    second,
    factor,
    rate,
    beta,
    beta_square,
    correct,
    correct_square,
    d_in,
    d_sae,
    RENORMALISE: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """One row of weights and of its moments."""
    layer = tl.program_id(1).to(tl.int64)
    at = tl.arange(0, WIDTH)
    inside = at < d_in
    place = (layer * d_sae + tl.program_id(0)) * d_in + at
    g = tl.load(gradient + place, mask=inside, other=0.0) * tl.load(factor + layer)
    m = tl.load(first + place, mask=inside, other=0.0)
    m += (g - m) * (1.0 - beta)
    v = tl.load(second + place, mask=inside, other=0.0) * beta_square
    v += g * g * (1.0 - beta_square)
    w = tl.load(weights + place, mask=inside, other=0.0)
    w -= rate / correct * m / (tl.sqrt(v / correct_square) + 1e-8)
    if RENORMALISE:
        w /= tl.maximum(tl.sqrt(tl.sum(tl.where(inside, w * w, 0.0), 0)), 1e-12)
    tl.store(first + place, m, mask=inside)
    tl.store(second + place, v, mask=inside)
    tl.store(weights + place, w, mask=inside)


def by_token(x: Tensor, params: Params, w_dec: Tensor, starts: Tensor, columns: Tensor) -> ByToken:
    """As `stacked.Kernels.by_token`."""
    layers, n, d_in = x.shape
    places = columns.shape[1]
    x = x.contiguous()
    values = torch.zeros(layers, places, device=x.device)
    along = torch.zeros_like(values)
    residual = torch.empty(layers, n, d_in, device=x.device)
    errors = torch.empty(layers, n, device=x.device)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        _tokens[(n, layers)](
            x,
            params.w_enc,
            params.b_enc,
            w_dec,
            params.b_dec,
            starts,
            columns.contiguous(),
            values,
            along,
            residual,
            errors,
            n,
            d_in,
            w_dec.shape[1],
            places,
            WIDTH=triton.next_power_of_2(d_in),
            HITS=HITS,
            num_warps=WARPS,
        )
    return ByToken(values, along, residual, errors)


def by_feature(gradients: Params, x: Tensor, residual: Tensor, hits: Hits) -> None:
    """As `stacked.Kernels.by_feature`."""
    layers, n, d_in = x.shape
    d_sae = gradients.b_enc.shape[1]
    with torch.cuda.device_of(x):  # Triton launches on the current device
        _features[(d_sae, layers)](
            x.contiguous(),
            residual.contiguous(),
            hits.order.contiguous(),
            hits.starts,
            hits.rows.contiguous(),
            hits.by_w_dec,
            hits.by_w_enc,
            gradients.w_enc,
            gradients.b_enc,
            gradients.w_dec,
            n,
            d_in,
            d_sae,
            hits.rows.shape[1],
            WIDTH=triton.next_power_of_2(d_in),
            HITS=HITS,
            num_warps=WARPS,
        )


def project(params: Params, gradients: Params) -> Tensor:
    """As `stacked.Kernels.project`."""
    layers, d_sae, d_in = params.w_dec.shape
    squares = torch.empty(layers, d_sae, device=params.w_dec.device)
    with torch.cuda.device_of(params.w_dec):  # Triton launches on the current device
        _projected[(d_sae, layers)](
            params.w_dec,
            gradients.w_dec,
            gradients.w_enc,
            squares,
            d_in,
            d_sae,
            WIDTH=triton.next_power_of_2(d_in),
        )
    return squares.sum(1)


def adam(
    weights: Tensor,
    gradient: Tensor,
    moments: list[Tensor],
    factor: Tensor,
    rate: float,
    betas: tuple[float, float],
    correct: list[float],
    renormalise: bool,
) -> None:
    """As `stacked.Kernels.adam`."""
    layers, d_sae, d_in = weights.shape
    with torch.cuda.device_of(weights):  # Triton launches on the current device
        _adam[(d_sae, layers)](
            weights,
            gradient,
            *moments,
            factor,
            rate,
            *betas,
            *correct,
            d_in,
            d_sae,
            RENORMALISE=renormalise,
            WIDTH=triton.next_power_of_2(d_in),
        )
