"""Scores of a label: a judge says where the feature fires, and what it said is measured.

The judge is a language model or a rule; places, measures and what is kept are the same, so that
methods can be compared.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ingest.label import passages
from ingest.label.client import Client, Failed
from ingest.label.manner import Ask
from ingest.label.measure import Score, TooFew, balanced, correlation, enough
from ingest.label.places import Place, Split
from ingest.label.prompts import prompt
from ingest.label.replies import Verdict, expected_digit, read, schema_of
from ingest.label.rules import Facts, Rule, holds, normalise
from ingest.label.settings import Choice, Scorer

NINE = 9.0
"""Strength that a simulation calls the largest."""


class Judge(Protocol):
    """Says of places whether a feature fires there, going by a label alone."""

    def by(self, scorer: Scorer) -> str:
        """Who judges: prompt version and model, or rule."""
        ...

    async def judge(self, scorer: Scorer, places: Sequence[Place]) -> list[float]:
        """1 or 0 per place; 0 to 9 for simulation. Raises Failed where it cannot say."""
        ...


class Judged(NamedTuple):
    """A score with the judgements behind it."""

    scorer: Scorer
    by: str
    score: Score
    judgements: str  # JSON


class LlmJudge:
    """A language model that reads a label and passages."""

    def __init__(self, client: Client, label: str, choice: Choice) -> None:
        self._client, self._label, self._choice = client, label, choice

    def by(self, scorer: Scorer) -> str:
        return f"{prompt(scorer).version} {self._client.model}"

    async def judge(self, scorer: Scorer, places: Sequence[Place]) -> list[float]:
        asks = requests(scorer, self._label, places, self._choice)
        said: list[float] = []
        for ask, size in asks:
            if scorer == "simulation":
                said.append(await self._digit(ask))
            else:
                verdict = await read(self._client, ask, Verdict, size)
                said += [float(one) for one in verdict.fires]
        return said

    async def _digit(self, ask: Ask) -> float:
        try:
            return expected_digit(await self._client.ask(ask))
        except Failed:
            await self._client.forget(ask)
            raise


def requests(
    scorer: Scorer, label: str, places: Sequence[Place], choice: Choice
) -> list[tuple[Ask, int]]:
    """The requests that a language model needs to judge places, each with how many it is about."""
    size = 1 if scorer == "simulation" else choice.batch
    asks = []
    for at in range(0, len(places), size):
        lines = [_line(scorer, place, choice) for place in places[at : at + size]]
        text = lines[0] if scorer == "simulation" else passages.numbered(lines)
        messages = prompt(scorer).messages(label=label, passages=text, **_count(scorer, lines))
        if scorer == "simulation":
            asks.append((Ask(messages, 1, logprobs=True), 1))
        else:
            schema = schema_of(Verdict, len(lines))
            asks.append((Ask(messages, 20 + 8 * len(lines), schema), len(lines)))
    return asks


def _count(scorer: Scorer, lines: Sequence[str]) -> dict[str, int]:
    return {} if scorer == "simulation" else {"count": len(lines)}


def _line(scorer: Scorer, place: Place, choice: Choice) -> str:
    if scorer == "fuzzing":
        return passages.marked(place, choice.before, choice.after)
    return passages.cut_off(place, choice.before)


class RuleJudge:
    """A label's own rule, read on the text alone: where it speaks of a source, any earlier token
    that could be that source will do. A rule that every text meets therefore scores 0.5."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def by(self, scorer: Scorer) -> str:  # noqa: ARG002 (a language model's depends on it)
        return "rule"

    async def judge(self, scorer: Scorer, places: Sequence[Place]) -> list[float]:
        strength = NINE if scorer == "simulation" else 1.0
        return [strength * permits(self._rule, place.tokens, place.pos) for place in places]


def permits(rule: Rule, tokens: Sequence[str], pos: int) -> bool:
    """Whether a text lets a rule hold at `pos` for some source up to there."""
    words = np.array([normalise(token) for token in tokens], dtype=object)
    sources = np.arange(pos + 1)
    at = np.full(pos + 1, pos)

    def word(where: np.ndarray) -> np.ndarray:
        inside = (where >= 0) & (where < len(words))
        return np.where(inside, words[np.clip(where, 0, len(words) - 1)], "")

    facts = Facts(
        word(at),
        word(at - 1),
        word(at + 1),
        word(sources),
        word(sources - 1),
        pos - sources,
        sources,
    )
    return bool(holds(rule, facts).any())


def items(scorer: Scorer, split: Split) -> tuple[Place, ...]:
    """The places that a scorer asks about."""
    return split.fuzzing if scorer == "fuzzing" else split.detection


async def score(scorer: Scorer, judge: Judge, split: Split) -> Judged:
    """One score of one label.

    Raises:
        Failed: the judge could not say, or there is too little to judge by.
    """
    places = items(scorer, split)
    try:
        enough(sum(one.fires for one in places), sum(not one.fires for one in places))
    except TooFew as error:
        raise Failed(str(error)) from error
    said = await judge.judge(scorer, places)
    if scorer == "simulation":
        measured = correlation([one.act for one in places], said)
    else:
        fires, deciles = [one.fires for one in places], [one.decile for one in places]
        measured = balanced(fires, said, deciles)
    return Judged(scorer, judge.by(scorer), measured, _kept(places, said))


def _kept(places: Sequence[Place], said: Sequence[float]) -> str:
    rows = [
        {
            "kind": one.kind,
            "doc": one.doc,
            "start": one.start,
            "pos": one.pos,
            "token": one.tokens[one.pos],
            "act": round(one.act, 5),
            "decile": one.decile,
            "fires": one.fires,
            "said": round(answer, 4),
        }
        for one, answer in zip(places, said, strict=True)
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
