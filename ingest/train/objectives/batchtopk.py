"""BatchTopK (Bussmann et al. 2024, arXiv 2412.06410), plain or Matryoshka.

The k largest activations per token of a whole batch fire. The running mean of the cut becomes the
threshold of the finished SAE, so a token encodes the same alone or in any batch. With prefixes
(Matryoshka, Bussmann et al. 2025, arXiv 2503.17547), the first features alone must also rebuild x;
the loss is the mean over prefixes where the paper has the sum.
"""

import torch
from torch import Tensor

from ingest.train.objectives.objective import Objective
from ingest.train.params import Params
from ingest.train.stacked import Chosen, largest_of_batch
from ingest.train.step import largest


class BatchTopK(Objective):
    """k firings per token on average over the batch."""

    @property
    def edges(self) -> tuple[int, ...]:
        return (*self.sae.prefixes, self.sae.d_sae)

    def hits(self, pre: Tensor, step: int, cut: float, log_threshold: Tensor) -> Tensor:  # noqa: ARG002
        count = min(self.k_at(step) * len(pre), pre.numel())
        return largest(pre, count, 0.9 * cut)

    @property
    def is_bounded(self) -> bool:
        return True

    def chosen(self, pre: Tensor, step: int) -> Chosen:
        return largest_of_batch(pre, self.k_at(step) * pre.shape[1])

    def threshold(self, params: Params, cut: Tensor) -> Tensor:
        return torch.zeros_like(params.b_enc) + cut.to(params.b_enc.device)[:, None]
