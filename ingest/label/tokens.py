"""Labels without a language model: the rule that best sets a feature's examples apart.

Rules are formed on some examples and judged on others, which are never the same firings. What
counts is not how often a rule holds but how much more often than for the SAE's features in
general: most features of a previous-token layer read the previous token.

All features of an SAE are labelled at once: words are numbered, and what is counted are pairs of a
feature and a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.label.rules import Facts, Kind, Rule, holds
from ingest.wilson import wilson

WORDS = 4
"""Words that a rule may name."""
UNCLEAR = 0.3
"""A title that explains a smaller share of the judging examples says that it is unclear."""
SHAPES: tuple[Rule, ...] = tuple(
    Rule(kind) for kind in ("induction", "duplicate", "previous", "self", "near", "far", "first")
)
WORD_KINDS: tuple[Kind, ...] = ("token", "before", "next", "source")
SIDES = ("title", "when", "fetches", "says")
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
    labelled, row = np.unique(feature, return_inverse=True)
    words, shapes = _Words(facts), {rule.kind: holds(rule, facts) for rule in SHAPES}
    sample = _sample(row, forming, len(labelled))
    token, frequent = _words_rules("token", words, sample)
    before, _ = _words_rules("before", words, sample)
    source, _ = _words_rules("source", words, sample)
    shape = _shape_rules(shapes, sample)
    chosen = [
        _sides(_best([token[n], before[n]]), source[n], shape[n], frequent[n], promoted[feature])
        for n, feature in enumerate(labelled.tolist())
    ]
    judging = row[~forming]
    n = np.bincount(judging, minlength=len(labelled))
    columns = []
    for number, side in enumerate(SIDES):
        texts, rules = (
            zip(*(sides[number] for sides in chosen), strict=True) if chosen else ((), ())
        )
        explained = _explained(rules, words, shapes, row)[~forming]
        held = np.bincount(judging[explained], minlength=len(labelled))
        columns.append(_judged(labelled, side, texts, rules, held, n))
    return [label for labels in zip(*columns, strict=True) for label in labels]


class _Words:
    """The words of all examples as numbers, in the order of their spelling; 0 is no word."""

    def __init__(self, facts: Facts) -> None:
        columns = {kind: getattr(facts, kind).tolist() for kind in WORD_KINDS}
        self.texts = sorted({""}.union(*columns.values()))
        self._number = {text: number for number, text in enumerate(self.texts)}
        self.of = {
            kind: np.fromiter((self._number[word] for word in column), np.int64, len(column))
            for kind, column in columns.items()
        }

    def numbers(self, rules: Sequence[Rule]) -> NDArray[Any]:
        """`[rule, word]`, -1 where a rule has no further word and for words in no example."""
        found = np.full((len(rules), max(len(rule.words) for rule in rules)), -1)
        for row, rule in zip(found, rules, strict=True):
            row[: len(rule.words)] = [self._number.get(word, -1) for word in rule.words]
        return found


class _Sample(NamedTuple):
    """Which examples count for what."""

    row: NDArray[Any]  # int [n], number of the feature among the labelled ones
    forming: NDArray[Any]  # bool [n]; all examples of a feature that has no forming ones
    usual: NDArray[Any]  # bool [n], those that tell how common a rule is among all features
    formed: NDArray[Any]  # int [feature], forming examples


def _sample(row: NDArray[Any], forming: NDArray[Any], features: int) -> _Sample:
    can = np.bincount(row[forming], minlength=features) > 0
    formed = forming | ~can[row]
    usual = np.ones_like(forming) if forming.all() else ~forming
    return _Sample(row, formed, usual, np.bincount(row[formed], minlength=features))


def _words_rules(
    kind: Kind, words: _Words, sample: _Sample
) -> tuple[list[Candidate], list[tuple[str, ...]]]:
    """For every feature the rule of the few words that make it most telling; its frequent words."""
    numbers, size = words.of[kind], len(words.texts)
    told = sample.forming & (numbers > 0)
    keys, held = np.unique(sample.row[told] * size + numbers[told], return_counts=True)
    order = np.lexsort((keys, -held, keys // size))  # ties by spelling
    keys, held = keys[order], held[order]
    place = np.arange(len(keys)) - np.searchsorted(keys // size, keys // size)
    few = place < WORDS
    word, count = np.zeros((2, len(sample.formed), WORDS), np.int64)
    at = keys[few] // size, place[few]
    word[at], count[at] = keys[few] % size, held[few]
    total = max(int(sample.usual.sum()), 1)
    usual = np.bincount(numbers[sample.usual], minlength=size)[word].cumsum(1) / total
    upto, n = count.cumsum(1), sample.formed[:, None]
    # A word more only where it was seen twice.
    bits = np.where(count > (np.arange(WORDS) > 0), _bits(upto, n, usual, total), -np.inf)
    best = np.c_[np.zeros(len(bits)), bits].argmax(1)
    texts = [tuple(words.texts[one] for one in row if one) for row in word.tolist()]
    found = [
        Candidate(Rule(kind, row[:few]), shares[few - 1], worth[few - 1])
        if few
        else Candidate(Rule(kind), 0.0, 0.0)
        for row, few, shares, worth in zip(
            texts, best.tolist(), (upto / n).tolist(), bits.tolist(), strict=True
        )
    ]
    return found, texts


def _shape_rules(shapes: Mapping[Kind, NDArray[Any]], sample: _Sample) -> list[Candidate]:
    """For every feature the most telling of the shapes."""
    features, total = len(sample.formed), max(int(sample.usual.sum()), 1)
    rows = [sample.row[sample.forming & held] for held in shapes.values()]
    count = np.stack([np.bincount(one, minlength=features) for one in rows], axis=1)
    usual = np.array([held[sample.usual].sum() for held in shapes.values()]) / total
    n = sample.formed[:, None]
    bits, share = _bits(count, n, usual, total), count / n
    best = bits.argmax(1)
    rows_of = np.arange(features), best
    return [
        Candidate(SHAPES[which], *worth)
        for which, *worth in zip(
            best.tolist(), share[rows_of].tolist(), bits[rows_of].tolist(), strict=True
        )
    ]


def _bits(held: NDArray[Any], n: NDArray[Any], usual: NDArray[Any], total: int) -> NDArray[Any]:
    """What rules are worth that hold in `held` of `n` examples, and of all in a share `usual`."""
    # The lower end of the interval: two examples out of twenty say little, however rare the word.
    sure = wilson(held, n)[0]
    worth: NDArray[Any] = sure * np.log2((sure + 1e-9) / (usual + 1 / total))
    return np.where(held > 0, worth, 0.0)


def _sides(
    when: Candidate,
    source: Candidate,
    shape: Candidate,
    frequent: tuple[str, ...],
    promoted: tuple[str, ...],
) -> tuple[tuple[str, Rule], ...]:
    """Text and rule of every side of one feature's label."""
    fetches = _best([source, shape])
    return (
        _title(when, source, shape, frequent),
        (_phrase(when.rule), when.rule),
        (_fetched(fetches, source), fetches.rule),
        ("promotes " + _quoted(promoted[:WORDS]), Rule("next", promoted)),
    )


