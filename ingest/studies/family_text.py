"""What a family says of text alone, so that it can be tested on text that was never looked at.

From its examples a feature gets a word list: the words that it fetched (for induction, previous
token and context families) or fired on (for the others). The family then predicts, from tokens and
positions only, where the feature fires: precision is the share of firings that were predicted,
recall the share of predicted positions where it fires (PAPER.md section 6.1).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.label.rules import NEAR
from ingest.studies.family_rules import WINDOW

FETCHED = ("induction", "previous_token", "local_context", "long_range_context")
"""Families whose word list is of sources; the others' is of firing tokens."""
COMMON = 0.1
"""Share of a feature's firings that a word must take part in to be on its list."""


class Predictor(NamedTuple):
    """Predicts where one feature of a family fires."""

    family: str
    words: NDArray[Any]  # numbers of its words
    place: int  # median position, for positional


def word_list(feature_words: NDArray[Any]) -> NDArray[Any]:
    """Words of a list `[n]`, -1 for none, that make up at least COMMON of it."""
    values, times = np.unique(feature_words, return_counts=True)
    kept: NDArray[Any] = values[(times >= COMMON * len(feature_words)) & (values >= 0)]
    return kept


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
    mask = np.zeros(len(text.valid), bool)
    if one.family == "positional":
        pos = np.arange(len(text.valid)) % text.width
        mask = np.abs(pos - one.place) <= WINDOW
    elif one.family == "induction":
        for word in one.words:
            mask[text.after.get(int(word), [])] = True
    elif one.family != "first_token":
        for word in one.words:
            mask[text.at.get(int(word), [])] = True
        mask = _moved(mask.reshape(-1, text.width), one.family).ravel()
        if one.family == "duplicate_token":
            mask &= text.repeated
    places: NDArray[Any] = np.nonzero(mask & text.valid)[0]
    return places


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
