"""The curve of a training: its figures at a bounded number of steps, written as it goes on.

A file for each group of layers that is trained together, so that no two processes write to one.
"""

from collections.abc import Sequence
from pathlib import Path

from atlas import progress
from atlas.record import TrainingPoint, curve_file, curve_line
from ingest.train.loop import Figures

POINTS = 200
"""Most steps that are kept of one training."""


def kept_steps(steps: int, most: int = POINTS) -> frozenset[int]:
    """Steps from 1 to `steps` that are kept: all, or half of `most` evenly, half by ratio.

    Most happens in the beginning, where equal ratios lie close. The choice depends on nothing but
    the length of the training, so that one that was stopped and resumed keeps the same steps.
    """
    if steps <= most:
        return frozenset(range(1, steps + 1))
    half = most // 2
    evenly = (round(n * steps / half) for n in range(1, half + 1))
    by_ratio = (round(steps ** (n / half)) for n in range(half))
    return frozenset((*evenly, *by_ratio))


class Curve:
    """Writes the figures of the steps that are kept; called after every step."""

    def __init__(self, folder: Path, layers: Sequence[int], steps: int, batch: int) -> None:
        self._path, self._layers, self._batch = folder / curve_file(layers), layers, batch
        self._kept = kept_steps(steps)

    def __call__(self, figures: Figures) -> None:
        """Write the step, if it is one to keep."""
        step = figures.tokens // self._batch
        if step in self._kept:
            progress.append(self._path, curve_line(self._points(step, figures)))

    def _points(self, step: int, figures: Figures) -> list[TrainingPoint]:
        own = zip(self._layers, figures.fvu, figures.l0, figures.dead, figures.loss, strict=True)
        return [
            TrainingPoint(layer, step, figures.tokens, fvu, l0, dead, loss, figures.rate)
            for layer, fvu, l0, dead, loss in own
        ]
