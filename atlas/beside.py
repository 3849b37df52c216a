"""What is opened beside the evidence: people's notes and the process that runs SQL."""

import threading
from pathlib import Path

import pyarrow as pa

from atlas.meaning import Meaning
from atlas.note_types import Marks
from atlas.store import notes_tables
from atlas.store.notes import Notes
from atlas.store.sql import SqlService

_NO_NOTES = -2
"""Stamp of a store without notes, which no change gives."""


class Beside:
    """Opened once for an Atlas and all that are held from it; reading makes no file."""

    def __init__(self, where: Path | str, *, read_only: bool) -> None:
        self._where, self.read_only = where, read_only
        self._lock = threading.RLock()
        self._notes: Notes | None = None
        self._sql: SqlService | None = None
        self.meaning = Meaning()
        self._marks: tuple[int, Marks] = (0, Marks())

    @property
    def has_notes(self) -> bool:
        """Whether anybody ever wrote."""
        return isinstance(self._where, str) or self._where.is_file()

    @property
    def notes(self) -> Notes:
        """The notes, made where there are none. Raises StoreError."""
        with self._lock:
            self._notes = self._notes or Notes.open(self._where, read_only=self.read_only)
            return self._notes

    @property
    def sql(self) -> SqlService:
        """SQL over evidence and notes."""
        with self._lock:
            self._sql = self._sql or SqlService(self)
            return self._sql

    def marks(self) -> Marks:
        """What the notes say in one word, read anew when they changed."""
        if not self.has_notes:
            return Marks()
        with self._lock:
            stamp = self.notes.stamp()
            if stamp != self._marks[0]:
                self._marks = (stamp, self.notes.marks())
            return self._marks[1]

    def stamp(self) -> int:
        """A number that changes whenever the notes do."""
        return self.notes.stamp() if self.has_notes else _NO_NOTES

    def as_tables(self) -> dict[str, pa.Table]:
        """The notes as Arrow tables by name, for SQL; all empty where there are none."""
        return self.notes.as_tables() if self.has_notes else notes_tables.empty()

    def close(self) -> None:
        """End the processes and connections that were opened."""
        with self._lock:
            for opened in (self._sql, self._notes):
                if opened is not None:
                    opened.close()
            self._notes = self._sql = None
