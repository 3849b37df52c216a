"""The rules of feature families: every threshold, and what each family asks of a firing.

A firing is judged by its positive DFA alone: how it is shared out over source positions
(PAPER.md section 6.2). Position 0, where heads rest, fetches nothing and acts as a bias: unless it
gives most, it is left out of what the shares are of. Words are compared without case and
surrounding space. A family holds for a feature when it explains enough of its firings.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.label.rules import FAR, NEAR

WINDOW = 2
"""Positions on either side of the median that a positional feature fires in."""

FAMILIES = {
    "induction": "Most DFA comes from tokens that followed an earlier copy of the firing token.",
    "duplicate_token": "Most DFA comes from earlier copies of the firing token.",
    "previous_token": "Most DFA comes from the token just before.",
    "first_token": "Most DFA comes from position 0, where sinks sit.",
    "positional": f"Fires within {2 * WINDOW + 1} neighbouring positions of the context.",
    "single_token": "Fires on one word, whatever comes before.",
    "current_token": "Most DFA comes from the firing token itself.",
    "local_context": f"Most DFA comes from the last {NEAR} tokens, and none of the above.",
    "long_range_context": f"Most DFA comes from several places further back than {NEAR}.",
}
"""Family to its sentence, the most specific first: of those that hold, the first is the best."""

MOST = 0.5
"""Share of a firing's positive DFA that a family's sources must carry."""
HOLDS = 0.5
"""Share of a feature's firings that a family must explain."""
ONE_WORD = 0.8
"""The same for single_token and positional, which look at nothing but the firing's place."""
ENOUGH = 8
"""Firings below which nothing is said of a feature."""
SEVERAL = 3.0
"""Sources among which long-range DFA must be spread: two to the entropy of their shares."""


class Shares(NamedTuple):
    """How each firing's positive DFA is shared out, `[n]` each; they may overlap.

    `first` is a share of all of it, the others of what position 0 did not give.
    """

    induction: NDArray[Any]
    duplicate: NDArray[Any]
    previous: NDArray[Any]
    first: NDArray[Any]
    current: NDArray[Any]
    near: NDArray[Any]  # 1 to NEAR tokens back
    far: NDArray[Any]  # further back
    very_far: NDArray[Any]  # further back than FAR
    spread: NDArray[Any]  # two to the entropy of the shares of single sources


def shares(
    words: NDArray[Any], pos: NDArray[Any], src: NDArray[Any], dfa: NDArray[Any], rest: NDArray[Any]
) -> Shares:
    """Share out the positive DFA of firings.

    Args:
        words: `[n, pos]`, a number per word of each firing's context, negative where none is.
        pos: `[n]`, where it fires.
        src: `[n, source]`, listed source positions, none twice.
        dfa: `[n, source]`, their DFA, signed.
        rest: `[n]`, DFA of the sources that are not listed; it counts for no family.
    """
    row = np.arange(len(pos))[:, None]
    gap = pos[:, None] - src
    inner = src > 0
    positive = np.where(gap >= 0, np.maximum(dfa, 0), 0)
    resting = (positive * ~inner).sum(1)
    fetched = (positive * inner).sum(1) + np.maximum(rest, 0)
    share = positive * inner / np.maximum(fetched, 1e-12)[:, None]
    here = words[np.arange(len(pos)), pos][:, None]
    back, known = gap > 0, (here >= 0) & (src > 0)
    seen = np.minimum(src, pos[:, None])  # later places give nothing, and may hold no text
    copied = back & known & (words[row, seen] == here)
    followed = back & known & (src > 1) & (words[row, np.maximum(seen - 1, 0)] == here)
    logs = np.log2(np.where(share > 0, share, 1.0))

    def of(mask: NDArray[Any]) -> NDArray[Any]:
        total: NDArray[Any] = (share * mask).sum(1)
        return total

    return Shares(
        of(followed),
        of(copied),
        of(gap == 1),
        resting / np.maximum(resting + fetched, 1e-12),
        of(gap == 0),
        of(back & (gap <= NEAR)),
        of(gap > NEAR),
        of(gap > FAR),
        np.exp2(-(share * logs).sum(1)),
    )


def explained(found: Shares) -> dict[str, NDArray[Any]]:
    """Family to `[n]`: whether it explains each firing; those that look at DFA only."""
    first = found.first >= MOST
    induction, duplicate = (found.induction >= MOST) & ~first, (found.duplicate >= MOST) & ~first
    previous, current = (found.previous >= MOST) & ~first, (found.current >= MOST) & ~first
    told = induction | duplicate | previous | first | current
    near = (found.near >= MOST) & ~told
    far = (found.far >= MOST) & (found.spread >= SEVERAL) & ~told
    return {
        "induction": induction,
        "duplicate_token": duplicate,
        "previous_token": previous,
        "first_token": first,
        "current_token": current,
        "local_context": near,
        "long_range_context": far,
    }


class Judged(NamedTuple):
    """Families of the features of one SAE, `[feature]` each."""

    score: dict[str, NDArray[Any]]  # share of firings that the family explains
    holds: dict[str, NDArray[Any]]
    examples: NDArray[Any]  # firings that were judged
    word: NDArray[Any]  # the commonest word, -1 for a feature that never fired
    place: NDArray[Any]  # the median position
    best: NDArray[Any]  # index into FAMILIES, -1 for none


def judge(
    feature: NDArray[Any],
    word: NDArray[Any],
    pos: NDArray[Any],
    by_family: dict[str, NDArray[Any]],
    d_sae: int,
) -> Judged:
    """Which families hold for each feature.

    Args:
        feature: `[n]`, of each firing, ascending.
        word: `[n]`, number of the word at each firing.
        pos: `[n]`.
        by_family: what `explained` gave.
        d_sae: number of features.
    """
    count = np.bincount(feature, minlength=d_sae)
    commonest, median = np.full(d_sae, -1), np.full(d_sae, -1)
    edges = np.searchsorted(feature, np.arange(d_sae + 1))
    for one in np.nonzero(count)[0]:
        rows = slice(edges[one], edges[one + 1])
        values, times = np.unique(word[rows], return_counts=True)
        commonest[one] = values[times.argmax()]
        median[one] = np.median(pos[rows])
    all_of = by_family | {
        "single_token": word == commonest[feature],
        "positional": np.abs(pos - median[feature]) <= WINDOW,
    }
    score = {
        name: np.bincount(feature, all_of[name], d_sae) / np.maximum(count, 1) for name in FAMILIES
    }
    holds = {
        name: (score[name] >= (ONE_WORD if name in ("single_token", "positional") else HOLDS))
        & (count >= ENOUGH)
        for name in FAMILIES
    }
    table = np.stack([holds[name] for name in FAMILIES])
    best = np.where(table.any(0), table.argmax(0), -1)
    return Judged(score, holds, count, commonest, median, best)