def _title(
    when: Candidate, source: Candidate, shape: Candidate, frequent: tuple[str, ...]
) -> tuple[str, Rule]:
    """The strongest side, with a second one where that also holds for most examples."""
    if shape.rule.kind == "induction" and shape.share >= 0.5 and shape.bits >= when.bits:
        if source.share >= 0.5:
            text = f"{_quoted(source.rule.words)} is next by induction"
            return text, Rule("all", parts=(shape.rule, source.rule))
        return "next by induction", shape.rule
    fetches = _best([source, shape])
    first, second = (when, fetches) if when.bits >= fetches.bits else (fetches, when)
    if first.share < 0.3:
        mixed = Rule("token", frequent)
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


def _best(candidates: Sequence[Candidate]) -> Candidate:
    return max(candidates, key=lambda one: one.bits)


def _explained(
    rules: Sequence[Rule],
    words: _Words,
    shapes: Mapping[Kind, NDArray[Any]],
    row: NDArray[Any],
) -> NDArray[Any]:
    """`[n]` bool: whether each example is as the rule of its feature says.

    Args:
        rules: one per feature.
        words: of all examples.
        shapes: kind to whether that shape holds in each example.
        row: `[n]`, the feature of each example.
    """
    if any(rule.kind == "all" for rule in rules):
        ends = [[rule.parts[end] if rule.parts else rule for rule in rules] for end in (0, -1)]
        one, other = (_explained(end, words, shapes, row) for end in ends)
        both: NDArray[Any] = one & other
        return both
    found = np.zeros(len(row), bool)
    for kind in {rule.kind for rule in rules}:
        mine = np.array([rule.kind == kind for rule in rules])[row]
        if kind in shapes:
            found[mine] = shapes[kind][mine]
        else:
            wanted = words.numbers([rule if rule.kind == kind else Rule(kind) for rule in rules])
            found[mine] = (words.of[kind][mine, None] == wanted[row[mine]]).any(1)
    return found


def _judged(
    features: NDArray[Any],
    side: str,
    texts: Sequence[str],
    rules: Sequence[Rule],
    held: NDArray[Any],
    n: NDArray[Any],
) -> list[TokenLabel]:
    """One side of every feature's label with its support: `held` of `n` judging examples."""
    low, high = (end.tolist() for end in wilson(held, n))
    share = (held / np.maximum(n, 1)).tolist()
    found = []
    for row, (feature, known) in enumerate(zip(features.tolist(), n.tolist(), strict=True)):
        label = TokenLabel(feature, side, texts[row], rules[row], None, None, None, known)
        if known:
            label = label._replace(support=share[row], low=low[row], high=high[row])
        found.append(_hedged(label) if side == "title" else label)
    return found


def _hedged(title: TokenLabel) -> TokenLabel:
    doubtful = title.support is not None and title.support < UNCLEAR
    if doubtful and not title.text.startswith("mixed"):
        return title._replace(text=f"unclear: {title.text}")
    return title
