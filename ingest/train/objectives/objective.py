"""What kinds of SAE differ in; the training loop asks here and is the same for all."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ingest.config import SaePart, TrainPart
from ingest.train.params import Params, Scale, initialise, measure_scale
from ingest.train.schedule import annealed, learning_rate
from ingest.train.stacked import Chosen, spread


class Pass(NamedTuple):
    """One layer's batch after the firings' gradients are known."""

    layer: int
    pre: Tensor  # [batch, d_sae], in the precision of the encoder product
    slope: Tensor  # [batch, d_in], gradient of the loss by the reconstruction
    l0: float


class Stack(NamedTuple):
    """Several layers' batch after the firings' gradients are known, by the dense step."""

    pre: Tensor  # [layer, batch, d_sae], in the precision of the encoder product
    by_act: Tensor  # [layer, batch, d_sae], gradient of the squared error by every activation
    l0: Tensor  # [layer]


class Objective:
    """An objective with the common recipe: centred input, AuxK, warm-up and decay, clipping."""

    betas = (0.9, 0.999)
    clip = 1.0
    """Bound on each layer's gradient norm."""
    tied = False
    """Whether the encoder sees x - b_dec rather than x."""
    resamples = False
    """Whether dead features are replaced now and then (ingest/train/resample.py)."""

    def __init__(self, sae: SaePart, part: TrainPart, steps: int) -> None:
        self.sae, self.part, self.steps = sae, part, steps

    @property
    def edges(self) -> tuple[int, ...]:
        """Ends of the nested prefixes that each rebuild x by themselves; the last is d_sae."""
        return (self.sae.d_sae,)

    @property
    def l1(self) -> float:
        """Weight of the sum of activations beside the squared error."""
        return 0.0

    @property
    def aux(self) -> float:
        """Weight of AuxK, which revives dead features."""
        return self.part.aux

    @property
    def kept(self) -> int:
        """k of the finished SAE where it fires its k largest; 0 where it has a threshold."""
        return 0

    def k_at(self, step: int) -> int:
        """Firings per token allowed at `step`: from 4 k down to k while annealing."""
        anneal = round(self.steps * annealed(self.part, self.steps))
        left = max(0.0, 1 - step / anneal) if anneal else 0.0
        return min(self.sae.d_sae, round(self.sae.k * (1 + 3 * left)))

    def start(self, z: Tensor, generators: Sequence[torch.Generator]) -> tuple[Params, Scale]:
        """First weights and how raw z is normalised.

        Args:
            z: activations `[token, layer, d_in]`.
            generators: a source of randomness per layer.
        """
        scale = measure_scale(z)
        return initialise(z[:65_536], scale, self.sae.d_sae, generators), scale

    def rate(self, step: int, dropped: int) -> float:  # noqa: ARG002 (for those that drop it)
        """Learning rate at `step`, where it last dropped at step `dropped`."""
        return learning_rate(self.part, self.sae.d_sae, step, self.steps)

    def hits(self, pre: Tensor, step: int, cut: float, log_threshold: Tensor) -> Tensor:
        """Flat indices of the firings among pre-activations `[batch, d_sae]`, ascending.

        Args:
            pre: pre-activations.
            step: steps done.
            cut: running mean of the least activation that was let through.
            log_threshold: `[d_sae]`, of this layer.
        """
        raise NotImplementedError

    @property
    def is_bounded(self) -> bool:
        """Whether it chooses a number of firings that is known beforehand."""
        return False

    def chosen(self, pre: Tensor, step: int) -> Chosen:
        """The places that may fire among pre-activations `[layer, batch, d_sae]`, if bounded."""
        raise NotImplementedError

    def acts(
        self,
        pre: Tensor,
        step: int,
        log_threshold: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Activations `[layer, batch, d_sae]` in `pre`'s precision; asks the device for no value.

        Args:
            pre: pre-activations `[layer, batch, d_sae]`.
            step: steps done.
            log_threshold: `[layer, d_sae]`.

        Returns:
            The activations, and `[layer]` bool: whether some of the largest were missed.
        """
        chosen = self.chosen(pre, step)
        return spread(chosen, pre), chosen.missed

    def add_gradients(self, params: Params, gradients: Params, batch: Pass) -> None:
        """Gradients beyond those of the squared error and the L1 penalty; none by default."""

    def add_stacked_gradients(self, params: Params, gradients: Params, batch: Stack) -> None:
        """As `add_gradients`, for several layers; asks the device for no value."""

    def threshold(self, params: Params, cut: Tensor) -> Tensor:  # noqa: ARG002
        """`[layer, d_sae]`: what a feature of the finished SAE must exceed to fire.

        Args:
            params: trained weights.
            cut: `[layer]`, running means of the least activation that was let through.
        """
        return torch.zeros_like(params.b_enc)
