"""A small language for beliefs about firings, such as `distance <= 5 and head == 6`.

One expression about a firing token (dst) and the token that gave most to it (src). Written in the
syntax of Python's comparisons and read by its parser, but nothing is ever run: every part must be
one of those named here, and becomes a step over columns of numbers. Comments and line breaks are
allowed.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.errors import QueryError

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Kind = Literal["token", "number"]

MAX_TEXT = 4_000
MAX_PARTS = 400
LARGEST = 2**31

FIELDS: dict[str, tuple[Kind, str]] = {
    "dst.token": ("token", "the token that fires"),
    "dst.before": ("token", 'the token before it; "" at the start'),
    "src.token": ("token", "the token that gave most"),
    "src.before": ("token", "the token before that"),
    "src.after": ("token", "the token behind that"),
    "dst.seen": ("number", "how often the firing token stood earlier in the context"),
    "dst.pos": ("number", "position of the firing token, from 0"),
    "src.pos": ("number", "position of the source"),
    "distance": ("number", "dst.pos - src.pos"),
    "head": ("number", "head that carries the largest part of what the source gave"),
    "layer": ("number", "layer of the SAE"),
    "feature": ("number", "index of the feature"),
}
EARLIER = "earlier"
"""Short for `dst.seen > 0`."""
OF_SOURCE = ("src.token", "src.before", "src.after", "src.pos", "distance", "head")
"""What is known only where a firing was attributed to its sources."""
CHANGES: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "strip": str.strip,
    "word": lambda text: text.strip().lower(),
}
"""Functions of a token."""
_KNOWN = (
    f"known: {', '.join(FIELDS)}, {EARLIER}; {'(token), '.join(CHANGES)}(token),"
    ' match(token, "regex")'
)
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_EQUAL: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

Match = Callable[[Sequence[str], str], Sequence[bool]]
"""Which texts a regular expression finds something in."""


class Words:
    """Texts of tokens by number, so that equal texts are equal numbers."""

    def __init__(self, texts: Sequence[str], match: Match) -> None:
        """Number the texts of a vocabulary; `match` runs regular expressions."""
        self._numbers: dict[str, int] = {"": 0}
        self._match = match
        self._changed: dict[Callable[[str], str], Ints] = {}
        self._found: dict[str, Bools] = {}
        self._of_token = np.array([self.number(text) for text in texts], np.int64)

    def number(self, text: str) -> int:
        """The number of a text."""
        return self._numbers.setdefault(text, len(self._numbers))

    def of_tokens(self, tokens: Ints) -> Ints:
        """Numbers of token ids; 0, the empty text, for -1."""
        known = np.append(self._of_token, 0)
        return known[np.where((tokens >= 0) & (tokens < len(self._of_token)), tokens, -1)]

    def changed(self, numbers: Ints, change: Callable[[str], str]) -> Ints:
        """Numbers of the changed texts."""
        known = self._changed.get(change)
        if known is None or len(known) <= numbers.max(initial=0):
            known = np.array([self.number(change(text)) for text in [*self._numbers]], np.int64)
            self._changed[change] = known
        return known[numbers]

    def found(self, numbers: Ints, pattern: str) -> Bools:
        """Whether the pattern finds something in each text."""
        known = self._found.get(pattern)
        if known is None or len(known) <= numbers.max(initial=0):
            known = np.array(self._match([*self._numbers], pattern), np.bool_)
            self._found[pattern] = known
        return known[numbers]


class Scene(NamedTuple):
    """Pairs of a firing token and a source, a column for each field."""

    columns: Mapping[str, Ints]
    words: Words


Test = Callable[[Scene], Bools]
Value = Callable[[Scene], Ints]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A parsed statement."""

    text: str
    names: frozenset[str]
    """Fields it speaks of."""
    holds: Test
    """Whether it holds of each pair."""

    @property
    def of_source(self) -> bool:
        """Whether it speaks of the source, which is measured at firings only."""
        return bool(self.names & set(OF_SOURCE))


def parse(text: str) -> Hypothesis:
    """Read a hypothesis.

    Raises:
        QueryError: it is empty, too long, or not an expression of the language; says where.
    """
    text = text.strip()
    if not text:
        raise QueryError("the hypothesis is empty", 'write one such as: dst.token == " the"')
    if len(text) > MAX_TEXT:
        raise QueryError(f"the hypothesis has {len(text)} characters", f"at most {MAX_TEXT}")
    reader = _Reader(text)
    holds = reader.test(reader.tree)
    return Hypothesis(text, frozenset(reader.names), holds)


