"""Which heads do induction, and whether one repeated token is enough for them: a stated rule.

Over attention scores on synthetic sequences: `one` is the mean at a prefix of one token, `long` the
mean over prefixes of five and more. A head does induction where the lower end of the interval of
`long` reaches INDUCES; it is a short-prefix head where `one` is at least ENOUGH of `long`, else a
long-prefix head.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ingest.studies.bootstrap import Estimate, mean

INDUCES = 0.2
ENOUGH = 0.5
LONG = 5
CLASSES = ("none", "short-prefix", "long-prefix")
RULE = (
    f"induction where the interval of the mean score at prefixes of {LONG} and more starts at"
    f" {INDUCES} or above; short-prefix where the score at one token is at least {ENOUGH:.0%} of it"
)


class Classed(NamedTuple):
    """Every head with what decided."""

    kind: Tensor  # [layer, head], index into CLASSES
    one: Estimate  # [layer, head]
    long: Estimate  # [layer, head]


def classify(scores: Mapping[int, Tensor], draw: torch.Generator) -> Classed:
    """Class every head.

    Args:
        scores: prefix length to attention `[n, layer, head]`; 1 and some of 5 and more are needed.
        draw: draws the resamples.
    """
    one = mean(scores[1], draw)
    long = mean(torch.cat([part for length, part in scores.items() if length >= LONG]), draw)
    induces = long.low >= INDUCES
    short = one.value >= ENOUGH * long.value
    return Classed(torch.where(induces, torch.where(short, 1, 2), 0), one, long)
