"""What is read of a study: its run, and the tables that it left."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from atlas.types import Interval


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


@dataclass(frozen=True, slots=True)
class FamilyClaim:
    """A family whose rule holds for a feature, with the evidence."""

    family: str
    best: bool
    """Whether it is the feature's family."""
    score: float
    """Share of the kept examples that the rule explains."""
    examples: int
    words: tuple[str, ...]
    """What the family predicts from, lower case."""
    fired: int
    """Firings on held-out text."""
    explained: int
    """Those that the rule explains."""
    precision: float | None
    """Share of the held-out firings at predicted places; None where the family predicts none."""
    precision_within: Interval | None
    recall: float | None
    """Share of the predicted places where the feature fires."""
    recall_within: Interval | None
    run: str


@dataclass(frozen=True, slots=True)
class DistanceShare:
    """The share of a head's attention that goes so far back."""

    first: int | None
    """Smallest distance in tokens; None for position 0, which no other bin counts."""
    last: int | None
    share: float
    within: Interval | None


@dataclass(frozen=True, slots=True)
class HeadToken:
    """A token that gets more of a head's strongest attention than its share of the text."""

    side: Literal["query", "key"]
    text: str
    share: float
    base: float
    """Its share of the text."""
    n: int


@dataclass(frozen=True, slots=True)
class HeadLook:
    """One sampled destination of a head with its strongest source."""

    band: int
    ctx: int
    dst: int
    src: int
    weight: float
    tokens: tuple[str, ...]
    doc: str


@dataclass(frozen=True, slots=True)
class StudiedEffect:
    """What a study measured of a head, in words and figures."""

    study: str
    what: str
    value: float
    within: Interval | None
    n: int
    run: str


@dataclass(frozen=True, slots=True)
class HeadStudies:
    """What studies measured of one head; empty parts were not measured. Roles: `HeadRoles`."""

    distances: tuple[DistanceShare, ...]
    tokens: tuple[HeadToken, ...]
    looks: tuple[HeadLook, ...]
    """By band, strongest band first."""
    prefix_class: str | None
    """long-prefix, short-prefix or none."""
    effects: tuple[StudiedEffect, ...]
