"""Searching features: words by the index; filters, order, counts and pages by the lists.

Whatever is looked at is one array with a value per feature; examples are not touched.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from atlas.errors import NotFound, QueryError
from atlas.ids import FeatureId, HeadId
from atlas.note_types import ROLES
from atlas.store import cursor, facets, meaning, words
from atlas.store.evidence import Evidence
from atlas.store.facets import HUMAN, NOBODY, Said
from atlas.store.lists import Lists, Rows, first
from atlas.store.meaning import Wanted
from atlas.store.search import Matches
from atlas.types import Hit, Page, Query, Sae, SearchBy, Sort

Mask = npt.NDArray[np.bool_]
MAX_LIMIT = 500

_SHARES = ("head_min", "density_min", "density_max", "support_min", "score_min", "disagreement_min")
_SHARE = {"measured": ("dfa_head", "dfa_share"), "weights": ("weight_head", "weight_share")}
_LEAST = ("density", "disagreement", "support", "score")
"""Columns with a setting `..._min` that says how much they are to be at least."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Features in the order of the lists, with the score that words gave them."""

    rows: Rows
    score: npt.NDArray[np.float64] | None = None

    @property
    def listed(self) -> npt.NDArray[np.int64]:
        """Every row by itself."""
        rows = self.rows
        return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows

    def where(self, keep: Mask) -> "_Found":
        """Those that stay."""
        at = np.flatnonzero(keep)
        rows = at + self.rows.start if isinstance(self.rows, slice) else self.rows[at]
        return _Found(rows, None if self.score is None else self.score[at])

    def scores_of(self, rows: npt.NDArray[np.int64]) -> list[float]:
        """Scores of some of the rows; 0 where no words were asked for."""
        if self.score is None:
            return [0.0] * len(rows)
        scores: list[float] = self.score[np.searchsorted(self.listed, rows)].tolist()
        return scores


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
    found = _found(evidence, query, clauses, said, near)
    values = _values(evidence.lists, query, found)
    rows, values = _page(found.listed, values, mark, query.limit + 1)
    shown, after = rows[: query.limit], ""
    if len(rows) > query.limit:
        after = cursor.write(cursor.Mark(float(values[-2]), int(rows[-2])), query, state)
    total, counts = facets.count(evidence, found.rows, _SHARE[query.head_by][0], said)
    hits = _hits(evidence, shown, found.scores_of(shown), clauses, said, near)
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


def _found(
    evidence: Evidence,
    query: Query,
    clauses: tuple[words.Clause, ...],
    said: Said,
    near: Matches | str,
) -> _Found:
    """The features that meet words, notes and filters."""
    places = chosen_saes(evidence, query.model, query.sae, query.layer, query.head)
    found = _Found(evidence.lists.of(places.values()))
    if clauses:
        named = _named(evidence, query, clauses, said, near)
        found = named.where(facets.inside(named.listed, found.rows))
    for features in _noted(query, said):
        found = found.where(facets.inside(found.listed, facets.rows_of(evidence, features)))
    for keep in _filters(evidence, query, said):
        found = found.where(keep(found.rows))
    return found


def _named(
    evidence: Evidence,
    query: Query,
    clauses: tuple[words.Clause, ...],
    said: Said,
    near: Matches | str,
) -> _Found:
    """What words find: by the index, by meaning, and first of all what people wrote."""
    rows, scored = _matches(evidence, query, clauses, near)
    spoken = facets.rows_of(evidence, said.reasons)
    if not len(spoken):
        return _Found(rows, scored)
    above = float(scored.max(initial=0.0)) + 1.0
    every, place = np.unique(np.concatenate([rows, spoken]), return_inverse=True)
    scores = np.zeros(len(every))
    np.add.at(scores, place, np.concatenate([scored, np.full(len(spoken), above)]))
    return _Found(every, scores)


def _noted(query: Query, said: Said) -> Iterator[Collection[FeatureId]]:
    """The features with the tag, and with the person's title, that the query asks for."""
    if query.tag is not None:
        yield said.tags.get(query.tag, ())
    if query.method == HUMAN:
        yield said.named


