"""Scores of the words that many features have, found once at publish: a search then reads a column.

To ask the index for a word that most features have is to make an object for every feature.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas.store.lists import new, opened

MOST = 48
"""Words that are kept."""
SHARE = 1 / 16
"""Of all features that a word must have to be kept."""
FEW = 5_000
"""Features that are found quickly enough without this."""
_WORDS, _SCORES = "common.json", "common.npy"

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]  # [feature], by row of the lists; 0 where it does not match


def build(
    folder: Path, words: Sequence[str], size: int, score: Callable[[str], tuple[Rows, Any]]
) -> None:
    """Write the scores of some words into the folder of an index.

    Args:
        folder: the index's.
        words: as they are written, in lower case.
        size: rows of the lists.
        score: gives the rows that match a word, and their scores.
    """
    scores = new(folder / _SCORES, np.float32, (len(words), size))
    for at, word in enumerate(words):
        rows, found = score(word)
        scores[at, rows] = found
    scores.flush()
    (folder / _WORDS).write_text(json.dumps(list(words)))


class Common:
    """The kept words of one snapshot; safe to ask from many threads."""

    def __init__(self, folder: Path) -> None:
        """Open the files in an index's folder. Raises OSError or ValueError."""
        self._scores: Scores = opened(folder / _SCORES)
        words = json.loads((folder / _WORDS).read_text())
        self._at = {word: at for at, word in enumerate(words)}

    def scores(self, word: str) -> Scores | None:
        """Score of every feature for a word; None for a word that is not kept."""
        at = self._at.get(word)
        return None if at is None else self._scores[at]
