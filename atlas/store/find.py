"""Searching features: words by the index, filters, order, counts and pages by SQL.

SQL reads the table with one row per feature, never the examples.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from atlas.errors import NotFound, QueryError
from atlas.ids import HeadId
from atlas.note_types import ROLES
from atlas.store import cursor, facets, meaning, words
from atlas.store.evidence import Evidence, Key
from atlas.store.facets import HUMAN, NOBODY, Said
from atlas.store.meaning import Wanted
from atlas.store.search import Matches
from atlas.types import Hit, Page, Query, Sae, SearchBy, Sort

MAX_LIMIT = 500

# What a sort looks at. Everything is sorted upwards: descending turns the sign around.
_VALUE: dict[Sort, str] = {
    "relevance": "{score}",
    "density": "f.density",
    "max_act": "f.max_act",
    "mean_act": "f.mean_act",
    "head_share": "{share}",
    "support": "f.support",
    "score": "f.score",
    "disagreement": "f.disagreement",
    "id": "f.place::DOUBLE * 4294967296 + f.feature",
}
_SHARES = ("head_min", "density_min", "density_max", "support_min", "score_min", "disagreement_min")
_SHARE = {"measured": ("f.dfa_head", "dfa_share"), "weights": ("f.weight_head", "weight_share")}
_MATCH = """
WITH match AS (
  SELECT f.sae, f.feature, f.place, f.family, f.method, {band} AS band, {head} AS head,
    {score} AS score, coalesce(({value})::DOUBLE * $sign, 'infinity'::DOUBLE) AS value
  FROM listed f {joins}
  WHERE ($dead OR f.fires)
    AND ($family IS NULL OR f.family = $family)
    AND ($density_min IS NULL OR f.density >= $density_min)
    AND ($density_max IS NULL OR f.density <= $density_max)
    AND ($disagree IS NULL OR f.disagree = $disagree)
    AND ($disagreement_min IS NULL OR f.disagreement >= $disagreement_min)
    AND ($support_min IS NULL OR f.support >= $support_min)
    AND ($score_min IS NULL OR f.score >= $score_min)
    AND ($method IS NULL OR f.method = $method)
    {conditions}
)
"""
_PAGE = """
SELECT sae, feature, place, score, value FROM match
WHERE $last IS NULL OR value > $last OR (value = $last AND (place, feature) > ($place, $feature))
ORDER BY value, place, feature LIMIT $limit + 1
"""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A query made ready for SQL."""

    match: str
    values: dict[str, Any]
    tables: dict[str, pa.Table]


def find(evidence: Evidence, query: Query, said: Said = NOBODY, wanted: Wanted | str = "") -> Page:
    """One page of the features that meet a query.

    Without words, relevance lists by id. Features that people's words match come before those
    that only the evidence matches.

    Args:
        evidence: the snapshot to search.
        query: words, filters, order and page.
        said: what the notes know; needed when the query asks for a tag, a role or a person's title.
        wanted: what the words mean as a vector, or why there is none.

    Raises:
        QueryError: a setting is out of range, or `after` belongs to another query or snapshot.
        NotFound: the query names a model, SAE, layer or head that does not exist.
    """
    check(query)
    clauses = words.parse(query.text)
    near = _nearest(evidence, query, clauses, wanted)
    searched = _searched(query, clauses, near)
    state = " ".join((evidence.snapshot.name, *searched))
    mark = cursor.read(query, state)
    plan = _plan(evidence, query, clauses, said, near)
    last, place, feature = mark or (None, None, None)
    page = {"last": last, "place": place, "feature": feature, "limit": query.limit}
    found = evidence.query(plan.match + _PAGE, plan.tables, **plan.values, **page)
    shown = found[: query.limit]
    after = ""
    if len(found) > query.limit:
        end = shown[-1]
        after = cursor.write(cursor.Mark(end["value"], end["place"], end["feature"]), query, state)
    total, counts = facets.count(evidence, plan.match, plan.tables, plan.values, said)
    hits = _hits(evidence, shown, clauses, said, near)
    reason = near if isinstance(near, str) else ""
    return Page(hits, total, after, evidence.snapshot.name, searched, reason, counts)


def _nearest(
    evidence: Evidence, query: Query, clauses: tuple[words.Clause, ...], wanted: Wanted | str
) -> Matches | str:
    """Features for their meaning; or why there are none, empty where they are not asked for."""
    if query.by == "words" or all(one.how in ("token", "prefix") for one in clauses):
        return ""
    if isinstance(wanted, str):
        return wanted
    places = chosen_saes(evidence, query.model, query.sae, query.layer, query.head)
    try:
        return meaning.nearest(evidence, wanted, list(places))
    except NotFound as error:
        return str(error)


def _searched(
    query: Query, clauses: tuple[words.Clause, ...], near: Matches | str
) -> tuple[str, ...]:
    if not clauses:
        return ()
    if isinstance(near, str):
        return ("words",)
    return ("meaning",) if query.by == "meaning" else ("words", "meaning")