class _Reader:
    """Turns the parts of one expression into steps, and refuses what is none of the language."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self.names: set[str] = set()
        try:
            # Brackets around it allow line breaks; the added line is taken off in `_refuse`.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what Python thinks of escapes is no matter here
                self.tree = ast.parse(f"(\n{text}\n)", mode="eval").body
        except SyntaxError as error:
            place = self._place(error.lineno or 2, error.offset or 1)
            raise QueryError(f"hypothesis, {place}: {error.msg}", _KNOWN) from error
        except (ValueError, MemoryError, RecursionError) as error:
            raise QueryError("the hypothesis cannot be read", "write it more simply") from error
        if sum(1 for _ in ast.walk(self.tree)) > MAX_PARTS:
            raise QueryError("the hypothesis has too many parts", f"at most {MAX_PARTS}")

    def _place(self, line: int, column: int) -> str:
        line = max(1, min(line - 1, len(self._lines)))
        return f"line {line}, column {column}"

    def _refuse(self, node: ast.AST, reason: str, hint: str = _KNOWN) -> QueryError:
        line, offset = getattr(node, "lineno", 2), getattr(node, "col_offset", 0)
        own = self._lines[min(line - 2, len(self._lines) - 1)].encode()[:offset]
        place = self._place(line, len(own.decode(errors="replace")) + 1)
        return QueryError(f"hypothesis, {place}: {reason}", hint)

    def test(self, node: ast.expr) -> Test:
        """A part that is true or false."""
        if isinstance(node, ast.BoolOp):
            return self._joined(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.test(node.operand)
            return lambda scene: ~inner(scene)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Call) and _called(node) == "match":
            return self._matched(node)
        if isinstance(node, ast.Name) and node.id == EARLIER:
            self.names.add("dst.seen")
            return lambda scene: scene.columns["dst.seen"] > 0
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            raise self._refuse(node, f"{node.value} alone says nothing")
        if _is_name(node):
            self.value(node)  # an unknown name is said to be unknown first
        raise self._refuse(node, "this is no statement", "compare it, such as: distance <= 5")

    def _joined(self, node: ast.BoolOp) -> Test:
        parts = [self.test(part) for part in node.values]
        fold = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return lambda scene: fold.reduce([part(scene) for part in parts])

    def _compared(self, node: ast.Compare) -> Test:
        sides = [node.left, *node.comparators]
        steps = [
            self._step(left, op, right)
            for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return lambda scene: np.logical_and.reduce([step(scene) for step in steps])

    def _step(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Test:
        kind, value = self.value(left)
        if isinstance(op, ast.In | ast.NotIn):
            return self._within(kind, value, right, isinstance(op, ast.NotIn))
        other_kind, other = self.value(right)
        if other_kind != kind:
            raise self._refuse(right, f"a {kind} is compared with a {other_kind}")
        if type(op) in _EQUAL:
            equal = _EQUAL[type(op)]
            return lambda scene: equal(value(scene), other(scene))
        if type(op) not in _ORDER:
            raise self._refuse(left, "`is` is not part of the language", "write ==")
        if kind == "token":
            raise self._refuse(left, "tokens have no order", "use ==, !=, in or match")
        order = _ORDER[type(op)]
        return lambda scene: order(value(scene), other(scene))

    def _within(self, kind: Kind, value: Value, node: ast.expr, negate: bool) -> Test:
        if not isinstance(node, ast.Set | ast.List | ast.Tuple):
            raise self._refuse(node, "`in` needs a list of constants", 'such as {"a", "b"}')
        parts = [self.value(part) for part in node.elts]
        for part, (other, _) in zip(node.elts, parts, strict=True):
            if other != kind or not _is_constant(part):
                raise self._refuse(part, f"this list must hold constants that are {kind}s")

        def test(scene: Scene) -> Bools:
            members = np.array([int(part(scene)) for _, part in parts], np.int64)
            return np.isin(value(scene), members, invert=negate)

        return test

    def _matched(self, node: ast.Call) -> Test:
        if len(node.args) != 2 or node.keywords or not _is_text(node.args[1]):
            raise self._refuse(
                node, "match takes a token and a text", 'match(dst.token, "^ [A-Z]")'
            )
        kind, value = self.value(node.args[0])
        if kind != "token":
            raise self._refuse(node.args[0], "match takes a token, this is a number")
        pattern = str(node.args[1].value)  # type: ignore[attr-defined]
        return lambda scene: scene.words.found(value(scene), pattern)

    def value(self, node: ast.expr) -> tuple[Kind, Value]:
        """A part that is a token or a number."""
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._number(node.operand)
            return "number", lambda scene: -inner(scene)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            left, right = self._number(node.left), self._number(node.right)
            apply = np.add if isinstance(node.op, ast.Add) else np.subtract
            return "number", lambda scene: apply(left(scene), right(scene))
        if isinstance(node, ast.Call) and _called(node) in CHANGES:
            return self._changed(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._field(node)
        raise self._refuse(node, f"this is not part of the language: {_kind_of(node)}")

    def _number(self, node: ast.expr) -> Value:
        kind, value = self.value(node)
        if kind != "number":
            raise self._refuse(node, "a number is needed here, this is a token")
        return value

    def _constant(self, node: ast.Constant) -> tuple[Kind, Value]:
        constant = node.value
        if isinstance(constant, str):
            return "token", lambda scene: np.int64(scene.words.number(constant))  # type: ignore[return-value]
        if isinstance(constant, bool) or not isinstance(constant, int):
            raise self._refuse(node, f"{constant!r} is neither a text nor a whole number")
        if abs(constant) >= LARGEST:
            raise self._refuse(node, "the number is too large")
        return "number", lambda _: np.int64(constant)  # type: ignore[return-value]

    def _changed(self, node: ast.Call) -> tuple[Kind, Value]:
        name = _called(node)
        if len(node.args) != 1 or node.keywords:
            raise self._refuse(node, f"{name} takes one token")
        kind, value = self.value(node.args[0])
        if kind != "token":
            raise self._refuse(node.args[0], f"{name} takes a token, this is a number")
        return "token", lambda scene: scene.words.changed(value(scene), CHANGES[name])

    def _field(self, node: ast.expr) -> tuple[Kind, Value]:
        name = _name(node)
        if name not in FIELDS:
            raise self._refuse(node, f"unknown name {name[:80]!r}")
        self.names.add(name)
        return FIELDS[name][0], lambda scene: scene.columns[name]


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def _name(node: ast.expr) -> str:
    return ast.unparse(node)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.operand, ast.Constant)
    return isinstance(node, ast.Constant)


def _kind_of(node: ast.expr) -> str:
    return ast.unparse(node)[:40]
