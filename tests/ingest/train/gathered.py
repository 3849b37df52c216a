"""The sparse step's kernels in plain torch: what the Triton ones are compared with."""

import torch

from ingest.train.stacked import ByToken


def by_token(x, params, w_dec, starts, columns):
    """As `stacked.Kernels.by_token`, gathering all rows at once."""
    layers, n, _ = x.shape
    layer = torch.arange(layers, device=x.device)[:, None]
    places = torch.arange(columns.shape[1], device=x.device).expand(layers, -1).contiguous()
    rows = torch.searchsorted(starts, places, right=True) - 1  # n for fillers
    there = rows < n
    rows = rows.clamp(max=n - 1)
    pre = (x[layer, rows] * params.w_enc[layer, columns]).sum(-1) + params.b_enc[layer, columns]
    values = pre.relu() * there
    gathered = w_dec[layer, columns].float()
    x_hat = params.b_dec[:, None].expand_as(x).clone()
    x_hat = x_hat.index_put((layer, rows), gathered * values[..., None], accumulate=True)
    residual = x - x_hat
    along = (residual[layer, rows] * gathered).sum(-1) * there
    return ByToken(values, along, residual, residual.square().sum(-1))


def by_feature(gradients, x, residual, hits):
    """As `stacked.Kernels.by_feature`, adding into the rows."""
    layers, n, _ = x.shape
    d_sae = gradients.b_enc.shape[1]
    layer = torch.arange(layers, device=x.device)[:, None]
    numbers = torch.arange(hits.order.shape[1], device=x.device).expand(layers, -1).contiguous()
    feature = torch.searchsorted(hits.starts, numbers, right=True) - 1
    there = feature < d_sae
    feature = feature.clamp(max=d_sae - 1)
    rows = hits.rows.gather(1, hits.order).clamp(max=n - 1)
    for out, seen, weight in (
        (gradients.w_dec, residual, hits.by_w_dec),
        (gradients.w_enc, x, hits.by_w_enc),
    ):
        weight = weight.gather(1, hits.order) * there
        out.zero_()
        out.index_put_((layer, feature), seen[layer, rows] * weight[..., None], accumulate=True)
    weight = hits.by_w_enc.gather(1, hits.order) * there
    gradients.b_enc.zero_()
    gradients.b_enc.index_put_((layer.expand_as(feature), feature), weight, accumulate=True)


def project(params, gradients):
    """As `stacked.Kernels.project`."""
    along = (gradients.w_dec * params.w_dec).sum(-1, keepdim=True)
    gradients.w_dec.sub_(along * params.w_dec)
    return (gradients.w_dec.square() + gradients.w_enc.square()).sum((1, 2))


def adam(weights, gradient, moments, factor, rate, betas, correct, renormalise):
    """As `stacked.Kernels.adam`."""
    g = gradient * factor[:, None, None]
    moments[0].lerp_(g, 1 - betas[0])
    moments[1].mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    weights.sub_(rate / correct[0] * moments[0] / ((moments[1] / correct[1]).sqrt() + 1e-8))
    if renormalise:
        weights.copy_(torch.nn.functional.normalize(weights, dim=-1))
