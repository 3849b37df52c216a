"""What people wrote, read without making a notes' file where nobody wrote anything yet."""

from collections.abc import Collection as Several
from typing import TypeVar

from atlas.api import Atlas
from atlas.note_types import Content, Note, NotesOn

C = TypeVar("C", bound=Content)


def notes_on(atlas: Atlas, target: str) -> NotesOn:
    """Everything people wrote about one id."""
    notes = atlas.written
    return NotesOn(target, (), (), (), (), ()) if notes is None else notes.on(target)


def every(atlas: Atlas, kind: type[C], targets: Several[str] | None = None) -> tuple[Note[C], ...]:
    """All notes of one kind, oldest first."""
    notes = atlas.written
    return () if notes is None else notes.every(kind, targets)
