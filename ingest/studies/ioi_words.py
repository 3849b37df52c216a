"""The words of indirect-object prompts, and which of them are single tokens of a tokenizer."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from atlas.errors import ModelError

Tokenise = Callable[[str], list[int]]


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


NAMES = _listed(
    "Mary John Anne Tom Paul Jane Kate Mark Luke Rose James Sarah David Laura Peter Alice "
    "Robert Emma Michael Lisa Daniel Anna Thomas Julia Richard Helen George Maria Steven "
    "Karen Andrew Linda Kevin Susan Brian Nancy Jason Amy Scott Ruth Adam Grace Jack "
    "Rachel Simon Claire"
)
PLACES = _listed(
    "store park school garden house station office market church beach hospital museum"
)
OBJECTS = _listed("ball book ring cake drink letter key bag card box bottle phone flower ticket")
CONJUNCTIONS = _listed("and or but with alongside")
ORDERS = ("ABBA", "BABA")
TEMPLATES = (
    "Then, {a} {c} {b} went to the {place}. {s} gave a {object} to",
    "When {a} {c} {b} got a {object} at the {place}, {s} decided to give it to",
    "After {a} {c} {b} went to the {place}, {s} gave the {object} to",
    "While {a} {c} {b} were at the {place}, {s} handed a {object} to",
    "Once {a} {c} {b} had left the {place}, {s} offered the {object} to",
    "If {a} {c} {b} sat in the {place}, {s} passed a {object} to",
)
"""`s` is the second name in ABBA and the first in BABA; the other one is the answer."""
ROOM = "It was a nice day. "
FILLER = " while the weather was nice"
"""What the noising test puts before a prompt and before the punctuation behind the place."""
FEWEST = 6
"""Single-token names below which there is nothing to draw from: three differ in one prompt pair."""


class Words(NamedTuple):
    """Words with their token, those that are one token of a tokenizer."""

    names: dict[str, int]
    places: dict[str, int]
    objects: dict[str, int]
    conjunctions: dict[str, int]

    @property
    def kept(self) -> str:
        """How many of each list remain, in words."""
        lists = (NAMES, PLACES, OBJECTS, CONJUNCTIONS)
        counts = zip(self._fields, self, lists, strict=True)
        return ", ".join(f"{len(own)} of {len(all_)} {name}" for name, own, all_ in counts)


def single_tokens(tokenise: Tokenise) -> Words:
    """The words that are one token behind a space.

    Raises:
        ModelError: too few of some list remain.
    """
    found = Words(*(_kept(tokenise, one) for one in (NAMES, PLACES, OBJECTS, CONJUNCTIONS)))
    if len(found.names) < FEWEST or not (found.places and found.objects and found.conjunctions):
        raise ModelError(
            f"indirect-object prompts cannot be built: single tokens are {found.kept}",
            f"the study needs {FEWEST} names and one of each other list as one token each",
        )
    return found


def _kept(tokenise: Tokenise, words: Sequence[str]) -> dict[str, int]:
    """A word is one token when it adds exactly one to a text before it, and one of its own.

    Tokenizers that know whole words only give every unknown one the same token.
    """
    alone = tokenise("Then")
    longer = {word: tokenise(f"Then {word}") for word in words}
    added = {word: ids[-1] for word, ids in longer.items() if ids[:-1] == alone}
    shared = Counter(added.values())
    return {word: token for word, token in added.items() if shared[token] == 1}
