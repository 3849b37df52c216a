"""Searching kept examples by what fires and what made it fire: token pairs, distance and head."""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from atlas.errors import NotFound, QueryError
from atlas.store import cursor, rows
from atlas.store.evidence import Evidence
from atlas.store.find import MAX_LIMIT, chosen_saes
from atlas.store.lists import first
from atlas.store.words import escape, unescape
from atlas.types import PairHit, PairPage, PairQuery

_MATCH = """
SELECT p.sae, p.feature, count(*) AS matches, min(p.rank) AS rank FROM pair p
WHERE ($every OR p.sae IN (SELECT unnest($numbers::SMALLINT[])))
  AND ($any_dst OR p.token IN (SELECT unnest($dst::INTEGER[])))
  AND ($any_src OR p.src_token IN (SELECT unnest($src::INTEGER[])))
  AND ($low IS NULL OR p.distance >= $low) AND ($high IS NULL OR p.distance <= $high)
  AND ($head IS NULL OR p.head = $head)
GROUP BY p.sae, p.feature
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
        "every": len(places) == len(evidence.saes),
        "numbers": list(places),
        "any_dst": dst.any,
        "dst": dst.ids,
        "any_src": src.any,
        "src": src.ids,
        "low": query.distance_min,
        "high": query.distance_max,
        "head": query.head,
    }
    mark = cursor.read(query, evidence.snapshot.name)
    hits = _of_family(evidence, _grouped(evidence, values), query.family)
    page = hits.behind(mark, query.limit + 1)
    shown, after = page.part(slice(query.limit)), ""
    if len(page.row) > query.limit:
        end = cursor.Mark(-float(shown.matches[-1]), int(shown.row[-1]))
        after = cursor.write(end, query, evidence.snapshot.name)
    return PairPage(_hits(evidence, shown), len(hits.row), after, evidence.snapshot.name)


class _Hits(NamedTuple):
    """Features with the pair, by ascending row of the lists."""

    row: npt.NDArray[np.int64]  # [hit]
    matches: npt.NDArray[np.int64]  # [hit], top examples with the pair
    rank: npt.NDArray[np.int64]  # [hit], of the strongest of them

    def part(self, at: Any) -> "_Hits":
        """Some of the hits."""
        return _Hits(*(column[at] for column in self))

    def behind(self, mark: cursor.Mark | None, count: int) -> "_Hits":
        """The `count` hits behind a mark, those with most matches first."""
        value = -self.matches.astype(np.float64)
        if mark is not None:
            rest = (value > mark.value) | ((value == mark.value) & (self.row > mark.row))
            return self.part(rest).behind(None, count)
        return self.part(first(value, count))


def _grouped(evidence: Evidence, values: dict[str, Any]) -> _Hits:
    found = evidence.arrow(_MATCH, **values)
    sae, feature, matches, rank = (column.to_numpy() for column in found.columns)
    rows = evidence.lists.rows(sae.astype(np.int64), feature.astype(np.int64))
    return _Hits(rows, matches, rank.astype(np.int64)).part(np.argsort(rows))


def _of_family(evidence: Evidence, hits: _Hits, family: str | None) -> _Hits:
    if family is None:
        return hits
    names = evidence.lists.families
    number = names.index(family) if family in names else len(names)
    return hits.part(evidence.lists.column("family")[hits.row] == number)


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


def _hits(evidence: Evidence, hits: _Hits) -> tuple[PairHit, ...]:
    saes, features = (part.tolist() for part in evidence.lists.keys(hits.row))
    keys = list(zip(saes, features, strict=True))
    bests = evidence.top_examples(dict(zip(keys, hits.rank.tolist(), strict=True)))
    kept = evidence.lists.column("kept")[hits.row].tolist()
    found = []
    cards = evidence.rows_of(keys)
    for key, card, matches, of in zip(keys, cards, hits.matches.tolist(), kept, strict=True):
        best = bests[key]
        vocab = evidence.vocab(card.id.sae.model)
        example = rows.example(best, card.id, best["bias"], vocab)
        found.append(PairHit(card, example, matches, of))
    return tuple(found)
