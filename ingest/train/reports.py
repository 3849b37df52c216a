"""The figures of training steps, brought from the device without waiting for it."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Figures(NamedTuple):
    """What the loop reports of a step; one value per layer.

    The figures of every step come, in order. On a GPU they come some steps late: whatever the
    device has finished when a later step has been handed to it.
    """

    tokens: int
    fvu: tuple[float, ...]
    l0: tuple[float, ...]
    dead: tuple[float, ...]  # share of features
    loss: tuple[float, ...]  # mean squared error per entry of z, centred and scaled
    rate: float  # of learning, in this step


class Measured(NamedTuple):
    """The figures of a step while they are still on the device."""

    fvu: Tensor  # [layer]
    l0: Tensor  # [layer]
    dead: Tensor  # [layer]
    loss: Tensor  # [layer]
    missed: Tensor  # [layer], bool: some of the largest activations were not let through


class _Waiting(NamedTuple):
    tokens: int
    rate: float
    values: Tensor  # [figure, layer], on the host once `ready`
    ready: torch.cuda.Event | None  # None on the CPU: at once


MOST = 32
"""Steps that the host may be ahead of the device."""


class Reports:
    """Takes the figures of each step, and hands them on when they have arrived."""

    def __init__(self, listen: Callable[[Figures], None]) -> None:
        self._listen = listen
        self._waiting: deque[_Waiting] = deque()
        self.missed = 0
        """Steps and layers in which some of the largest activations were not let through."""

    def add(self, tokens: int, rate: float, measured: Measured) -> None:
        """Take a step's figures and hand on what has arrived.

        Args:
            tokens: used after it.
            rate: of learning, in it.
            measured: its figures on the device.
        """
        values = torch.stack([part.float() for part in measured])
        if values.is_cuda:
            there = torch.empty(values.shape, pin_memory=True)
            there.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            with torch.cuda.device_of(values):
                event.record()
            self._waiting.append(_Waiting(tokens, rate, there, event))
        else:
            self._waiting.append(_Waiting(tokens, rate, values, None))
        self._hand_on(MOST)

    def flush(self) -> None:
        """Wait for all that is under way."""
        self._hand_on(0)

    def _hand_on(self, most: int) -> None:
        while self._waiting:
            first = self._waiting[0]
            if first.ready is not None and not first.ready.query():
                if len(self._waiting) <= most:
                    return
                first.ready.synchronize()
            self._waiting.popleft()
            fvu, l0, dead, loss, missed = map(tuple, first.values.tolist())
            self.missed += round(sum(missed))
            self._listen(Figures(first.tokens, fvu, l0, dead, loss, first.rate))
