"""Rules over one example: what its tokens, its source and their distance must be.

A rule is small enough to be read, stored as JSON and tested on any firing. Words are compared
without case and surrounding space, so that " The" and "the" are one.
"""

import json
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Kind = Literal[
    "token",
    "before",
    "next",
    "source",
    "induction",
    "duplicate",
    "previous",
    "self",
    "near",
    "far",
    "first",
    "all",
]

NEAR, FAR = 8, 32
"""Tokens up to which a source is near, and beyond which it is far."""


class Rule(NamedTuple):
    """One condition, or several that must all hold."""

    kind: Kind
    words: tuple[str, ...] = ()
    parts: tuple["Rule", ...] = ()  # of kind all

    def to_json(self) -> str:
        """The rule as text that `from_json` reads."""
        return json.dumps(self._plain(), ensure_ascii=False)

    def _plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"kind": self.kind}
        if self.words:
            plain["words"] = list(self.words)
        if self.parts:
            plain["parts"] = [part._plain() for part in self.parts]
        return plain


def from_json(text: str) -> Rule:
    """What `Rule.to_json` wrote."""
    return _from_plain(json.loads(text))


def _from_plain(plain: dict[str, Any]) -> Rule:
    parts = tuple(_from_plain(part) for part in plain.get("parts", ()))
    return Rule(plain["kind"], tuple(plain.get("words", ())), parts)


class Facts(NamedTuple):
    """What rules look at; arrays over examples. Words are normalised; "" where there is none."""

    token: NDArray[Any]  # str [n], where the feature fires
    before: NDArray[Any]  # str [n], the token before it
    next: NDArray[Any]  # str [n], the token after it
    source: NDArray[Any]  # str [n], the source with the largest signed DFA
    before_source: NDArray[Any]  # str [n], the token before that source
    distance: NDArray[Any]  # int [n], from the source to the firing
    source_pos: NDArray[Any]  # int [n]

    def rows(self, which: NDArray[Any]) -> "Facts":
        """The facts of some examples."""
        return Facts(*(column[which] for column in self))


def normalise(text: str) -> str:
    """A token's word: lower case, no space around; white space alone is made visible."""
    word = text.strip().lower()
    return word or text.replace("\n", "↵").replace("\t", "⇥").replace("\r", "").replace(" ", "␣")


def holds(rule: Rule, facts: Facts) -> NDArray[Any]:
    """`[n]` bool: whether the rule holds in each example.

    induction: the source follows an earlier copy of the firing token, [A][X]...[A];
    duplicate: the source is an earlier copy; previous, self, near and far speak of the distance;
    first: the source is position 0 (PAPER.md section 6.2).
    """
    if rule.kind == "all":
        parts = [holds(part, facts) for part in rule.parts]
        return np.asarray(np.all(parts, axis=0))
    if rule.kind in ("token", "before", "next", "source"):
        return np.isin(getattr(facts, rule.kind), rule.words)
    away = facts.distance > 0
    by_kind: dict[str, NDArray[Any]] = {
        "induction": (facts.before_source == facts.token) & away & (facts.token != ""),
        "duplicate": (facts.source == facts.token) & away,
        "previous": facts.distance == 1,
        "self": facts.distance == 0,
        "near": (facts.distance > 1) & (facts.distance <= NEAR),
        "far": facts.distance > FAR,
        "first": facts.source_pos == 0,
    }
    return by_kind[rule.kind]
