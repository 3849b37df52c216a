"""Testing a hypothesis: kept firings with their measured sources against places without firing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atlas.errors import NotFound, QueryError
from atlas.hypothesis import Bools, Hypothesis, Ints, Scene, Words
from atlas.hypothesis_types import Instance, Rate, Trial, Verdict
from atlas.ids import FeatureId, HeadId, Id, ModelId, SaeId, parse
from atlas.note_types import Note, SavedQuery
from atlas.store.evidence import Evidence, Key
from atlas.types import Interval

FEATURES = 300
"""Features that are tested of a head or an SAE, drawn by the seed."""
PLACES = 4_000
"""Places without firing in all, shared between the features tested."""
PER_FEATURE = 200
SHOWN = 10
"""Instances and features that are listed."""
_FIRED = ("top", "interval", "random")

_FEATURES = """
SELECT f.sae, f.feature, f.density FROM feature f JOIN sae s USING (sae)
WHERE s.model = $model AND f.firings > 0 AND ($sae IS NULL OR f.sae = $sae)
  AND ($layer IS NULL OR s.layer = $layer) AND ($head IS NULL OR f.dfa_head = $head)
  AND ($feature IS NULL OR f.feature = $feature)
  AND EXISTS (SELECT 1 FROM example e WHERE e.sae = f.sae AND e.feature = f.feature)
ORDER BY hash(f.sae, f.feature, $seed::BIGINT)
"""
_EXAMPLES = """
WITH wanted AS (
  SELECT unnest($saes::SMALLINT[]) AS sae, unnest($features::INTEGER[]) AS feature
)
SELECT e.sae, e.feature, e.kind, e.ctx, e.pos, e.act_pos, coalesce(e.distance, 0) AS distance,
  coalesce(e.src_head[list_position(e.src_pos, (e.pos - e.distance)::SMALLINT)], -1) AS head
