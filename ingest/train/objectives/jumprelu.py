"""JumpReLU (Rajamanoharan et al. 2024, arXiv 2407.14435): a learned threshold for every feature.

A feature fires with its whole pre-activation p once that exceeds its threshold t. Neither that nor
the count of firings has a useful derivative by t; the straight-through estimator takes for them

    d p H(p - t) / dt = -(t / w) K((p - t) / w),    d H(p - t) / dt = -(1 / w) K((p - t) / w)

with bandwidth w and K = 1 on (-1/2, 1/2), else 0. The penalty is weight (L0 / k - 1)^2, so that k
is the L0 that training steers to. Thresholds are trained as logarithms and begin where k features
fire on average.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ingest.train.objectives.objective import Objective, Pass, Stack
from ingest.train.params import Params, Scale
from ingest.train.step import csr, largest, sampled

SAMPLE = 1024
"""Activations on which the first threshold is set."""


class JumpRelu(Objective):
    """Thresholds learned by a straight-through estimator; k is the target of L0."""

    def start(self, z: Tensor, generators: Sequence[torch.Generator]) -> tuple[Params, Scale]:
        params, scale = super().start(z, generators)
        x = scale.apply(z[:SAMPLE].transpose(0, 1).contiguous())
        for layer, w_enc in enumerate(params.w_enc):
            pre = x[layer] @ w_enc.T
            firing = largest(pre, self.sae.k * len(pre), 0.0)
            if len(firing):  # none where z never changes
                params.log_threshold[layer] = pre.flatten()[firing].min().log()
        return params, scale

    def hits(self, pre: Tensor, step: int, cut: float, log_threshold: Tensor) -> Tensor:  # noqa: ARG002
        return (pre > log_threshold.exp().to(pre.dtype)).flatten().nonzero().squeeze(-1)

    def add_gradients(self, params: Params, gradients: Params, batch: Pass) -> None:
        threshold = params.log_threshold[batch.layer].exp()
        n, d_sae = batch.pre.shape
        width = self.sae.bandwidth
        near = ((batch.pre - threshold).abs() < width / 2).flatten().nonzero().squeeze(-1)
        features = near % d_sae
        at = csr(near // d_sae, features, torch.zeros(len(near), device=near.device), (n, d_sae))
        by_act = sampled(at, batch.slope, params.w_dec[batch.layer])
        k = self.sae.k
        by_count = self.sae.l0_weight * 2 * (batch.l0 / k - 1) / k / n
        by_threshold = -(threshold[features] * by_act + by_count) / width
        gradient = torch.zeros_like(threshold).index_add_(0, features, by_threshold)
        gradients.log_threshold[batch.layer] = gradient * threshold

    def acts(
        self,
        pre: Tensor,
        step: int,  # noqa: ARG002
        log_threshold: Tensor,
    ) -> tuple[Tensor, Tensor]:
        threshold = log_threshold.exp().to(pre.dtype)[:, None]
        none = torch.zeros(len(pre), dtype=torch.bool, device=pre.device)
        return pre * (pre > threshold), none

    def add_stacked_gradients(self, params: Params, gradients: Params, batch: Stack) -> None:
        threshold, width = params.log_threshold.exp(), self.sae.bandwidth
        n, k = batch.pre.shape[1], self.sae.k
        near = (batch.pre - threshold.to(batch.pre.dtype)[:, None]).abs() < width / 2
        by_act = (batch.by_act * near).sum(1, dtype=torch.float32)
        by_count = self.sae.l0_weight * 2 * (batch.l0 / k - 1) / k / n
        by_threshold = -(threshold * by_act + by_count[:, None] * near.sum(1)) / width
        gradients.log_threshold.copy_(by_threshold * threshold)

    def threshold(self, params: Params, cut: Tensor) -> Tensor:  # noqa: ARG002
        return params.log_threshold.exp()
