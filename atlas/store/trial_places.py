"""What a hypothesis is tested on: kept firings, and places of their contexts without firing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atlas.errors import NotFound, QueryError
from atlas.hypothesis import Hypothesis, Ints, Scene, Words
from atlas.ids import FeatureId, HeadId, Id, ModelId, SaeId
from atlas.store.evidence import Evidence, Key

FEATURES = 300
"""Features that are tested of a head or an SAE, drawn by the seed."""
PLACES = 4_000
"""Places without firing in all, shared between the features tested."""
PER_FEATURE = 200

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
class Tested:
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


def features(evidence: Evidence, target: Id, seed: int) -> tuple[list[dict[str, Any]], int]:
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


def gather(evidence: Evidence, found: list[dict[str, Any]], seed: int) -> Tested:
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
    return Tested(
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


def scene(tested: Tested, places: Places) -> Scene:
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


def somewhere(tested: Tested, hypothesis: Hypothesis, places: Places) -> NDArray[np.float64]:
    """`[n]`: of the sources at or before each place, and of the heads, the share it holds of."""
    if not hypothesis.of_source:
        return hypothesis.holds(scene(tested, places)).astype(np.float64)
    heads = np.arange(tested.n_heads if "head" in hypothesis.names else 1)
    found = np.zeros(len(places.pos))
    for begin in range(0, len(found), CHUNK):
        some = places.take(np.arange(begin, min(begin + CHUNK, len(found))))
        counts = (some.pos + 1) * len(heads)
        row = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        spread = some.take(row)._replace(src=within // len(heads), head=within % len(heads))
        held = hypothesis.holds(scene(tested, spread))
        found[begin : begin + len(counts)] = np.bincount(row, held, len(counts)) / counts
    return found
