"""People's notes: the one object that reads and writes them, from any thread and any process."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Collection as Several
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from atlas import ids
from atlas.errors import NotesError, NotFound
from atlas.note_types import (
    C,
    Change,
    Collection,
    HumanLabel,
    Imported,
    J,
    Judged,
    Marks,
    Member,
    Note,
    NoteHit,
    NotesOn,
    TagUse,
)
from atlas.store import notes_check as check
from atlas.store import notes_exchange, notes_read, notes_tables
from atlas.store import notes_rules as rules
from atlas.store.notes_open import open_engine, reader, translated, writer
from atlas.store.notes_rows import change, content_of, key_of, kind_of, live, new_row, note_of
from atlas.store.notes_schema import ChangeCounter, HistoryRow, NoteRow


def utc_now() -> datetime:
    """The time of this machine, UTC."""
    return datetime.now(UTC)


def random_id() -> str:
    """A new note id: 32 hex digits."""
    return uuid.uuid4().hex


class Notes:
    """The notes of one store. Make it with `open`; it may be shared between threads."""

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = random_id,
        *,
        read_only: bool = False,
    ) -> None:
        self._engine, self._now, self._new_id = engine, now, new_id
        self._read_only = read_only

    @classmethod
    def open(
        cls,
        where: str | Path,
        now: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = random_id,
        *,
        upgrade: bool = False,
        read_only: bool = False,
    ) -> "Notes":
        """The notes in a SQLite file or at a PostgreSQL URL, made when there are none.

        An old file is upgraded, after a copy of it was put aside; an old PostgreSQL database only
        with `upgrade`, since other people's programs use it.

        Raises:
            StoreError: they are damaged, of another version, or cannot be reached.
        """
        return cls(open_engine(where, upgrade=upgrade), now, new_id, read_only=read_only)

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()

    def __enter__(self) -> "Notes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing

    def add(self, content: C, author: str) -> Note[C]:
        """Write a note.

        A tag or vote that this author already gave is the same note: it is changed when it says
        something else now, brought back when it was removed, and left alone when it says the same.

        Raises:
            NotesError: the content or the author is not allowed.
            NotFound: a target is no id, or a vote or link points to a note that is not there.
        """
        content, author = check.checked(content), check.author_name(author)
        with self._writing() as session:
            rules.check_references(session, content)
            key, now = key_of(content, author), self._now()
            row = session.get(NoteRow, key) if key else None
            if row is None:
                row = new_row(key or self._new_id(), kind_of(content), author, now)
            elif not row.deleted and content_of(row) == content:
                return note_of(row)
            change(session, row, "add" if row.deleted else "edit", author, now, content)
            return note_of(row)

    def edit(self, note_id: str, content: C, author: str, based_on: int) -> Note[C]:
        """Give a note a new content; `based_on` is the version the author saw.

        Raises:
            Conflict: somebody changed or removed it since.
            NotesError: the content is not allowed, of another kind or about something else.
            NotFound: there is no such note.
        """
        content, author = check.checked(content), check.author_name(author)
        with self._writing() as session:
            row = rules.unchanged(session, note_id, based_on, content)
            rules.check_may_change(row, author)
            before = content_of(row)
            rules.check_same_subject(before, content)
            if before != content:
                rules.check_references(session, content)
                change(session, row, "edit", author, self._now(), content)
            return note_of(row)

    def remove(self, note_id: str, author: str, based_on: int) -> None:
        """Take a note away; its history keeps it and `undo` brings it back.

        Raises:
            Conflict: somebody changed or removed it since.
            NotesError: it is another person's vote or comment.
            NotFound: there is no such note.
        """
        author = check.author_name(author)
        with self._writing() as session:
            row = rules.unchanged(session, note_id, based_on, None)
            rules.check_may_change(row, author)
            change(session, row, "remove", author, self._now(), None)

    def undo(self, note_id: str, author: str, based_on: int) -> Note[Any] | None:
        """Take the last change of a note back; undoing twice is doing it again.

        Returns:
            The note as it is now, None when the undone change was its first.

        Raises:
            Conflict: somebody changed it since.
            NotesError: it is another person's vote or comment.
            NotFound: there is no such note.
        """
        author = check.author_name(author)
        with self._writing() as session:
            row = session.get(NoteRow, note_id)
            if row is None:
                raise NotFound(f"no note {note_id[:80]!r}", "copy the id from a page or an export")
            rules.check_version(row, based_on, None)
            rules.check_may_change(row, author)
            last = session.scalars(
                select(HistoryRow).where(
                    HistoryRow.note == row.id, HistoryRow.version == row.version
                )
            ).one()
            after = check.content(row.kind, last.before) if last.before else None
            if after is not None:
                rules.check_references(session, after)
            change(session, row, "undo", author, self._now(), after)
            return note_of(row) if after is not None else None

    def collect(self, collection: str, members: Iterable[Member], author: str) -> Note[Collection]:
        """Put what is not in a collection yet at its end; needs no version, since it adds only.

        Raises:
            NotesError: a member is not allowed, or there are too many.
            NotFound: there is no such collection, or a target is no id.
        """
        author, members = check.author_name(author), tuple(members)
        with self._writing() as session:
            row = live(session, collection)
            before = content_of(row)
            if not isinstance(before, Collection):
                raise NotesError(f"{collection} is no collection but a {row.kind}")
            new = check.checked(replace(before, members=members)).members
            have = {member.target for member in before.members}
            added = {m.target: m for m in reversed(new) if m.target not in have}
            after = replace(before, members=(*before.members, *reversed(added.values())))
            if added:
                change(session, row, "edit", author, self._now(), check.checked(after))
            return note_of(row)

    # Reading

    def get(self, note_id: str) -> Note[Any]:
        """One note. Raises NotFound when there is none or it was removed."""
        with self._reading() as session:
            return note_of(live(session, note_id))

    def on(self, target: str) -> NotesOn:
        """Everything people wrote about one id. Raises NotFound when it is no id in full form."""
        with self._reading() as session:
            return notes_read.on(session, str(ids.parse(target)))

    def every(self, kind: type[C], targets: Several[str] | None = None) -> tuple[Note[C], ...]:
        """All notes of one kind, oldest first; with `targets` only those about one of them."""
        with self._reading() as session:
            return notes_read.every(session, kind, targets)

    def judged(self, kind: type[J], targets: Several[str] | None = None) -> tuple[Judged[J], ...]:
        """Role claims or labels with their votes, oldest first."""
        with self._reading() as session:
            return notes_read.judged(session, kind, targets)

    def titles(self, features: Several[str]) -> dict[str, Note[HumanLabel]]:
        """Feature id to the title people gave it: the best supported, then the latest."""
        with self._reading() as session:
            return notes_read.titles(session, features)

    def tags_in_use(self) -> tuple[TagUse, ...]:
        """All tags, most used first."""
        with self._reading() as session:
            return notes_read.tags_in_use(session)

    def tagged(self, name: str) -> tuple[str, ...]:
        """Ids that carry the tag `name`."""
        with self._reading() as session:
            return notes_read.tagged(session, name)

    def marks(self) -> Marks:
        """Tags, claimed roles and people's titles, with the ids they are on."""
        with self._reading() as session:
            return notes_read.marks(session)

    def search(self, text: str, limit: int = 100) -> tuple[NoteHit, ...]:
        """Notes that hold every word of `text`, in any case, last changed first."""
        with self._reading() as session:
            return notes_read.search(session, text, limit)

    def history(self, note_id: str) -> tuple[Change, ...]:
        """Every change of a note, oldest first. Raises NotFound when there never was one."""
        with self._reading() as session:
            return notes_read.history(session, note_id)

    def recent(self, limit: int = 50, before: int | None = None) -> tuple[Change, ...]:
        """The latest changes of all notes; `before` is the last number of the page before."""
        with self._reading() as session:
            return notes_read.recent(session, limit, before)

    def about(self, target: str, limit: int = 50) -> tuple[Change, ...]:
        """The latest changes of notes on one id, those taken away too, latest first."""
        with self._reading() as session:
            return notes_read.about(session, target, limit)

    def contradictions(self) -> tuple[str, ...]:
        """Ids of notes that are not what their history made them: somebody changed the file."""
        with self._reading() as session:
            return notes_read.contradictions(session)

    # Exchange

    def stamp(self) -> int:
        """A number that grows with every change: cheap to compare."""
        with self._reading() as session:
            return session.get_one(ChangeCounter, 1).changes

    def as_tables(self) -> dict[str, pa.Table]:
        """The notes as Arrow tables for SQL: one per kind, with what is removed left out."""
        with self._reading() as session:
            return notes_tables.as_tables(session)

    def export(self) -> str:
        """All notes with their history as one text, one note a line, in a fixed order."""
        with self._reading() as session:
            return notes_exchange.export(session)

    def import_(self, text: str) -> Imported:
        """Take in an export, all or nothing; the same one twice changes nothing.

        Raises:
            NotesError: the text is no export, or holds something that is not allowed.
        """
        notes = notes_exchange.parse(text)
        with self._writing() as session:
            return notes_exchange.take_in(session, notes)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with translated(self._engine.url), Session(reader(self._engine)) as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """One transaction that no other writer's overlaps; committed when the block ends well."""
        if self._read_only:
            raise NotesError("notes are only read here", "write them where the server lets you")
        with (
            translated(self._engine.url),
            Session(writer(self._engine)) as session,
            session.begin(),
        ):
            session.get_one(ChangeCounter, 1, with_for_update=True)
            yield session
