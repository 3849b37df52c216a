"""Which features may fire in a batch: the one thing in which the objectives differ."""

from typing import NamedTuple

from torch import Tensor

from ingest.config import SaePart, TrainPart
from ingest.train.step import largest


class Objective(NamedTuple):
    """BatchTopK, or ReLU with an L1 penalty."""

    name: str
    k: int
    l1: float  # in raw units of z, as the paper states it
    anneal_steps: int

    def k_at(self, step: int) -> int:
        """Firings per token allowed at `step`: from 4 k down to k while annealing."""
        left = max(0.0, 1 - step / self.anneal_steps) if self.anneal_steps else 0.0
        return round(self.k * (1 + 3 * left))

    def hits(self, pre: Tensor, step: int, threshold: float) -> Tensor:
        """Flat indices of the firings among pre-activations `[batch, d_sae]`, ascending."""
        if self.name == "relu":
            return (pre.flatten() > 0).nonzero().squeeze(-1)
        count = min(self.k_at(step) * len(pre), pre.numel())
        return largest(pre, count, 0.7 * threshold)

    @property
    def learns_threshold(self) -> bool:
        """Whether a threshold replaces the batch's cut once training is over."""
        return self.name == "batchtopk"


def make_objective(sae: SaePart, train: TrainPart, steps: int) -> Objective:
    """The objective of a job that trains for `steps` steps."""
    l1 = sae.l1 if sae.objective == "relu" else 0.0
    return Objective(sae.objective, sae.k, l1, round(steps * train.anneal))