FROM wanted w JOIN example e USING (sae, feature)
ORDER BY e.sae, e.feature, e.kind, e.band, e.rank
"""
_CONTEXTS = """
SELECT ctx, tokens FROM context WHERE ctx IN (SELECT unnest($numbers::INTEGER[])) ORDER BY ctx
"""
_MATCH = "SELECT regexp_matches(text, $pattern) AS found FROM texts ORDER BY number"


class Saved(NamedTuple):
    """A hypothesis that somebody kept, with what it is about."""

    hypothesis: str
    target: str
    seed: int


def of_note(note: Note[Any]) -> Saved:
    """What a note says is to be tested. Raises QueryError when it is no saved hypothesis."""
    found = note.content
    if not isinstance(found, SavedQuery) or found.form != "hypothesis":
        raise QueryError(f"note {note.id} is no saved hypothesis", "save one with form hypothesis")
    return Saved(
        found.text, str(found.parameters["target"]), int(found.parameters.get("seed") or 0)
    )


class Places(NamedTuple):
    """Tokens of contexts, with a source where one is known."""

    feature: Ints  # [n], row among the tested features
    ctx: Ints  # [n], row of Texts
    pos: Ints  # [n]
    src: Ints  # [n], -1 where unknown
    head: Ints  # [n], -1 where unknown

    def take(self, rows: NDArray[Any]) -> "Places":
        return Places(*(column[rows] for column in self))


class Texts(NamedTuple):
    """Contexts side by side."""

    number: Ints  # [context]
    tokens: Ints  # [context, pos], -1 behind the end
    seen: Ints  # [context, pos], how often the token stood earlier

    @property
    def length(self) -> Ints:
        found: Ints = (self.tokens >= 0).sum(1)
        return found


@dataclass(frozen=True, slots=True)
class _Tested:
    """The features of a test and what is tested of them."""

    keys: list[Key]
    density: NDArray[np.float64]
    layers: Ints
    n_heads: int
    texts: Texts
    words: Words
    firings: Places
    kinds: list[str]
    places: Places


def test(evidence: Evidence, hypothesis: Hypothesis, target: str | Id, seed: int) -> Trial:
    """Test a hypothesis about a feature, about the features a head leads, or about an SAE's.

    Args:
        evidence: the snapshot.
        hypothesis: parsed.
        target: id of a feature, head or SAE.
        seed: of the features and places that are drawn.

    Raises:
        NotFound: no such thing, or it has no kept firings.
        QueryError: the target is a model, or a regular expression is wrong.
    """
    target = parse(target) if isinstance(target, str) else target
    found, candidates = _features(evidence, target, seed)
    tested = _gather(evidence, found, seed)
    measured = hypothesis.holds(_scene(tested, tested.firings))
    possible = _somewhere(tested, hypothesis, tested.firings)
    alarms = _somewhere(tested, hypothesis, tested.places)
    every = np.ones(len(tested.keys), np.bool_)

    def verdict(name: str, chosen: Bools) -> Verdict:
        return _verdict(name, chosen, tested, measured, possible, alarms)

    names = [str(FeatureId(evidence.numbered(sae).id, index)) for sae, index in tested.keys]
    each = [verdict(name, _only(row, len(names))) for row, name in enumerate(names)]
    each.sort(key=lambda one: (-(one.lift_interval.low if one.lift_interval else -1), one.target))
    fired = np.array([kind in _FIRED for kind in tested.kinds], np.bool_)
    return Trial(
        hypothesis=hypothesis.text,
        target=str(target),
        snapshot=evidence.snapshot.name,
        seed=seed,
        of_source=hypothesis.of_source,
        candidates=candidates,
        pooled=verdict(str(target), every),
        verdicts=tuple(each[:SHOWN]) if len(each) > 1 else (),
        missed=_instances(evidence, tested, tested.firings.take((~measured & fired).nonzero()[0])),
        alarmed=_instances(evidence, tested, tested.places.take(alarms.nonzero()[0])),
    )


def _only(row: int, n: int) -> Bools:
    chosen = np.zeros(n, np.bool_)
    chosen[row] = True
    return chosen


def _features(evidence: Evidence, target: Id, seed: int) -> tuple[list[dict[str, Any]], int]:
    """The features to test, and how many there would be."""
    if isinstance(target, ModelId):
        raise QueryError(f"{target} is a model", "name a feature, a head or an SAE")
    if not evidence.has(target):
        raise NotFound(f"no {target} in snapshot {evidence.snapshot.name}")
    sae = target.sae if isinstance(target, FeatureId) else target
    values: dict[str, Any] = {
        "model": sae.model,
        "sae": evidence.sae(sae).number if isinstance(sae, SaeId) else None,
        "layer": target.layer if isinstance(target, HeadId) else None,
        "head": target.head if isinstance(target, HeadId) else None,
        "feature": target.index if isinstance(target, FeatureId) else None,
    }
    found = evidence.query(_FEATURES, **values, seed=seed % 2**63)
    if not found:
        raise NotFound(f"{target} has no kept firings", "it never fired, or no SAE speaks of it")
    return found[:FEATURES], len(found)


def _gather(evidence: Evidence, found: list[dict[str, Any]], seed: int) -> _Tested:
    keys: list[Key] = [(row["sae"], row["feature"]) for row in found]
    examples = evidence.query(
        _EXAMPLES, saes=[sae for sae, _ in keys], features=[feature for _, feature in keys]
    )
    texts = _texts(evidence, {row["ctx"] for row in examples})
    row_of = {key: row for row, key in enumerate(keys)}
    place_of = {int(number): row for row, number in enumerate(texts.number)}
    listed = [
        (
            row_of[row["sae"], row["feature"]],
            place_of[row["ctx"]],
            row["pos"],
            row["pos"] - row["distance"],
            row["head"],
        )
        for row in examples
    ]
    model = evidence.model(evidence.numbered(keys[0][0]).id.model)
    return _Tested(
        keys,
        np.array([row["density"] for row in found]),
        np.array([evidence.numbered(sae).id.layer for sae, _ in keys], np.int64),
        model.n_heads,
        texts,
        Words(evidence.vocab(model.id).readable().texts, _matcher(evidence)),
        Places(*np.array(listed, np.int64).T),
        [row["kind"] for row in examples],
        _silent(examples, row_of, place_of, texts, seed),
    )


def _texts(evidence: Evidence, numbers: Iterable[int]) -> Texts:
    found = evidence.query(_CONTEXTS, numbers=sorted(numbers))
    tokens = np.full((len(found), max(len(row["tokens"]) for row in found)), -1, np.int64)
    for own, row in zip(tokens, found, strict=True):
        own[: len(row["tokens"])] = row["tokens"]
    seen = np.stack(
        [(tokens[:, :pos] == tokens[:, pos, None]).sum(1) for pos in range(tokens.shape[1])], 1
    )
    return Texts(np.array([row["ctx"] for row in found], np.int64), tokens, seen)


def _silent(
    examples: list[dict[str, Any]],
    row_of: dict[Key, int],
    place_of: dict[int, int],
    texts: Texts,
    seed: int,
) -> Places:
    """Places drawn from the features' contexts where they do not fire; never the first token."""
    fires: dict[tuple[int, int], set[int]] = {}
    for row in examples:
        key = (row_of[row["sae"], row["feature"]], place_of[row["ctx"]])
        fires.setdefault(key, set()).update(row["act_pos"] or ())
    open_places: dict[int, list[tuple[int, int]]] = {}
    length = texts.length
    for (feature, ctx), taken in sorted(fires.items()):
        free = ((ctx, pos) for pos in range(1, int(length[ctx])) if pos not in taken)
        open_places.setdefault(feature, []).extend(free)
    draw, most = np.random.default_rng(seed), max(1, PLACES // max(1, len(row_of)))
    rows: list[tuple[int, int, int]] = []
    for feature, free_places in open_places.items():
        n = min(len(free_places), most, PER_FEATURE)
        chosen = draw.choice(len(free_places), n, replace=False)
        rows += [(feature, *free_places[number]) for number in sorted(chosen)]
    columns = np.array(rows, np.int64).reshape(-1, 3)
    unknown = np.full(len(columns), -1, np.int64)
    return Places(columns[:, 0], columns[:, 1], columns[:, 2], unknown, unknown)


def _matcher(evidence: Evidence) -> Any:
    """Regular expressions run in the database, whose engine needs linear time for any of them."""

    def match(texts: Sequence[str], pattern: str) -> list[bool]:
        table = pa.table({"number": range(len(texts)), "text": list(texts)})
        try:
            found = evidence.query(_MATCH, {"texts": table}, pattern=pattern)
        except duckdb.InvalidInputException as error:
            reason = str(error).splitlines()[0]
            raise QueryError(f"regular expression {pattern[:80]!r}: {reason}") from error
        return [row["found"] for row in found]

    return match


def _scene(tested: _Tested, places: Places) -> Scene:
    """Columns of pairs; every place must have its source."""
    texts, words = tested.texts, tested.words

    def token(pos: Ints) -> Ints:
        inside = (pos >= 0) & (pos < texts.tokens.shape[1])
        found = np.where(inside, texts.tokens[places.ctx, np.where(inside, pos, 0)], -1)
        return words.of_tokens(found)

    features = np.array([feature for _, feature in tested.keys], np.int64)
    return Scene(
        {
            "dst.token": token(places.pos),
            "dst.before": token(places.pos - 1),
            "src.token": token(places.src),
            "src.before": token(places.src - 1),
            "src.after": token(places.src + 1),
            "dst.seen": texts.seen[places.ctx, places.pos],
            "dst.pos": places.pos,
            "src.pos": places.src,
            "distance": places.pos - places.src,
            "head": places.head,
            "layer": tested.layers[places.feature],
            "feature": features[places.feature],
        },
        words,
    )


CHUNK = 400
"""Places whose sources and heads are laid out at once."""


def _somewhere(tested: _Tested, hypothesis: Hypothesis, places: Places) -> Bools:
    """`[n]`: whether it holds of some source at or before each place, and of some head."""
    if not hypothesis.of_source:
        return hypothesis.holds(_scene(tested, places))
    heads = np.arange(tested.n_heads if "head" in hypothesis.names else 1)
    found = np.zeros(len(places.pos), np.bool_)
    for begin in range(0, len(found), CHUNK):
        some = places.take(np.arange(begin, min(begin + CHUNK, len(found))))
        counts = (some.pos + 1) * len(heads)
        row = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        spread = some.take(row)._replace(src=within // len(heads), head=within % len(heads))
        held = hypothesis.holds(_scene(tested, spread))
        np.logical_or.at(found, begin + row, held)
    return found


def _verdict(
    name: str, chosen: Bools, tested: _Tested, measured: Bools, possible: Bools, alarms: Bools
) -> Verdict:
    """What was seen of the features `chosen` `[feature]`."""
    own = chosen[tested.firings.feature]
    kinds = np.array(tested.kinds)
    by_kind = {
        kind: rate(measured[own & (kinds == kind)])
        for kind in _FIRED
        if bool((own & (kinds == kind)).any())
    }
    drawn = own & (kinds == "random" if "random" in by_kind else np.isin(kinds, _FIRED))
    recall, alarm = rate(measured[drawn]), rate(alarms[chosen[tested.places.feature]])
    density = float(tested.density[chosen].mean())
    somewhere = rate(possible[drawn])
    precision, interval = precision_of(somewhere, alarm, density)
    return Verdict(
        target=name,
        features=int(chosen.sum()),
        density=density,
        recall=recall,
        by_kind=by_kind,
        anywhere=somewhere,
        alarms=alarm,
        near_misses=rate(measured[own & (kinds == "near_miss")]),
        precision=precision,
        precision_interval=interval,
        lift=None if precision is None else precision / density,
        lift_interval=interval and Interval(interval.low / density, interval.high / density),
    )


def precision_of(
    recall: Rate, alarms: Rate, density: float
) -> tuple[float | None, Interval | None]:
    """Share of firings where a hypothesis holds, by Bayes: d R / (d R + (1 - d) F).

    Args:
        recall: R, of firings.
        alarms: F, of places without.
        density: d, how often there are firings.

    Returns:
        None where one of them was not seen, or it holds nowhere.
    """
    if recall.share is None or alarms.share is None or recall.interval is None:
        return None, None
    assert alarms.interval is not None

    def share(r: float, f: float) -> float:
        hits = density * r
        return hits / (hits + (1 - density) * f) if hits + f > 0 else 0.0

    low = share(recall.interval.low, alarms.interval.high)
    high = share(recall.interval.high, alarms.interval.low)
    if recall.held == alarms.held == 0:
        return None, None
    return share(recall.share, alarms.share), Interval(low, high)


def rate(held: Bools) -> Rate:
    """How often something held, with a 95 % Wilson interval."""
    n, count = len(held), int(held.sum())
    if not n:
        return Rate(0, 0, None, None)
    z2, share = 1.959964**2, count / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    ends = max(0.0, float(middle - half)), min(1.0, float(middle + half))
    return Rate(count, n, share, Interval(*ends))


def _instances(evidence: Evidence, tested: _Tested, places: Places) -> tuple[Instance, ...]:
    """Some of the places: the first of every feature, before the second of any."""
    _, start, count = np.unique(places.feature, return_index=True, return_counts=True)
    nth = np.arange(len(places.feature)) - np.repeat(start, count)  # places lie feature by feature
    places = places.take(np.argsort(nth, kind="stable"))
    texts, found = tested.texts, []
    for feature, ctx, pos, src, head in zip(*(c[:SHOWN].tolist() for c in places), strict=True):
        sae, index = tested.keys[feature]
        known = evidence.numbered(sae).id
        vocab = evidence.vocab(known.model)
        found.append(
            Instance(
                FeatureId(known, index),
                int(texts.number[ctx]),
                pos,
                None if src < 0 else src,
                vocab.text(int(texts.tokens[ctx, pos])),
                None if src < 0 else vocab.text(int(texts.tokens[ctx, src])),
                None if head < 0 else head,
            )
        )
    return tuple(found)
