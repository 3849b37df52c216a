"""How places look in a prompt: a line of text, with marks, and what the model's side of it was."""

from collections.abc import Iterable, Sequence

from atlas.types import Feature
from ingest.label.count import TokenCounter
from ingest.label.places import Place

SOURCES = 2
"""Sources that are marked."""
HEADS = 3
EFFECTS = 8
"""Tokens named that a feature makes more, and less, likely."""
START = "⟨start⟩"
"""Stands for the token that begins every context, where it is a source; else it is left out."""
_MARKS = str.maketrans({"«": "‹", "»": "›", "\n": "↵", "\r": "", "\t": "⇥"})


def cut_off(place: Place, before: int) -> str:
    """The text up to the place, which is its last token; nothing is marked."""
    return _line(place.tokens[max(0, place.pos - before) : place.pos + 1])


def marked(place: Place, before: int, after: int) -> str:
    """The text around the place, which stands in «marks»."""
    return _text(place, range(_begin(place, before), _end(place, after)), frozenset())


def explained(place: Place, before: int, after: int) -> str:
    """As `marked`, and the sources that gave most in [[brackets]]; a far one comes first."""
    sources = [one.pos for one in place.sources if one.dfa > 0][:SOURCES]
    shown = range(_begin(place, before), _end(place, after))
    far = [pos for pos in sorted(sources) if pos not in shown]
    quoted = "".join(
        f"{_text(place, range(max(0, pos - 1), pos + 2), frozenset([pos]))} … " for pos in far
    )
    return quoted + _text(place, shown, frozenset(sources))


def _begin(place: Place, before: int) -> int:
    return max(0, place.pos - before)


def _end(place: Place, after: int) -> int:
    return min(len(place.tokens), place.pos + after + 1)


def _text(place: Place, shown: Iterable[int], sources: frozenset[int]) -> str:
    parts = []
    for pos in shown:
        token = place.tokens[pos].translate(_MARKS)
        if not token and pos in sources:
            token = START
        inside = token.lstrip(" ")
        space = " " * (len(token) - len(inside))
        if pos in sources:
            inside = f"[[{inside}]]"
        parts.append(space + (f"«{inside}»" if pos == place.pos else inside))
    return "".join(parts).strip(" ")


def _line(tokens: Sequence[str]) -> str:
    *text, last = tokens
    # White space at the end would not be seen, and there it is what is asked about.
    shown = last if last.strip() else last.replace(" ", "␣")
    return "".join([*text, shown]).translate(_MARKS).lstrip(" ")


def numbered(lines: Iterable[str]) -> str:
    """Lines with their numbers, from 1."""
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def examples_within(
    lines: Sequence[str], counter: TokenCounter, tokens: int
) -> tuple[list[str], int]:
    """As many of the lines, from the first on, as fit into `tokens`, and what is left of those."""
    kept: list[str] = []
    for line in lines:
        size = counter.count(line)
        if size > tokens:
            break
        kept.append(line)
        tokens -= size
    return kept, tokens


def strength(place: Place, feature: Feature) -> str:
    """A firing's activation in tenths of the largest, such as (7/10)."""
    return f"({max(1, round(10 * place.act / max(feature.row.max_act, place.act)))}/10)"


def heads(feature: Feature) -> str:
    """The heads that give most, such as `L5H1 62 %`."""
    shares = sorted(feature.heads, key=lambda one: -(one.dfa_share or 0.0))[:HEADS]
    layer = feature.sae.id.layer
    return ", ".join(f"L{layer}H{one.head} {one.dfa_share or 0:.0%}" for one in shares)


def effects(tokens: Sequence[str]) -> str:
    """Tokens of a logit list, quoted."""
    return ", ".join(f"“{token.translate(_MARKS)}”" for token in tokens[:EFFECTS]) or "none"
