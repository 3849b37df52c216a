"""Between contents and rows: the only place where a note changes, and it leaves its history."""

import hashlib
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, cast

from sqlalchemy.orm import Session

from atlas.errors import NotFound
from atlas.note_types import (
    KINDS,
    Action,
    Change,
    Content,
    Member,
    Note,
    RoleEvidence,
    Tag,
    Vote,
)
from atlas.store import notes_check as check
from atlas.store.notes_schema import (
    ROWS,
    ChangeCounter,
    CollectionMemberRow,
    HistoryRow,
    NoteRow,
    RoleEvidenceRow,
)

_KIND_OF: dict[type, str] = {content: kind for kind, content in KINDS.items()}


def kind_of(content: Content | type) -> str:
    """The kind, which is also the table, of a content or its class."""
    return _KIND_OF[content if isinstance(content, type) else type(content)]


def key_of(content: Content, author: str) -> str | None:
    """The id of a note that may exist only once per author, such as a vote; None for the rest."""
    match content:
        case Tag():
            parts = ["tag", content.target, content.name, author]
        case Vote():
            parts = ["vote", content.about, author]
        case _:
            return None
    return hashlib.sha256(check.dumps(parts).encode()).hexdigest()[:32]


def content_of(row: NoteRow) -> Content:
    """What a row says. A removed note still has its last words."""
    kind = KINDS[row.kind]
    return kind(**{field.name: _value(getattr(row, field.name)) for field in fields(kind)})


def _value(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return tuple(_part(row) for row in value)


def _part(row: RoleEvidenceRow | CollectionMemberRow) -> RoleEvidence | Member:
    kind = RoleEvidence if isinstance(row, RoleEvidenceRow) else Member
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def note_of(row: NoteRow) -> Note[Any]:
    """A row as a note."""
    return Note(
        row.id,
        content_of(row),
        row.author,
        row.version,
        row.created_at,
        row.changed_at,
        row.changed_by,
    )


def change_of(row: HistoryRow) -> Change:
    """A row of the history as a change."""
    return Change(
        row.number,
        row.note,
        row.kind,
        row.version,
        cast("Action", row.action),
        row.author,
        row.changed_at,
        None if row.before is None else check.content(row.kind, row.before),
        None if row.after is None else check.content(row.kind, row.after),
    )


def new_row(note_id: str, kind: str, author: str, at: datetime) -> NoteRow:
    """A row for a note that is not there yet; `change` brings it to life."""
    return ROWS[kind](
        id=note_id,
        author=author,
        version=0,
        created_at=at,
        deleted=True,
    )


def change(
    session: Session,
    row: NoteRow,
    action: Action,
    author: str,
    at: datetime,
    after: Content | None,
) -> None:
    """Give a note its next version and write that into the history; None removes the note."""
    before = None if row.deleted else check.state(content_of(row))
    if after is not None:
        _fill(row, after)
    row.deleted = after is None
    row.version += 1
    row.changed_at, row.changed_by = at, author
    session.add(row)
    session.flush()  # the history points to the note
    counter = session.get_one(ChangeCounter, 1)
    counter.changes += 1
    session.add(
        HistoryRow(
            number=counter.changes,
            note=row.id,
            kind=row.kind,
            version=row.version,
            action=action,
            author=author,
            changed_at=at,
            before=before,
            after=None if after is None else check.state(after),
        )
    )


def _fill(row: NoteRow, content: Content) -> None:
    for field in fields(content):
        value = getattr(content, field.name)
        match field.name:
            case "evidence":
                value = [RoleEvidenceRow(rank=n, **asdict(part)) for n, part in enumerate(value)]
            case "members":
                value = [CollectionMemberRow(rank=n, **asdict(p)) for n, p in enumerate(value)]
            case _:
                pass
        setattr(row, field.name, value)
    row.searchable = check.searchable(content)


def live(session: Session, note_id: str) -> NoteRow:
    """The row of a note that is there. Raises NotFound when it never was or was removed."""
    row = session.get(NoteRow, note_id)
    if row is None:
        raise NotFound(f"no note {note_id[:80]!r}", "copy the id from a page or an export")
    if row.deleted:
        raise NotFound(
            f"{row.changed_by} removed this {row.kind.replace('_', ' ')}",
            "its history can bring it back",
        )
    return row
