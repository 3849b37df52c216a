"""Which examples explain a feature and by which places its labels are judged.

Explaining and judging share no context, so that no label is judged on text that it was made of.
Examples that form labels are every other one of the strongest and all drawn at random, the same as
for labels by rule; no context of theirs is judged by. Silent places are as many as firings: near
misses and places where a neighbouring feature fires (hard ones, known to be silent), and places of
other texts, where it is silent but for its density.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from atlas.types import Context, Example, Feature, Source, histogram_edge
from ingest.label.measure import decile_of

FIRST = 4
"""Positions at the start of a context that are not judged: there is nothing to judge by."""
DENSE = 0.05
"""Density above which a place in an unknown text is not taken to be silent."""
_EDGES = [histogram_edge(b) for b in range(65)]


class Place(NamedTuple):
    """One token in its context: a firing, or a place where the feature is silent."""

    kind: str
    """An example's kind, or silent, neighbour or elsewhere."""
    ctx: int
    doc: str
    start: int
    pos: int
    tokens: tuple[str, ...]
    act: float
    """Activation; 0 where it is silent."""
    decile: int | None
    """Tenth of its activations; None where it is silent."""
    sources: tuple[Source, ...] = ()

    @property
    def fires(self) -> bool:
        return self.decile is not None


class Split(NamedTuple):
    """The places of one feature, by what they serve. No context serves both."""

    shown: tuple[Place, ...]
    """Firings for the explainer, strongest first."""
    counter: tuple[Place, ...]
    """Near misses for it."""
    detection: tuple[Place, ...]
    """Firings and silent places, mixed."""
    fuzzing: tuple[Place, ...]
    """Firings, and silent tokens of firing texts, mixed."""


def split(
    feature: Feature,
    nearby: Iterable[tuple[int, int]],
    elsewhere: Sequence[Context],
    shown: int,
    counter: int,
    firings: int,
) -> Split:
    """Choose the places of a feature; the same every time.

    Args:
        feature: with its kept examples.
        nearby: (context, position) where a neighbour of it fires.
        elsewhere: contexts of the same model drawn at random.
        shown: most firings for the explainer.
        counter: most near misses for it.
        firings: most firings, and most silent places, that a scorer gets.
    """
    rng = random.Random(str(feature.id))
    forming = {one.ctx for one in feature.examples if forms(one)}
    explain = [place_of(feature, one) for one in feature.examples if forms(one)]
    judge = [
        place_of(feature, one)
        for one in feature.examples
        if not forms(one) and one.ctx not in forming and one.pos >= FIRST
    ]
    known = {one.ctx: frozenset(pos for pos, _ in one.acts) for one in feature.examples}
    texts = {place.ctx: place for place in judge}
    fired = _spread([one for one in judge if one.fires], firings, rng)
    near = [one for one in judge if not one.fires]
    hard = [
        texts[ctx]._replace(kind="neighbour", pos=pos, act=0.0, decile=None, sources=())
        for ctx, pos in sorted(set(nearby))
        if ctx in texts and pos >= FIRST and pos not in known[ctx]
    ]
    silent = _silent(texts, known, rng)
    far = [] if feature.row.density > DENSE else _elsewhere(elsewhere, known, rng, firings)
    hard = rng.sample(hard, len(hard))
    negatives = _apart(_turns(near, hard, far) + silent, len(fired))
    fuzzed = _spread(fired, firings, rng)
    return Split(
        shown=_for_explainer([one for one in explain if one.fires], shown, rng),
        counter=tuple([one for one in explain if not one.fires][:counter]),
        detection=_mixed([*fired, *negatives], rng),
        fuzzing=_mixed([*fuzzed, *_apart(silent, len(fuzzed))], rng),
    )


def forms(example: Example) -> bool:
    """Whether an example belongs to those that labels are made of."""
    return example.kind == "random" or (example.kind != "interval" and example.rank % 2 == 0)


def place_of(feature: Feature, example: Example) -> Place:
    """An example as a place."""
    fires = example.kind != "near_miss"
    act = example.act if fires else 0.0
    decile = decile_of(act, feature.histogram, _EDGES) if fires else None
    return Place(
        example.kind,
        example.ctx,
        example.doc,
        example.start,
        example.pos,
        example.tokens,
        act,
        decile,
        example.sources,
    )


def _for_explainer(firings: list[Place], count: int, rng: random.Random) -> tuple[Place, ...]:
    """Half the strongest, half spread over the deciles of the rest; strongest first."""
    ordered = sorted(firings, key=lambda one: -one.act)
    strongest, rest = ordered[: (count + 1) // 2], ordered[(count + 1) // 2 :]
    chosen = strongest + _spread(rest, count - len(strongest), rng)
    return tuple(sorted(chosen, key=lambda one: -one.act))


def _spread(firings: Iterable[Place], count: int, rng: random.Random) -> list[Place]:
    """Up to `count` firings, taken in turn from every decile."""
    by_decile: dict[int | None, list[Place]] = {}
    for one in sorted(set(firings), key=lambda one: (one.ctx, one.pos)):
        by_decile.setdefault(one.decile, []).append(one)
    return _turns(*(rng.sample(part, len(part)) for part in by_decile.values()))[:count]


def _turns(*parts: Sequence[Place]) -> list[Place]:
    """One of each in turn."""
    return [one for row in zip_longest(*parts) for one in row if one is not None]


def _silent(
    texts: Mapping[int, Place], known: Mapping[int, frozenset[int]], rng: random.Random
) -> list[Place]:
    """Two tokens of every text to judge by on which the feature is known to be silent."""
    found: list[list[Place]] = [[], []]
    for ctx, one in sorted(texts.items()):
        free = [pos for pos in range(FIRST, len(one.tokens)) if pos not in known[ctx]]
        for part, pos in zip(found, rng.sample(free, min(2, len(free))), strict=False):
            part.append(one._replace(kind="silent", pos=pos, act=0.0, decile=None, sources=()))
    return [one for part in found for one in rng.sample(part, len(part))]


def _elsewhere(
    contexts: Sequence[Context],
    known: Mapping[int, frozenset[int]],
    rng: random.Random,
    count: int,
) -> list[Place]:
    """Random tokens of texts that are not among the feature's examples."""
    others = [one for one in contexts if one.ctx not in known and len(one.tokens) > FIRST]
    return [
        Place("elsewhere", one.ctx, one.doc, one.start, pos, one.tokens, 0.0, None)
        for one in rng.sample(others, min(count, len(others)))
        for pos in [rng.randrange(FIRST, len(one.tokens))]
    ]


def _apart(places: Iterable[Place], count: int) -> list[Place]:
    """The first `count`, no token twice."""
    found: dict[tuple[int, int], Place] = {}
    for one in places:
        found.setdefault((one.ctx, one.pos), one)
    return list(found.values())[:count]


def _mixed(places: list[Place], rng: random.Random) -> tuple[Place, ...]:
    return tuple(rng.sample(places, len(places)))
