"""What is read of a study: its run, and the tables that it left."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One run of a study as lists show it."""

    run: str
    study: str
    """Name of the study, such as heads."""
    model: str
    created_at: datetime
    seconds: float
    corpus: str
    tokens: int
    """Tokens of text that were read."""
    tables: dict[str, int]
    """Table of results to its rows."""


@dataclass(frozen=True, slots=True)
class StudyTable:
    """The first rows of one table of a study's results."""

    name: str
    sentence: str
    """What the table holds."""
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: int
    """Rows of this run in all."""


@dataclass(frozen=True, slots=True)
class StudyPage:
    """One run of a study with its results."""

    row: StudyRow
    settings: dict[str, Any]
    samples: dict[str, Any]
    """What was sampled to how much of it."""
    held_out: str
    """What is known of the text being unseen by the SAEs."""
    said: tuple[str, ...]
    """What was not measured and why, and whatever else a reader must know."""
    tables: tuple[StudyTable, ...]
