"""Searching kept examples by what fires and what made it fire: token pairs, distance and head."""

import re
from dataclasses import dataclass
from typing import Any

from atlas.errors import NotFound, QueryError
from atlas.store import cursor, rows
from atlas.store.evidence import Evidence
from atlas.store.find import MAX_LIMIT, chosen_saes
from atlas.store.words import escape, unescape
from atlas.types import PairHit, PairPage, PairQuery

_MATCH = """
WITH hit AS (
  SELECT p.sae, p.feature, count(*) AS matches, min(p.rank) AS rank FROM pair p
  WHERE p.sae IN (SELECT unnest($numbers::SMALLINT[]))
    AND ($any_dst OR p.token IN (SELECT unnest($dst::INTEGER[])))
    AND ($any_src OR p.src_token IN (SELECT unnest($src::INTEGER[])))
    AND ($low IS NULL OR p.distance >= $low) AND ($high IS NULL OR p.distance <= $high)
    AND ($head IS NULL OR p.head = $head)
  GROUP BY p.sae, p.feature
), match AS (
  SELECT h.*, f.place, f.kept, -h.matches::DOUBLE AS value
  FROM hit h JOIN listed f USING (sae, feature)
  WHERE $family IS NULL OR f.family = $family
)
"""
_PAGE = """
SELECT * FROM match
WHERE $last IS NULL OR value > $last OR (value = $last AND (place, feature) > ($place, $feature))
ORDER BY value, place, feature LIMIT $limit + 1
"""


@dataclass(frozen=True, slots=True)
class _Ids:
    """Token ids that a typed text means; `any` when nothing was asked for."""

    any: bool
    ids: list[int]


def find_pairs(evidence: Evidence, query: PairQuery) -> PairPage:
    """Features whose kept top examples have the pair, those with most such examples first.

    Raises:
        QueryError: neither token nor distance nor head is given, a number is out of range, or
            `after` belongs to another query or snapshot.
        NotFound: a token that no vocabulary has, or a model, SAE, layer or head that is not there.
    """
    _check(query)
    places = chosen_saes(evidence, query.model, query.sae, query.layer, query.head)
    models = {evidence.numbered(number).id.model for number in places}
    dst, src = (_ids(evidence, text, models) for text in (query.dst, query.src))
    values: dict[str, Any] = {
        "numbers": list(places),
        "any_dst": dst.any,
        "dst": dst.ids,
        "any_src": src.any,
        "src": src.ids,
        "low": query.distance_min,
        "high": query.distance_max,
        "head": query.head,
        "family": query.family,
    }
    mark = cursor.read(query, evidence.snapshot.name)
    last, place, feature = mark or (None, None, None)
    found = evidence.query(
        _MATCH + _PAGE, **values, last=last, place=place, feature=feature, limit=query.limit
    )
    (total,) = evidence.query(_MATCH + "SELECT count(*) AS total FROM match", **values)
    shown, after = found[: query.limit], ""
    if len(found) > query.limit:
        end = cursor.Mark(*(shown[-1][name] for name in ("value", "place", "feature")))
        after = cursor.write(end, query, evidence.snapshot.name)
    return PairPage(_hits(evidence, shown), total["total"], after, evidence.snapshot.name)


def _check(query: PairQuery) -> None:
    asked = (query.dst, query.src, query.distance_min, query.distance_max, query.head)
    if all(one is None for one in asked):
        raise QueryError("no pair asked for", "give a token, a distance or a head")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise QueryError(f"limit is {query.limit}", f"it may be 1 to {MAX_LIMIT}")
    low, high = query.distance_min, query.distance_max
    for name, value in (("distance_min", low), ("distance_max", high)):
        if value is not None and not 0 <= value < 2**15:
            raise QueryError(f"{name} is {value}", "it counts positions: 0 to 32767")
    if low is not None and high is not None and low > high:
        raise QueryError(f"distance_min {low} is above distance_max {high}")


def _ids(evidence: Evidence, text: str | None, models: set[str]) -> _Ids:
    if text is None:
        return _Ids(any=True, ids=[])
    plain = unescape(re.sub(r'^"(.*)"$', r"\1", text, flags=re.DOTALL))
    ids = [token for model in sorted(models) for token in evidence.vocab(model).ids(plain)]
    if not ids:
        spaced = [model for model in models if evidence.vocab(model).ids(f" {plain.strip()}")]
        hint = f'did you mean " {plain.strip()}", with the space?' if spaced else ""
        raise NotFound(f'"{escape(plain)}" is not one token of {", ".join(sorted(models))}', hint)
    return _Ids(any=False, ids=ids)


def _hits(evidence: Evidence, found: list[dict[str, Any]]) -> tuple[PairHit, ...]:
    keys = [(row["sae"], row["feature"]) for row in found]
    bests = evidence.top_examples({key: row["rank"] for key, row in zip(keys, found, strict=True)})
    hits = []
    for key, row, card in zip(keys, found, evidence.rows_of(keys), strict=True):
        best = bests[key]
        vocab = evidence.vocab(card.id.sae.model)
        example = rows.example(best, card.id, best["bias"], vocab)
        hits.append(PairHit(card, example, row["matches"], row["kept"]))
    return tuple(hits)
