"""Labels without a language model: the rule that best sets a feature's examples apart.

Rules are formed on some examples and judged on others, which are never the same firings. What
counts is not how often a rule holds but how much more often than for the SAE's features in
general: most features of a previous-token layer read the previous token.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.label.rules import Facts, Rule, holds
from ingest.wilson import wilson

WORDS = 4
"""Words that a rule may name."""
SHAPES: tuple[Rule, ...] = tuple(
    Rule(kind) for kind in ("induction", "duplicate", "previous", "self", "near", "far", "first")
)
SIDES = {"token": "when", "before": "when", "next": "says", "source": "fetches"}
"""Side of a label that each kind of rule speaks of; the shapes speak of what is fetched."""
PHRASES = {
    "induction": "what followed an earlier copy of the token",
    "duplicate": "an earlier copy of the token",
    "previous": "the previous token",
    "self": "the token itself",
    "near": "a nearby token",
    "far": "a far token",
    "first": "the first position",
}


class TokenLabel(NamedTuple):
    """One side of a feature's label."""

    feature: int
    side: str
    text: str
    rule: Rule
    support: float | None  # share of the judging examples that the rule explains
    low: float | None
    high: float | None
    n: int


class Candidate(NamedTuple):
    """A rule with its worth for one feature."""

    rule: Rule
    share: float  # of the forming examples
    bits: float  # share * log2(share / share among all features)


def label_features(
    feature: NDArray[Any],
    forming: NDArray[Any],
    facts: Facts,
    promoted: Sequence[tuple[str, ...]],
) -> list[TokenLabel]:
    """Labels of every feature that has examples: title, when, fetches and says.

    Args:
        feature: `[n]`, the feature of each example, ascending.
        forming: `[n]` bool, whether the example may form a rule; the others judge it.
        facts: of each example.
        promoted: per feature, the words of the tokens whose logits it raises most.
    """
    judging = facts.rows(~forming) if (~forming).any() else facts
    base = _Base(judging)
    labels: list[TokenLabel] = []
    for index in np.unique(feature):
        begin, end = np.searchsorted(feature, [index, index + 1])
        mine, form = facts.rows(np.arange(begin, end)), forming[begin:end]
        formed = mine.rows(form) if form.any() else mine
        judged = mine.rows(~form)
        labels += _labels(int(index), formed, judged, promoted[index], base)
    return labels


class _Base:
    """How often rules hold over all features of the SAE."""

    def __init__(self, facts: Facts) -> None:
        self.total = max(len(facts.token), 1)
        self.counts = {name: Counter(getattr(facts, name).tolist()) for name in SIDES}
        self.shapes = {rule.kind: float(holds(rule, facts).sum()) / self.total for rule in SHAPES}

    def share(self, rule: Rule) -> float:
        if rule.kind in self.counts:
            return sum(self.counts[rule.kind][word] for word in rule.words) / self.total
        return self.shapes[rule.kind]


def _labels(
    feature: int, formed: Facts, judged: Facts, promoted: tuple[str, ...], base: _Base
) -> list[TokenLabel]:
    when = _best([_words_rule("token", formed, base), _words_rule("before", formed, base)])
    source = _words_rule("source", formed, base)
    shape = _best([_candidate(rule, formed, base) for rule in SHAPES])
    fetches = _best([source, shape])
    says = Rule("next", promoted)
    sides = [
        ("title", *_title(when, source, shape, formed)),
        ("when", _phrase(when.rule), when.rule),
        ("fetches", _fetched(fetches, source), fetches.rule),
        ("says", "promotes " + _quoted(promoted[:WORDS]), says),
    ]
    return [_judged(feature, side, text, rule, judged) for side, text, rule in sides]


def _title(when: Candidate, source: Candidate, shape: Candidate, formed: Facts) -> tuple[str, Rule]:
    """The strongest side, with a second one where that also holds for most examples."""
    if shape.rule.kind == "induction" and shape.share >= 0.5 and shape.bits >= when.bits:
        if source.share >= 0.5:
            text = f"{_quoted(source.rule.words)} is next by induction"
            return text, Rule("all", parts=(shape.rule, source.rule))
        return "next by induction", shape.rule
    fetches = _best([source, shape])
    first, second = (when, fetches) if when.bits >= fetches.bits else (fetches, when)
    if first.share < 0.3:
        mixed = Rule("token", tuple(_frequent(formed.token)))
        return f"mixed: {_quoted(mixed.words)}", mixed
    if second.share >= 0.5 and second.bits >= 0.5:
        text = f"{_phrase(when.rule)}, {_phrase(fetches.rule)}"
        return text, Rule("all", parts=(when.rule, fetches.rule))
    return _phrase(first.rule), first.rule


def _fetched(best: Candidate, source: Candidate) -> str:
    if best.rule.kind == "source" or source.share < 0.3:
        return _phrase(best.rule)
    return f"{_phrase(best.rule)}, often {_quoted(source.rule.words)}"


def _phrase(rule: Rule) -> str:
    words = _quoted(rule.words)
    named = {"token": words, "before": f"after {words}", "source": f"reads {words}"}
    return named[rule.kind] if rule.kind in named else f"reads {PHRASES[rule.kind]}"


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in words) if words else "nothing"


def _words_rule(kind: str, formed: Facts, base: _Base) -> Candidate:
    """The rule with the few words that make it most telling."""
    values = getattr(formed, kind)
    words: tuple[str, ...] = ()
    best = _candidate(Rule(kind, words), formed, base)  # type: ignore[arg-type]
    for word in _frequent(values):
        if words and (values == word).sum() < 2:
            break
        words = (*words, word)
        grown = _candidate(Rule(kind, words), formed, base)  # type: ignore[arg-type]
        if grown.bits > best.bits:
            best = grown
    return best


def _frequent(values: NDArray[Any]) -> list[str]:
    """The few most frequent words, ties by spelling."""
    counts = Counter(word for word in values.tolist() if word)
    return sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]


def _candidate(rule: Rule, formed: Facts, base: _Base) -> Candidate:
    n = len(formed.token)
    held = int(holds(rule, formed).sum()) if rule.words or rule in SHAPES else 0
    # The lower end of the interval: two examples out of twenty say little, however rare the word.
    sure = float(wilson(np.array(held), n)[0])
    usual = base.share(rule) + 1 / base.total
    return Candidate(rule, held / n, sure * float(np.log2((sure + 1e-9) / usual)) if held else 0.0)


def _best(candidates: Sequence[Candidate]) -> Candidate:
    return max(candidates, key=lambda one: one.bits)


def _judged(feature: int, side: str, text: str, rule: Rule, judged: Facts) -> TokenLabel:
    n = len(judged.token)
    if n == 0:
        return TokenLabel(feature, side, text, rule, None, None, None, 0)
    held = int(holds(rule, judged).sum())
    low, high = (float(end) for end in wilson(np.array(held), n))
    return TokenLabel(feature, side, text, rule, held / n, low, high, n)
