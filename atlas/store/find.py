"""Searching features: words by the index, filters, order, counts and pages by SQL.

SQL reads the table with one row per feature, never the examples.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from atlas.errors import NotFound, QueryError
from atlas.ids import FeatureId, HeadId
from atlas.store import cursor, words
from atlas.store.evidence import Evidence, Key
from atlas.store.search import Matches
from atlas.types import Hit, Page, Query, Sae, Sort

MAX_LIMIT = 500

# What a sort looks at. Everything is sorted upwards: descending turns the sign around.
_VALUE: dict[Sort, str] = {
    "relevance": "{score}",
    "density": "f.density",
    "max_act": "f.max_act",
    "mean_act": "f.mean_act",
    "head_share": "{share}",
    "support": "t.support",
    "disagreement": "f.disagreement",
    "id": "c.place::DOUBLE * 4294967296 + f.feature",
}
_SHARE = {"measured": ("f.dfa_head", "dfa_share"), "weights": ("f.weight_head", "weight_share")}
_MATCH = """
WITH chosen AS (
  SELECT unnest($numbers::SMALLINT[]) AS sae, unnest($places::INTEGER[]) AS place
), match AS (
  SELECT f.sae, f.feature, c.place, f.family, {head} AS head, {score} AS score,
    coalesce(({value})::DOUBLE * $sign, 'infinity'::DOUBLE) AS value
  FROM feature f JOIN chosen c USING (sae) {joins}
  WHERE ($dead OR f.firings > 0)
    AND ($family IS NULL OR f.family = $family)
    AND ($density_min IS NULL OR f.density >= $density_min)
    AND ($density_max IS NULL OR f.density <= $density_max)
    AND ($disagree IS NULL OR f.disagree = $disagree)
    {conditions}
)
"""
_PAGE = """
SELECT sae, feature, place, score, value FROM match
WHERE $last IS NULL OR value > $last OR (value = $last AND (place, feature) > ($place, $feature))
ORDER BY value, place, feature LIMIT $limit + 1
"""
_COUNTS = """
SELECT sae, head, family, count(*) AS features FROM match
GROUP BY GROUPING SETS ((sae, head), (family))
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What people's notes add to a search; found live in their own store."""

    tagged: Collection[FeatureId] | None = None
    """Features with the tag that the query asks for."""
    reasons: Mapping[FeatureId, str] | None = None
    """Features whose notes match the words, with the place that matched."""


NOBODY = Said()


@dataclass(frozen=True, slots=True)
class _Plan:
    """A query made ready for SQL."""

    match: str
    values: dict[str, Any]
    tables: dict[str, pa.Table]


def find(evidence: Evidence, query: Query, said: Said = NOBODY) -> Page:
    """One page of the features that meet a query.

    Without words, relevance lists by id. Features that people's words match come before those
    that only the evidence matches.

    Args:
        evidence: the snapshot to search.
        query: words, filters, order and page.
        said: what the notes know; needed when the query asks for a tag.

    Raises:
        QueryError: a setting is out of range, or `after` belongs to another query or snapshot.
        NotFound: the query names a model, SAE, layer or head that does not exist.
    """
    check(query)
    clauses = words.parse(query.text)
    mark = cursor.read(query, evidence.snapshot.name)
    plan = _plan(evidence, query, clauses, said)
    last, place, feature = mark or (None, None, None)
    page = {"last": last, "place": place, "feature": feature, "limit": query.limit}
    found = evidence.query(plan.match + _PAGE, plan.tables, **plan.values, **page)
    counts = evidence.query(plan.match + _COUNTS, plan.tables, **plan.values)
    shown = found[: query.limit]
    after = ""
    if len(found) > query.limit:
        end = shown[-1]
        after = cursor.write(
            cursor.Mark(end["value"], end["place"], end["feature"]), query, evidence.snapshot.name
        )
    total, facets = _facets(evidence, counts)
    hits = _hits(evidence, shown, clauses, said)
    return Page(hits, total, after, evidence.snapshot.name, facets)


def check(query: Query) -> None:
    """Refuse settings out of range. Raises QueryError naming the setting."""
    if query.sort not in get_args(Sort):
        raise QueryError(f"unknown sort {query.sort!r}", f"known: {', '.join(get_args(Sort))}")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise QueryError(f"limit is {query.limit}", f"it may be 1 to {MAX_LIMIT}")
    if query.head_by not in _SHARE:
        raise QueryError(f"unknown head_by {query.head_by!r}", "known: measured, weights")
    for name in ("head_min", "density_min", "density_max", "support_min"):
        value = getattr(query, name)
        if value is not None and not 0 <= value <= 1:
            raise QueryError(f"{name} is {value}", "it is a share: 0 to 1")


def chosen_saes(
    evidence: Evidence, model: str | None, sae: str | None, layer: int | None, head: int | None
) -> dict[int, int]:
    """SAEs that the filters leave, as number to place in the order of ids.

    Raises:
        NotFound: the filters name something that does not exist.
    """
    if model is not None:
        evidence.model(model)
    named = evidence.sae(sae).id if sae is not None else None
    layers = sorted({one.id.layer for one in evidence.saes if model in (None, one.id.model)})
    if layer is not None and layer not in layers:
        raise NotFound(
            f"no SAE on layer {layer}", f"layers with SAEs: {', '.join(map(str, layers))}"
        )
    heads = max((one.n_heads for one in evidence.models if model in (None, one.id)), default=0)
    if head is not None and not 0 <= head < heads:
        raise NotFound(f"no head {head}", f"heads are 0 to {heads - 1}")

    def stays(one: Sae) -> bool:
        return (
            model in (None, one.id.model)
            and layer in (None, one.id.layer)
            and named in (None, one.id)
        )

    return {one.number: place for place, one in enumerate(evidence.saes) if stays(one)}


