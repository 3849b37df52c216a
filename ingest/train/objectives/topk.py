"""TopK (Gao et al. 2024, arXiv 2406.04093): each token fires its k largest features."""

import torch
from torch import Tensor

from ingest.train.objectives.objective import Objective
from ingest.train.stacked import Chosen, largest_of_tokens


class TopK(Objective):
    """k firings for every token, in training and in the finished SAE."""

    @property
    def kept(self) -> int:
        return self.sae.k

    def hits(self, pre: Tensor, step: int, cut: float, log_threshold: Tensor) -> Tensor:  # noqa: ARG002
        top = pre.topk(self.k_at(step), dim=-1, sorted=False)
        rows = torch.arange(len(pre), device=pre.device)[:, None]
        flat = top.indices + rows * pre.shape[1]
        return flat[top.values > 0].sort().values

    @property
    def is_bounded(self) -> bool:
        return True

    def chosen(self, pre: Tensor, step: int) -> Chosen:
        return largest_of_tokens(pre, self.k_at(step))
