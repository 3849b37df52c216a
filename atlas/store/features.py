"""Reading features: all that a feature's page shows, and how an SAE's features are spread."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from atlas.errors import NotFound
from atlas.ids import FeatureId, SaeId
from atlas.store import rows
from atlas.store.evidence import Evidence, Key
from atlas.store.lists import FIRINGS, SUPPORT
from atlas.types import Bins, Example, Feature, Neighbour

# Without what is read quicker from the files of lists.
_FEATURE = """
SELECT * EXCLUDE (histogram) FROM feature WHERE sae = $sae AND feature = $feature
"""
_HEADS = "SELECT * FROM feature_head WHERE sae = $sae AND feature = $feature ORDER BY head"
_LABELS = """
SELECT * FROM label WHERE sae = $sae AND feature = $feature
ORDER BY method = 'llm' DESC, support DESC NULLS LAST, method, model, prompt,
  list_position(['title', 'when', 'fetches', 'says'], side)
"""
_SCORES = """
SELECT * FROM label_score WHERE sae = $sae AND feature = $feature
ORDER BY method, model, prompt, scorer
"""
_EXAMPLES = """
SELECT e.* FROM example e
WHERE e.sae = $sae AND e.feature = $feature
ORDER BY list_position(['top', 'interval', 'random', 'decile', 'near_miss'], e.kind), e.band DESC,
  e.rank
"""
_NEIGHBOURS = """
SELECT other_sae, other_feature, cosine, jaccard, rank, fire_rank FROM neighbour
WHERE sae = $sae AND feature = $feature
ORDER BY rank IS NULL, abs(cosine) DESC NULLS LAST, jaccard DESC NULLS LAST, other_sae,
  other_feature
"""
_DENSITIES = """
SELECT least(27, greatest(0, floor(4 * (7 + log10(density)))))::INTEGER AS bin,
  count(*) AS features
FROM feature WHERE sae = $sae AND firings > 0 GROUP BY bin
"""


def feature(evidence: Evidence, name: str | FeatureId, *, alone: bool = False) -> Feature:
    """Everything about one feature; `alone` without its neighbours, which take as long again.

    Raises:
        NotFound: no such SAE or feature; names the range that exists.
    """
    key = evidence.key(name)
    where: dict[str, Any] = {"sae": key[0], "feature": key[1]}
    of = evidence.numbered(key[0])
    (row,) = evidence.query(_FEATURE, **where)
    return rows.feature(
        row,
        head=evidence.rows_of([key])[0],
        of=of,
        by=evidence.run(of.run),
        vocab=evidence.vocab(of.id.model),
        histogram=evidence.lists.histogram(evidence.lists.rows(*key)),
        heads=[rows.head_share(one) for one in evidence.query(_HEADS, **where)],
        labels=[rows.label(one) for one in evidence.query(_LABELS, **where)],
        scores=[rows.label_score(one) for one in evidence.query(_SCORES, **where)],
        examples=_examples(evidence, key, row["bias"]),
        neighbours=() if alone else _neighbours(evidence, key),
    )


def strongest(evidence: Evidence, names: Iterable[FeatureId]) -> dict[FeatureId, Example]:
    """The strongest example of each feature; one that never fired has none. Raises NotFound."""
    asked = {evidence.key(name): name for name in names}
    found = evidence.top_examples(dict.fromkeys(asked, 0))
    return {
        asked[key]: rows.example(row, asked[key], row["bias"], evidence.vocab(asked[key].sae.model))
        for key, row in found.items()
    }


def histograms(evidence: Evidence, names: Iterable[FeatureId]) -> dict[FeatureId, tuple[int, ...]]:
    """How the activations of several features are spread, in bins of `histogram_edge`.

    Raises:
        NotFound: no such feature.
    """
    lists = evidence.lists
    return {name: lists.histogram(lists.rows(*evidence.key(name))) for name in names}


def _examples(evidence: Evidence, key: Key, bias: float) -> tuple[Example, ...]:
    found = evidence.with_contexts(evidence.query(_EXAMPLES, sae=key[0], feature=key[1]))
    of = FeatureId(evidence.numbered(key[0]).id, key[1])
    vocab = evidence.vocab(of.sae.model)
    return tuple(rows.example(row, of, bias, vocab) for row in found)


def _neighbours(evidence: Evidence, key: Key) -> tuple[Neighbour, ...]:
    found = evidence.query(_NEIGHBOURS, sae=key[0], feature=key[1])
    cards = evidence.rows_of((row["other_sae"], row["other_feature"]) for row in found)
    return tuple(
        Neighbour(card, row["cosine"], row["jaccard"], row["rank"], row["fire_rank"])
        for card, row in zip(cards, found, strict=True)
    )


def random_feature(evidence: Evidence, seed: int) -> FeatureId:
    """A feature worth looking at: it fired often enough, and its title holds, where one does.

    Raises:
        NotFound: no feature fired at all.
    """
    firings, support = (evidence.lists.column(name) for name in ("firings", "support"))
    good = (firings >= FIRINGS) & (support >= SUPPORT)
    for chosen in (good, firings >= FIRINGS, firings > 0):
        rows_of = np.flatnonzero(chosen)
        if len(rows_of):
            at = rows_of[np.random.default_rng(seed % 2**63).integers(len(rows_of), size=1)]
            (sae,), (index,) = evidence.lists.keys(at)
            return FeatureId(evidence.numbered(int(sae)).id, int(index))
    raise NotFound("no feature of this atlas ever fired", "mine more text")


def densities(evidence: Evidence, name: str | SaeId) -> Bins:
    """How many live features of an SAE have which density, four bins a decade from 1e-7 to 1.

    Raises:
        NotFound: no such SAE.
    """
    found = evidence.query(_DENSITIES, sae=evidence.sae(name).number)
    counts = {row["bin"]: row["features"] for row in found}
    edges = tuple(10.0 ** (-7 + b / 4) for b in range(29))
    return Bins(edges, tuple(counts.get(b, 0) for b in range(28)))