def _filters(evidence: Evidence, query: Query, said: Said) -> Iterator[Callable[[Rows], Mask]]:
    """Which rows stay, one test after the other."""
    lists, (top_head, share) = evidence.lists, _SHARE[query.head_by]
    if not query.dead:
        yield lambda rows: lists.column("firings")[rows] > 0
    for name in _LEAST:
        if (least := getattr(query, f"{name}_min")) is not None:
            yield partial(_at_least, lists.column(name), least)
    if (most := query.density_max) is not None:
        yield lambda rows: lists.column("density")[rows] <= most
    if (disagree := query.disagree) is not None:
        yield partial(_is, lists.column("disagree"), int(disagree))
    if query.family is not None:
        yield partial(_is, lists.column("family"), _number(lists.families, query.family))
    if query.method not in (None, HUMAN):
        yield partial(_is, lists.column("method"), _number(lists.methods, query.method))
    if query.head is not None:
        yield partial(_at_least, lists.share(share, query.head), query.head_min)
    if query.role is not None:
        heads = _role_heads(evidence, said.roles.get(query.role, ()))
        yield lambda rows: heads[lists.column("place")[rows], lists.column(top_head)[rows]]


def _at_least(column: npt.NDArray[Any], least: float, rows: Rows) -> Mask:
    return np.asarray(column[rows] >= least)


def _is(column: npt.NDArray[Any], value: int, rows: Rows) -> Mask:
    return np.asarray(column[rows] == value)


def _number(names: Sequence[str], name: str | None) -> int:
    """The number that stands for a name; one that nothing has where the name is not there."""
    return names.index(name) if name in names else len(names)


def _role_heads(evidence: Evidence, heads: Collection[HeadId]) -> Mask:
    """`[SAE, head]`: whether a head of the SAE's layer is among `heads`; the last is for none."""
    widest = max((model.n_heads for model in evidence.models), default=0)
    found = np.zeros((len(evidence.saes), widest + 1), bool)
    for place, sae in enumerate(evidence.saes):
        of = [one.head for one in heads if (one.model, one.layer) == (sae.id.model, sae.id.layer)]
        found[place, [head for head in of if head < widest]] = True
    return found


def _values(lists: Lists, query: Query, found: _Found) -> npt.NDArray[np.float64]:
    """What the matches are sorted by, upwards: descending turns the sign around."""
    top_share = _SHARE[query.head_by][1]
    values: npt.NDArray[Any]
    if query.sort == "relevance":
        values = np.zeros(len(found.listed)) if found.score is None else found.score
    elif query.sort == "id":
        values = found.listed
    elif query.sort == "head_share" and query.head is not None:
        values = lists.share(top_share, query.head)[found.rows]
    else:
        name = top_share if query.sort == "head_share" else query.sort
        values = lists.column(name)[found.rows]
    signed = values.astype(np.float64) * (-1.0 if query.descending else 1.0)
    return np.where(np.isnan(signed), np.inf, signed)


def _page(
    rows: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    mark: cursor.Mark | None,
    count: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The first `count` rows behind the mark, and their values; of equal ones by row."""
    if mark is not None:
        rest = (values > mark.value) | ((values == mark.value) & (rows > mark.row))
        rows, values = rows[rest], values[rest]
    at = first(values, count)
    return rows[at], values[at]


def _matches(
    evidence: Evidence, query: Query, clauses: tuple[words.Clause, ...], near: Matches | str
) -> Matches:
    if isinstance(near, str):
        return evidence.index.match(clauses)
    if query.by == "meaning":
        return near
    return meaning.fuse(evidence.index.match(clauses), near)


def _hits(
    evidence: Evidence,
    rows: npt.NDArray[np.int64],
    scores: Sequence[float],
    clauses: tuple[words.Clause, ...],
    said: Said,
    near: Matches | str,
) -> tuple[Hit, ...]:
    saes, features = (part.tolist() for part in evidence.lists.keys(rows))
    cards = evidence.rows_of(zip(saes, features, strict=True))
    if not clauses:
        return tuple(Hit(card, 0.0, ()) for card in cards)
    cosines = {} if isinstance(near, str) else near.by_row()
    reasons = evidence.index.reasons(rows.tolist(), clauses)
    hits = []
    for row, card, score, why in zip(rows.tolist(), cards, scores, reasons, strict=True):
        own = [said.reasons[card.id]] if card.id in said.reasons else []
        like = [f"meaning: {cosines[row]:.2f} like the label"] if row in cosines else []
        hits.append(Hit(card, score, (*own, *why, *like)))
    return tuple(hits)
