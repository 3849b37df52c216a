"""Which of the folded firings become examples: strongest, by interval, at random, none twice."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.config import MinePart
from ingest.mine.fold import Fold, Kept, Limits, firing_hash

KINDS = ("top", "interval", "random")


class Chosen(NamedTuple):
    """Examples of one SAE before their attribution, by ascending context."""

    feature: NDArray[Any]
    ctx: NDArray[Any]
    pos: NDArray[Any]
    kind: NDArray[Any]  # index into KINDS
    band: NDArray[Any]  # interval number; -1 for the other kinds


def limits_of(part: MinePart) -> Limits:
    """How many firings the fold keeps so that enough are left once doubles are out."""
    spare = part.top + part.bands * part.per_band
    return Limits(part.top, part.per_band + 1, part.random + spare)


def choose(state: Fold, part: MinePart) -> Chosen:
    """Examples of every feature; no firing is chosen twice, whatever the kind.

    Intervals are `part.bands` equal widths between 0 and the feature's maximum.
    """
    top = _entries(state.top, 0, np.full(len(state.top.act), -1))
    share = state.binned.act / state.max_act[state.binned.feature]
    band = np.minimum((share * part.bands).astype(np.int64), part.bands - 1)
    interval = _apart(_entries(state.binned, 1, band), top)
    interval = _first_by_hash(
        interval, interval.feature * part.bands + interval.band, part.per_band
    )
    taken = Chosen(*(np.concatenate(pair) for pair in zip(top, interval, strict=True)))
    random = _apart(_entries(state.random, 2, np.full(len(state.random.act), -1)), taken)
    random = _first_by_hash(random, random.feature, part.random)
    both = Chosen(*(np.concatenate(pair) for pair in zip(taken, random, strict=True)))
    order = np.lexsort((both.kind, both.feature, both.pos, both.ctx))
    return Chosen(*(column[order] for column in both))


def _entries(kept: Kept, kind: int, band: NDArray[Any]) -> Chosen:
    feature, ctx, pos = (part.astype(np.int64) for part in (kept.feature, kept.ctx, kept.pos))
    return Chosen(feature, ctx, pos, np.full(len(kept.act), kind), band)


def _apart(some: Chosen, taken: Chosen) -> Chosen:
    """`some` without firings that are in `taken`."""
    keys = [one.feature << 40 | one.ctx << 12 | one.pos for one in (some, taken)]
    fresh = ~np.isin(keys[0], keys[1])
    return Chosen(*(column[fresh] for column in some))


def _first_by_hash(some: Chosen, group: NDArray[Any], count: int) -> Chosen:
    order = np.lexsort((firing_hash(some.feature, some.ctx, some.pos), group))
    sorted_group = group[order]
    starts = np.searchsorted(sorted_group, sorted_group, side="left")
    kept = np.sort(order[np.arange(len(order)) - starts < count])
    return Chosen(*(column[kept] for column in some))