def check(query: Query) -> None:
    """Refuse settings out of range. Raises QueryError naming the setting."""
    if query.sort not in get_args(Sort):
        raise QueryError(f"unknown sort {query.sort!r}", f"known: {', '.join(get_args(Sort))}")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise QueryError(f"limit is {query.limit}", f"it may be 1 to {MAX_LIMIT}")
    if query.by not in get_args(SearchBy):
        raise QueryError(f"unknown search {query.by!r}", f"known: {', '.join(get_args(SearchBy))}")
    if query.head_by not in _SHARE:
        raise QueryError(f"unknown head_by {query.head_by!r}", "known: measured, weights")
    if query.role is not None and query.role not in ROLES:
        raise QueryError(f"unknown role {query.role[:80]!r}", f"known: {', '.join(ROLES)}")
    for name in _SHARES:
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


def _plan(
    evidence: Evidence,
    query: Query,
    clauses: tuple[words.Clause, ...],
    said: Said,
    near: Matches | str,
) -> _Plan:
    places = chosen_saes(evidence, query.model, query.sae, query.layer, query.head)
    candidates = _candidates(evidence, query, clauses, said, near)
    top_head, share = _SHARE[query.head_by]
    joins, conditions = [], []
    values: dict[str, Any] = {
        "sign": -1.0 if query.descending else 1.0,
        "dead": query.dead,
        "family": query.family,
        "method": None if query.method == HUMAN else query.method,
        "density_min": query.density_min,
        "density_max": query.density_max,
        "disagree": query.disagree,
        "disagreement_min": query.disagreement_min,
        "support_min": query.support_min,
        "score_min": query.score_min,
    }
    if len(places) < len(evidence.saes):
        conditions.append("AND f.sae IN (SELECT unnest($numbers::SMALLINT[]))")
        values["numbers"] = list(places)
    if candidates is not None:
        joins.append("JOIN candidate h ON h.sae = f.sae AND h.feature = f.feature")
    if query.head is not None:
        joins.append("JOIN feature_head s ON s.sae = f.sae AND s.feature = f.feature")
        conditions.append(f"AND s.head = $head AND s.{share} >= $head_min")
        values |= {"head": query.head, "head_min": query.head_min}
    if query.role is not None:
        conditions.append(f"AND (f.sae, {top_head}) IN ({_ROLE_HEADS})")
        values |= _role_heads(evidence, said.roles.get(query.role, ()))
    score = "h.score" if clauses else "0.0::DOUBLE"
    owner = "f" if query.head is None else "s"
    match = _MATCH.format(
        band=facets.BAND,
        head=top_head,
        score=score,
        value=_VALUE[query.sort].format(score=score, share=f"{owner}.{share}"),
        joins=" ".join(joins),
        conditions=" ".join(conditions),
    )
    return _Plan(match, values, {} if candidates is None else {"candidate": candidates})


_ROLE_HEADS = "SELECT unnest($role_saes::SMALLINT[]), unnest($role_heads::SMALLINT[])"


def _role_heads(evidence: Evidence, heads: Collection[HeadId]) -> dict[str, list[int]]:
    """Heads as (SAE number, head), once for every SAE of their layer."""
    found = [
        (sae.number, head.head)
        for sae in evidence.saes
        for head in heads
        if (sae.id.model, sae.id.layer) == (head.model, head.layer)
    ]
    return {"role_saes": [sae for sae, _ in found], "role_heads": [head for _, head in found]}


def _candidates(
    evidence: Evidence,
    query: Query,
    clauses: tuple[words.Clause, ...],
    said: Said,
    near: Matches | str,
) -> pa.Table | None:
    """Features that the words and people's notes leave, with their score; None for all."""
    allowed = _allowed(evidence, query, said)
    if not clauses:
        return None if allowed is None else _table(dict.fromkeys(allowed, 0.0))
    matches = _matches(evidence, query, clauses, near)
    spoken = facets.keys(evidence, said.reasons)
    if allowed is None and not spoken:
        return _arrow(matches)
    found = matches.by_key()
    above = float(matches.score.max(initial=0.0)) + 1.0
    found |= {key: found.get(key, 0.0) + above for key in spoken}
    return _table(found if allowed is None else {k: s for k, s in found.items() if k in allowed})


def _matches(
    evidence: Evidence, query: Query, clauses: tuple[words.Clause, ...], near: Matches | str
) -> Matches:
    if isinstance(near, str):
        return evidence.index.match(clauses)
    if query.by == "meaning":
        return near
    return meaning.fuse(evidence.index.match(clauses), near)


def _allowed(evidence: Evidence, query: Query, said: Said) -> set[Key] | None:
    """Features with the tag and the person's title that the query asks for; None for all."""
    asked = [said.tags.get(query.tag, ())] if query.tag is not None else []
    asked += [said.named] if query.method == HUMAN else []
    found = [facets.keys(evidence, features) for features in asked]
    return set.intersection(*found) if found else None


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
    near: Matches | str,
) -> tuple[Hit, ...]:
    keys = [(row["sae"], row["feature"]) for row in found]
    cards = evidence.rows_of(keys)
    if not clauses:
        return tuple(Hit(card, 0.0, ()) for card in cards)
    cosines = {} if isinstance(near, str) else near.by_key()
    hits = []
    for row, card, why in zip(found, cards, evidence.index.reasons(keys, clauses), strict=True):
        own = [said.reasons[card.id]] if card.id in said.reasons else []
        cosine = cosines.get((row["sae"], row["feature"]))
        like = [] if cosine is None else [f"meaning: {cosine:.2f} like the label"]
        hits.append(Hit(card, row["score"], (*own, *why, *like)))
    return tuple(hits)