def _plan(evidence: Evidence, query: Query, clauses: tuple[words.Clause, ...], said: Said) -> _Plan:
    places = chosen_saes(evidence, query.model, query.sae, query.layer, query.head)
    candidates = _candidates(evidence, query, clauses, said)
    top_head, share = _SHARE[query.head_by]
    joins, conditions = [], []
    values: dict[str, Any] = {
        "numbers": list(places),
        "places": list(places.values()),
        "sign": -1.0 if query.descending else 1.0,
        "dead": query.dead,
        "family": query.family,
        "density_min": query.density_min,
        "density_max": query.density_max,
        "disagree": query.disagree,
    }
    if candidates is not None:
        joins.append("JOIN candidate h ON h.sae = f.sae AND h.feature = f.feature")
    if query.head is not None:
        joins.append("JOIN feature_head s ON s.sae = f.sae AND s.feature = f.feature")
        conditions.append(f"AND s.head = $head AND s.{share} >= $head_min")
        values |= {"head": query.head, "head_min": query.head_min}
    if query.sort == "support" or query.support_min is not None:
        joins.append("LEFT JOIN title t ON t.sae = f.sae AND t.feature = f.feature")
    if query.support_min is not None:
        conditions.append("AND t.support >= $support_min")
        values["support_min"] = query.support_min
    score = "h.score" if clauses else "0.0::DOUBLE"
    owner = "f" if query.head is None else "s"
    match = _MATCH.format(
        head=top_head,
        score=score,
        value=_VALUE[query.sort].format(score=score, share=f"{owner}.{share}"),
        joins=" ".join(joins),
        conditions=" ".join(conditions),
    )
    return _Plan(match, values, {} if candidates is None else {"candidate": candidates})


def _candidates(
    evidence: Evidence, query: Query, clauses: tuple[words.Clause, ...], said: Said
) -> pa.Table | None:
    """Features that the words and the tag leave, with their score; None when neither is asked."""
    if not clauses and query.tag is None:
        return None
    tagged = None if query.tag is None else _keys(evidence, said.tagged or ())
    if not clauses:
        return _table(dict.fromkeys(tagged or (), 0.0))
    matches = evidence.index.match(clauses)
    spoken = _keys(evidence, said.reasons or {})
    if tagged is None and not spoken:
        return _arrow(matches)
    found = dict(
        zip(
            zip(matches.sae.tolist(), matches.feature.tolist(), strict=True),
            matches.score.tolist(),
            strict=True,
        )
    )
    above = float(matches.score.max(initial=0.0)) + 1.0
    found |= {key: found.get(key, 0.0) + above for key in spoken}
    return _table(found if tagged is None else {k: s for k, s in found.items() if k in tagged})


def _keys(evidence: Evidence, features: Iterable[FeatureId]) -> set[Key]:
    """Keys of the features that this snapshot has; notes may speak of others."""
    sizes = {sae.id: (sae.number, sae.d_sae) for sae in evidence.saes}
    return {
        (sizes[one.sae][0], one.index)
        for one in features
        if one.sae in sizes and one.index < sizes[one.sae][1]
    }


def _table(scores: Mapping[Key, float]) -> pa.Table:
    keys = np.array(list(scores), dtype=np.int64).reshape(-1, 2)
    values = np.array(list(scores.values()), dtype=np.float64)
    return _arrow(Matches(keys[:, 0], keys[:, 1], values))


def _arrow(matches: Matches) -> pa.Table:
    return pa.table(
        {
            "sae": matches.sae.astype(np.int16),
            "feature": matches.feature.astype(np.int32),
            "score": matches.score,
        }
    )


def _hits(
    evidence: Evidence,
    found: list[dict[str, Any]],
    clauses: tuple[words.Clause, ...],
    said: Said,
) -> tuple[Hit, ...]:
    keys = [(row["sae"], row["feature"]) for row in found]
    cards = evidence.rows_of(keys)
    if not clauses:
        return tuple(Hit(card, 0.0, ()) for card in cards)
    spoken = said.reasons or {}
    hits = []
    for row, card, why in zip(found, cards, evidence.index.reasons(keys, clauses), strict=True):
        own = (spoken[card.id],) if card.id in spoken else ()
        hits.append(Hit(card, row["score"], own + why))
    return tuple(hits)


def _facets(
    evidence: Evidence, counts: list[dict[str, Any]]
) -> tuple[int, dict[str, tuple[tuple[str, int], ...]]]:
    """Number of matches, and how they divide by model, layer, SAE, top head and family."""
    tally: dict[str, Counter[str]] = {
        name: Counter() for name in ("model", "layer", "sae", "head", "family")
    }
    for row in counts:
        features = row["features"]
        if row["sae"] is None:
            if row["family"] is not None:
                tally["family"][row["family"]] += features
            continue
        of = evidence.numbered(row["sae"]).id
        tally["model"][of.model] += features
        tally["layer"][str(of.layer)] += features
        tally["sae"][str(of)] += features
        if row["head"] is not None:
            tally["head"][str(HeadId(of.model, of.layer, row["head"]))] += features
    total = tally["model"].total()
    ordered = {
        name: tuple(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
        for name, found in tally.items()
    }
    return total, ordered
