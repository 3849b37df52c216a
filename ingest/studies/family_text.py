"""What a family says of text alone, so that it can be tested on text that was never looked at.

From its examples a feature gets a word list: the words that it fetched (for induction, previous
token and context families) or fired on (for the others). Words are compared without case and space,
which are the forms of a token that the paper's proxy counts as one. The family then predicts, from
tokens and positions only, where the feature fires: precision is the share of firings that were
predicted, recall the share of predicted positions where it fires (PAPER.md section 6.1).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.label.rules import NEAR
from ingest.studies.family_rules import WINDOW

FETCHED = ("induction", "previous_token", "local_context", "long_range_context")
"""Families whose word list is of sources; the others' is of firing tokens."""
REPEATS = ("induction", "duplicate_token")
"""Families that say something of a text without any words: the firing token stood there before."""
COMMON = 0.1
"""Share of a feature's firings that a word must take part in to be on its list."""
COVERS = 0.5
"""Share of its firings that a list must cover to tell where a feature fires."""


FEW = 0.9
"""Share of its firings that common firing words must cover for a feature to fire on few words."""


class Words(NamedTuple):
    """The common words of a list, and how much of it they are."""

    words: NDArray[Any]  # numbers of words
    covers: float


class Predictor(NamedTuple):
    """Predicts where one feature of a family fires."""

    family: str
    words: NDArray[Any] | None  # numbers of its words; None where any word will do
    place: int  # median position, for positional
    here: NDArray[Any] | None = None  # words it fires on; None where any word will do

    @property
    def said(self) -> str:
        """What it looks at."""
        parts = [] if self.words is None else ["words"]
        return " and ".join([*parts, *(["firing words"] if self.here is not None else [])]) or (
            "repetition alone" if self.family in REPEATS else "position"
        )


def word_list(feature_words: NDArray[Any]) -> Words:
    """Words of a list `[n]`, -1 for none, that make up at least COMMON of it."""
    values, times = np.unique(feature_words, return_counts=True)
    common = (times >= COMMON * len(feature_words)) & (values >= 0)
    return Words(values[common], float(times[common].sum() / max(len(feature_words), 1)))


def predictor(family: str, here: Words, fetched: Words, place: int) -> Predictor:
    """What a family predicts from, by what was common among the feature's examples.

    Where a list covers too little to be what the feature is about, families that need no words go
    by repetition alone. Where a feature fires on few words, fetching families ask for those too.
    """
    if family == "positional":
        return Predictor(family, None, place)
    own = fetched if family in FETCHED else here
    words = None if family in REPEATS and own.covers < COVERS else own.words
    told = family in FETCHED and here.covers >= FEW
    return Predictor(family, words, place, here.words if told else None)


class Index(NamedTuple):
    """A text turned round: from words to places, which are positions of flattened contexts."""

    valid: NDArray[Any]  # [place]
    repeated: NDArray[Any]  # [place], whether the word occurred before in its context
    at: dict[int, NDArray[Any]]  # word to places where it stands
    after: dict[int, NDArray[Any]]  # word to places where it is next by induction
    width: int


def index(words: NDArray[Any], valid: NDArray[Any]) -> Index:
    """Index contexts whose words are `[context, pos]`, negative where there is none."""
    repeated = np.zeros(words.shape, bool)
    at: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    width = words.shape[1]
    for number, row in enumerate(words.tolist()):
        seen: dict[int, set[int]] = {}  # word to the words that followed it so far
        for place, word in enumerate(row):
            if place and row[place - 1] >= 0 and word >= 0:
                seen.setdefault(row[place - 1], set()).add(word)
            if word < 0:
                continue
            flat = number * width + place
            at.setdefault(word, []).append(flat)
            # What followed it at this place is not known yet: only earlier copies count.
            for next_word in seen.get(word, ()):
                after.setdefault(next_word, []).append(flat)
            repeated[number, place] = word in row[:place]
    return Index(valid.ravel(), repeated.ravel(), _arrays(at), _arrays(after), width)


def _arrays(lists: dict[int, list[int]]) -> dict[int, NDArray[Any]]:
    return {word: np.array(places) for word, places in lists.items()}


def predict(one: Predictor, text: Index) -> NDArray[Any]:
    """Places (flattened, ascending) where the family says that the feature fires.

    first_token says nothing of the text, and predicts nothing.
    """
    if one.family == "positional":
        mask = np.abs(np.arange(len(text.valid)) % text.width - one.place) <= WINDOW
    elif one.family == "first_token":
        mask = np.zeros(len(text.valid), bool)
    elif one.words is None:
        mask = text.repeated
    elif one.family == "induction":
        mask = _standing(one.words, text.after, len(text.valid))
    else:
        mask = _standing(one.words, text.at, len(text.valid))
        mask = _moved(mask.reshape(-1, text.width), one.family).ravel()
        if one.family == "duplicate_token":
            mask = mask & text.repeated
    if one.here is not None:
        mask = mask & _standing(one.here, text.at, len(mask))
    places: NDArray[Any] = np.nonzero(mask & text.valid)[0]
    return places


def _standing(words: NDArray[Any], where: dict[int, NDArray[Any]], size: int) -> NDArray[Any]:
    """`[place]`: whether one of the words is listed there."""
    mask = np.zeros(size, bool)
    for word in words:
        mask[where.get(int(word), [])] = True
    return mask


def _moved(mask: NDArray[Any], family: str) -> NDArray[Any]:
    """From where the words stand, `[context, pos]`, to where the feature fires."""
    if family == "previous_token":
        return np.pad(mask[:, :-1], ((0, 0), (1, 0)))
    counts = np.cumsum(mask, 1)
    before = np.pad(counts, ((0, 0), (NEAR + 1, 0)))
    if family == "local_context":  # in the last NEAR tokens
        near: NDArray[Any] = counts - mask - before[:, : mask.shape[1]] > 0
        return near
    if family == "long_range_context":  # further back than that
        far: NDArray[Any] = before[:, : mask.shape[1]] > 0
        return far
    return mask
