"""Learning rates by step, and how long k falls."""

import math

from ingest.config import TrainPart

PAPER_RATE = 1.2e-3
FLOOR = 0.1
"""Share of the peak rate at which the paper's recipe starts, and to which it drops."""

LONG, MOST = 10_000, 4.0
"""Steps from which a training is long, and how much higher the rate of a shorter one may be."""

ANNEALED = 4_000
"""Steps from which on k falls from 4 k to k over the first tenth: at 1,460 that was worse, at 9,600
better."""


def default_rate(d_sae: int, steps: int) -> float:
    """Peak rate where none is set: 2e-4 / sqrt(d_sae / 2^14), more for a short training.

    The rate of long trainings is the one that dictionary_learning takes. How it rises as steps get
    fewer is measured: docs/training.md.
    """
    long = 2e-4 / math.sqrt(d_sae / 2**14)
    return long * min(MOST, max(1.0, math.pow(LONG / steps, 0.75)))


def annealed(part: TrainPart, steps: int) -> float:
    """Share of the steps over which k falls to what it is to be."""
    if part.anneal is not None:
        return part.anneal
    return 0.1 if steps >= ANNEALED else 0.0


def learning_rate(part: TrainPart, d_sae: int, step: int, steps: int) -> float:
    """Rate at `step`: linear warm-up, flat, linear decay to 0 at `steps`."""
    peak = part.lr or default_rate(d_sae, steps)
    rising = (step + 1) / max(1, round(steps * part.warmup))
    return peak * min(1.0, rising, _falling(part, step, steps))


def dropping_rate(part: TrainPart, step: int, dropped: int, steps: int) -> float:
    """Rate that rises by a half cosine from a tenth, at the start and after every drop.

    PAPER.md section 3.2; the decay at the end is ours (`train.decay` = 0 for none).

    Args:
        part: settings.
        step: steps done.
        dropped: step of the last drop; 0 for the start.
        steps: of the whole training.
    """
    rise = max(1, round(steps * part.warmup))
    done = min(1.0, (step - dropped) / rise)
    share = FLOOR + (1 - FLOOR) * (1 - math.cos(math.pi * done)) / 2
    return (part.lr or PAPER_RATE) * min(share, _falling(part, step, steps))


def _falling(part: TrainPart, step: int, steps: int) -> float:
    return (steps - step) / max(1, round(steps * part.decay))
