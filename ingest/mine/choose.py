"""Which of the folded firings become examples, none twice, and which misses go beside them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.types import EXAMPLE_KINDS, HISTOGRAM_BINS, ExampleKind
from ingest.config import MinePart
from ingest.mine.fold import Fold, Limits
from ingest.mine.keep import Kept, firing_hash
from ingest.mine.together import SKETCH

KINDS = EXAMPLE_KINDS
NEAR_MISS = KINDS.index("near_miss")
DECILES = 10


class Chosen(NamedTuple):
    """Examples of one SAE before their attribution, by ascending context."""

    feature: NDArray[Any]
    ctx: NDArray[Any]
    pos: NDArray[Any]
    kind: NDArray[Any]  # index into KINDS
    band: NDArray[Any]  # number of the interval or decile; -1 for the other kinds


def limits_of(part: MinePart) -> Limits:
    """How many firings the fold keeps so that enough are left once doubles are out."""
    spare = part.top + part.bands * part.per_band
    spare += 5 * DECILES * part.per_decile  # five drawn for each, so that few deciles go empty
    near = part.near_misses + 1  # one may turn out to fire
    return Limits(part.top, part.per_band + 1, part.random + spare, near, SKETCH)


def choose(state: Fold, part: MinePart) -> Chosen:
    """Examples of every feature; no firing is chosen twice, whatever the kind.

    Intervals are `part.bands` equal widths between 0 and the feature's maximum. Deciles hold equal
    counts of firings; their samples are the kept firings with the lowest hash, so a decile may lack
    some where the kinds before it took them all.
    """
    taken = _entries(state.top, "top")
    share = state.binned.act / state.max_act[state.binned.feature]
    band = np.minimum((share * part.bands).astype(np.int64), part.bands - 1)
    interval = _entries(state.binned, "interval", band)
    taken = _joined(taken, _by_hash(interval, taken, part.bands, part.per_band))
    random = _entries(state.random, "random")
    taken = _joined(taken, _by_hash(random, taken, 1, part.random))
    pool = Kept(*map(np.concatenate, zip(state.random, state.binned, strict=True)))
    decile = _entries(pool, "decile", deciles(state.histogram, pool))
    taken = _joined(taken, _by_hash(decile, taken, DECILES, part.per_decile))
    both = _joined(taken, _entries(state.near, "near_miss"))
    order = np.lexsort((both.kind, both.feature, both.pos, both.ctx))
    return Chosen(*(column[order] for column in both))


def deciles(histogram: NDArray[Any], kept: Kept) -> NDArray[Any]:
    """Decile of each firing, 0 the weakest, read off its feature's `[feature, bin]` histogram.

    Within the bin that holds an edge, firings are taken as evenly spread over log activation.
    """
    upto = histogram.cumsum(1)
    edges = np.empty((len(histogram), DECILES - 1), np.float32)
    rows = np.arange(len(histogram))
    for number in range(1, DECILES):
        wanted = upto[:, -1] * number / DECILES
        at = (upto < wanted[:, None]).sum(1)  # the bin in which the count is reached
        inside = np.maximum(histogram[rows, np.minimum(at, HISTOGRAM_BINS - 1)], 1)
        part = (wanted - np.where(at, upto[rows, at - 1], 0)) / inside
        edges[:, number - 1] = 2.0 ** (-8 + (at + part) / 4)
    number_of: NDArray[Any] = (kept.act[:, None] > edges[kept.feature]).sum(1)
    return number_of


def _entries(kept: Kept, kind: ExampleKind, band: NDArray[Any] | None = None) -> Chosen:
    feature, ctx, pos = (part.astype(np.int64) for part in (kept.feature, kept.ctx, kept.pos))
    count = len(kept.act)
    band = np.full(count, -1) if band is None else band
    return Chosen(feature, ctx, pos, np.full(count, KINDS.index(kind)), band)


def _joined(one: Chosen, other: Chosen) -> Chosen:
    return Chosen(*map(np.concatenate, zip(one, other, strict=True)))


def _by_hash(some: Chosen, taken: Chosen, bands: int, count: int) -> Chosen:
    """The `count` of `some` with the lowest hash per feature and band, none that is in `taken`."""
    keys = [one.feature << 44 | one.ctx << 16 | one.pos for one in (some, taken)]
    _, first = np.unique(keys[0], return_index=True)
    fresh = first[~np.isin(keys[0][first], keys[1])]
    some = Chosen(*(column[fresh] for column in some))
    group = some.feature * bands + np.maximum(some.band, 0)
    order = np.lexsort((firing_hash(some.feature, some.ctx, some.pos), group))
    starts = np.searchsorted(group[order], group[order], side="left")
    kept = order[np.arange(len(order)) - starts < count]
    return Chosen(*(column[kept] for column in some))
