"""The recipe of Kissane et al. (PAPER.md 3.1, 3.2): ReLU, an L1 penalty and resampling.

Raw z, neither centred nor scaled; the encoder sees x - b_dec; encoder and decoder begin apart from
each other; Adam with betas 0.9 and 0.99; no clipping and no AuxK, but resampling, after which the
learning rate drops to a tenth and rises again. Two things differ from their code: decoder rows are
renormalised after the step rather than before it, so that they have unit norm exactly, and the
loss is divided by d_in, which Adam does not see.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ingest.train.objectives.objective import Objective
from ingest.train.params import Params, Scale, apart, unscaled
from ingest.train.schedule import dropping_rate


class Relu(Objective):
    """Whatever is positive fires; its sum is penalised."""

    betas = (0.9, 0.99)
    clip = math.inf
    tied = True
    resamples = True
    aux = 0.0

    @property
    def l1(self) -> float:
        return self.sae.l1

    def start(self, z: Tensor, generators: Sequence[torch.Generator]) -> tuple[Params, Scale]:
        return apart(z, self.sae.d_sae, generators), unscaled(z)

    def rate(self, step: int, dropped: int) -> float:
        return dropping_rate(self.part, step, dropped, self.steps)

    def hits(self, pre: Tensor, step: int, cut: float, log_threshold: Tensor) -> Tensor:  # noqa: ARG002
        return (pre.flatten() > 0).nonzero().squeeze(-1)

    def acts(
        self,
        pre: Tensor,
        step: int,  # noqa: ARG002
        log_threshold: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        return pre.relu(), torch.zeros(len(pre), dtype=torch.bool, device=pre.device)
