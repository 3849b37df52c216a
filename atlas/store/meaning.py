"""Search by meaning: the features whose labels lie nearest to a vector, and ranks merged.

A full scan of the vectors of one embedding model, which stay in memory once they were asked for.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from atlas.errors import NotFound
from atlas.store.evidence import Evidence
from atlas.store.search import Matches, ordered

NEAREST = 100
"""Features that a search takes for their meaning: every label has some distance."""
_DAMPING = 60
"""Of reciprocal rank fusion: how little the first ranks differ (Cormack et al. 2009)."""
_VECTORS = """
SELECT sae, feature, vector FROM label_embedding WHERE model = $model ORDER BY sae, feature
"""
_MODELS = "SELECT DISTINCT model FROM label_embedding"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search means, as an embedding model sees it."""

    model: str
    vector: npt.NDArray[np.float32]  # [dim], of length 1


class Vectors(NamedTuple):
    """The embedded labels of one model."""

    row: npt.NDArray[np.int64]  # [label], of the lists
    sae: npt.NDArray[np.int64]  # [label]
    vector: npt.NDArray[np.float32]  # [label, dim], each of length 1


def nearest(evidence: Evidence, wanted: Wanted, saes: Collection[int]) -> Matches:
    """The features of some SAEs whose labels lie nearest, with their cosine.

    Raises:
        NotFound: nothing is embedded by this model, or with another width; names what there is.
    """
    held = evidence.kept(f"vectors of {wanted.model}", lambda: _read(evidence, wanted.model))
    if held.vector.shape[1] != len(wanted.vector):
        raise NotFound(
            f"labels were embedded by {wanted.model} with {held.vector.shape[1]} numbers each,"
            f" the search with {len(wanted.vector)}",
            "embed the labels again: atlas embed",
        )
    chosen = np.flatnonzero(np.isin(held.sae, list(saes)))
    rows = held.vector if len(chosen) == len(held.sae) else held.vector[chosen]
    cosine = rows @ wanted.vector
    last = min(NEAREST, len(cosine)) - 1
    best = np.argpartition(-cosine, last)[:NEAREST] if last >= 0 else np.arange(0)
    at = chosen[best]
    return ordered(held.row[at], cosine[best].astype(np.float64))


def fuse(words: Matches, meaning: Matches) -> Matches:
    """Two searches as one: each match scores 1 / (60 + its rank), added up (ranks from 1)."""
    rows = np.concatenate([words.row, meaning.row])
    scores = np.concatenate([_by_rank(words), _by_rank(meaning)])
    unique, place = np.unique(rows, return_inverse=True)
    total = np.zeros(len(unique))
    np.add.at(total, place, scores)
    return Matches(unique, total)


def _by_rank(matches: Matches) -> npt.NDArray[np.float64]:
    order = np.argsort(-matches.score, kind="stable")
    scores = np.empty(len(order))
    scores[order] = 1.0 / (_DAMPING + 1 + np.arange(len(order)))
    return scores


def _read(evidence: Evidence, model: str) -> Vectors:
    batches = list(evidence.batches(_VECTORS, 100_000, model=model))
    rows = sum(batch.num_rows for batch in batches)
    if not rows:
        there = [
            row["model"] for row in evidence.query("SELECT DISTINCT model FROM label_embedding")
        ]
        known = f"there are vectors of {', '.join(sorted(there))}" if there else "run `atlas embed`"
        raise NotFound(f"no label is embedded by {model}", known)
    sae, feature = (
        np.concatenate([batch.column(n).to_numpy() for batch in batches]).astype(np.int64)
        for n in (0, 1)
    )
    vectors = [batch.column(2).flatten().to_numpy() for batch in batches]
    matrix = np.concatenate(vectors).astype(np.float32, copy=False).reshape(rows, -1)
    return Vectors(evidence.lists.rows(sae, feature), sae, matrix)
