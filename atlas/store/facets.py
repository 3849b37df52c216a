"""How the matches of a search divide: by what was measured, and by what people wrote."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from atlas.ids import FeatureId, HeadId
from atlas.store.evidence import Evidence
from atlas.store.lists import Rows

NAMES = ("model", "layer", "sae", "head", "family", "role", "tag", "method", "score")
HUMAN = "human"
"""The `method` of a title that a person wrote."""
BANDS = range(5, 10)
"""The tenths that a title's score is counted by, from 0.5 up."""

Tally = Mapping[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class Said:
    """What people's notes know that a search may ask; found live in their own store."""

    reasons: Mapping[FeatureId, str] = field(default_factory=dict)
    """Features whose notes match the words, with the place that matched."""
    tags: Mapping[str, Collection[FeatureId]] = field(default_factory=dict)
    """Tag to the features that carry it."""
    roles: Mapping[str, Collection[HeadId]] = field(default_factory=dict)
    """Role to the heads it is claimed for."""
    named: Collection[FeatureId] = ()
    """Features with a person's title."""


NOBODY = Said()


def count(
    evidence: Evidence, rows: Rows, head: str, said: Said
) -> tuple[int, dict[str, tuple[tuple[str, int], ...]]]:
    """Number of matches, and how they divide by everything in `NAMES`, most frequent first.

    Args:
        evidence: the snapshot.
        rows: the matches, as rows of the lists.
        head: the column with their top head.
        said: what people wrote.
    """
    tally: Tally = {name: Counter() for name in NAMES}
    _by_place(evidence, rows, head, said, tally)
    _by_title(evidence, rows, tally)
    for name, value, features in _noted(said):
        tally[name][value] += int(inside(rows_of(evidence, features), rows).sum())
    ordered = {
        name: tuple(sorted((+counts).items(), key=lambda pair: (-pair[1], pair[0])))
        for name, counts in tally.items()
    }
    return tally["model"].total(), ordered


def rows_of(evidence: Evidence, features: Iterable[FeatureId]) -> npt.NDArray[np.int64]:
    """Ascending rows of the features that this snapshot has; notes may speak of others."""
    sizes = {sae.id: (sae.number, sae.d_sae) for sae in evidence.saes}
    found = [
        evidence.lists.rows(sizes[one.sae][0], one.index)
        for one in features
        if one.sae in sizes and one.index < sizes[one.sae][1]
    ]
    return np.unique(np.array(found, np.int64))


def inside(some: npt.NDArray[np.int64], rows: Rows) -> npt.NDArray[np.bool_]:
    """Which of some rows are among `rows`."""
    if isinstance(rows, slice):
        return np.asarray((some >= rows.start) & (some < rows.stop))
    if not len(rows):
        return np.zeros(len(some), bool)
    at = np.minimum(np.searchsorted(rows, some), len(rows) - 1)
    return np.asarray(rows[at] == some)


def _by_place(evidence: Evidence, rows: Rows, head: str, said: Said, tally: Tally) -> None:
    """Count by SAE and top head, and by what these two belong to."""
    lists = evidence.lists
    roles: defaultdict[HeadId, list[str]] = defaultdict(list)
    for role, heads in said.roles.items():
        for one in heads:
            roles[one].append(role)
    places, tops = lists.column("place")[rows], lists.column(head)[rows]
    wide = int(tops.max(initial=-1)) + 2  # the first column is for those without a top head
    both = np.bincount(
        places.astype(np.int64) * wide + tops + 1, minlength=len(evidence.saes) * wide
    )
    for sae, counts in zip(evidence.saes, both.reshape(-1, wide).tolist(), strict=True):
        of, features = sae.id, sum(counts)
        tally["model"][of.model] += features
        tally["layer"][str(of.layer)] += features
        tally["sae"][str(of)] += features
        for top, n in enumerate(counts[1:]):
            name = HeadId(of.model, of.layer, top)
            tally["head"][str(name)] += n
            tally["role"].update(dict.fromkeys(roles.get(name, ()), n))


def _by_title(evidence: Evidence, rows: Rows, tally: Tally) -> None:
    lists = evidence.lists
    for name, values in (("family", lists.families), ("method", lists.methods)):
        counts = np.bincount(lists.column(name)[rows] + 1, minlength=len(values) + 1)
        tally[name].update(dict(zip(values, counts[1:].tolist(), strict=True)))
    scores = lists.column("score")[rows]
    scores = scores[scores >= BANDS[0] / 10]
    bands = np.bincount(np.minimum(BANDS[-1], (scores * 10).astype(np.int64)), minlength=10)
    tally["score"].update({f"0.{band}": int(bands[band]) for band in BANDS})


def _noted(said: Said) -> Iterator[tuple[str, str, Iterable[FeatureId]]]:
    """Which features have which tag or human title, as (facet, name, features)."""
    yield from (("tag", tag, features) for tag, features in said.tags.items())
    if said.named:
        yield "method", HUMAN, said.named
