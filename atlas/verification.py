"""What a verification of a snapshot found, kind of check by kind of check."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """One stored value that is not what it should be."""

    row: str
    """Names the row, such as `example gpt2/5-att/7 top 0`."""
    column: str
    stored: str
    recomputed: str
    deviation: float
    """As a multiple of what is allowed."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One kind of check over all its rows."""

    what: str
    rows: int
    values: int
    deviation: float
    """The largest one, as a multiple of what is allowed."""
    differences: tuple[Difference, ...]
    skipped: str = ""
    """Why nothing was checked; empty where something was."""
