"""Reading people's notes: everything on one target, everything of one kind, search, history."""

from collections import defaultdict
from collections.abc import Collection as Several
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from atlas.errors import NotFound
from atlas.note_types import (
    C,
    Change,
    Collection,
    Comment,
    HumanLabel,
    J,
    Judged,
    Marks,
    Note,
    NoteHit,
    NotesOn,
    RoleClaim,
    Tag,
    TagUse,
    Vote,
)
from atlas.store.notes_check import folded, state
from atlas.store.notes_rows import change_of, content_of, kind_of, note_of
from atlas.store.notes_schema import (
    ROWS,
    CollectionMemberRow,
    CollectionRow,
    HistoryRow,
    HumanLabelRow,
    NoteRow,
    RoleClaimRow,
    TagRow,
    VoteRow,
)

_MAX_WORDS = 12


def every(
    session: Session, kind: type[C], targets: Several[str] | None = None
) -> tuple[Note[C], ...]:
    """Notes of one kind, oldest first; with `targets` only those that speak of one of them."""
    return tuple(note_of(row) for row in session.scalars(_every(kind, targets)))


def judged(
    session: Session, kind: type[J], targets: Several[str] | None = None
) -> tuple[Judged[J], ...]:
    """Role claims or labels with the votes on them, oldest first."""
    subjects = _every(kind, targets).with_only_columns(NoteRow.id).order_by(None)
    votes: defaultdict[str, list[Note[Vote]]] = defaultdict(list)
    for row in session.scalars(_live(select(VoteRow)).where(VoteRow.about.in_(subjects))):
        votes[row.about].append(note_of(row))
    notes = every(session, kind, targets)
    return tuple(Judged(note, tuple(votes[note.id])) for note in notes)


def on(session: Session, target: str) -> NotesOn:
    """Everything on one target, given in full form."""
    holding = select(CollectionMemberRow.collection).where(CollectionMemberRow.target == target)
    collections = session.scalars(_live(select(CollectionRow)).where(CollectionRow.id.in_(holding)))
    return NotesOn(
        target,
        every(session, Tag, [target]),
        judged(session, RoleClaim, [target]),
        judged(session, HumanLabel, [target]),
        every(session, Comment, [target]),
        tuple(note_of(row) for row in collections),
    )


def titles(session: Session, features: Several[str]) -> dict[str, Note[HumanLabel]]:
    """The title people gave each of these features: the best supported one, then the latest."""
    labels = [
        label
        for label in judged(session, HumanLabel, features)
        if label.note.content.side == "title"
    ]
    labels.sort(key=lambda label: (label.agree - label.dispute, label.note.changed_at))
    return {label.note.content.target: label.note for label in labels}


def tags_in_use(session: Session) -> tuple[TagUse, ...]:
    """Tags and on how many targets they are, most used first."""
    count = func.count(TagRow.target.distinct())
    rows = session.execute(
        select(TagRow.name, count)
        .where(~TagRow.deleted)
        .group_by(TagRow.name)
        .order_by(count.desc(), TagRow.name)
    )
    return tuple(TagUse(name, targets) for name, targets in rows)


def tagged(session: Session, name: str) -> tuple[str, ...]:
    """Ids that carry a tag, in order."""
    rows = select(TagRow.target).where(~TagRow.deleted, TagRow.name == name).distinct()
    return tuple(sorted(target for target in session.scalars(rows) if target))


def marks(session: Session) -> Marks:
    """Tags, claimed roles and titles by people, with the ids they are on."""
    tags = select(TagRow.name, TagRow.target).where(~TagRow.deleted)
    roles = select(RoleClaimRow.role, RoleClaimRow.target).where(
        ~RoleClaimRow.deleted, RoleClaimRow.status != "withdrawn"
    )
    named = select(HumanLabelRow.side, HumanLabelRow.target).where(
        ~HumanLabelRow.deleted, HumanLabelRow.side == "title"
    )
    found = [_targets(session, rows) for rows in (tags, roles, named)]
    return Marks(found[0], found[1], found[2].get("title", ()))


def _targets(session: Session, rows: Select[str, str | None]) -> dict[str, tuple[str, ...]]:
    """Targets by the word that is said of them, both in order."""
    by_word: defaultdict[str, set[str]] = defaultdict(set)
    for word, target in session.execute(rows):
        by_word[word].add(target or "")
    return {word: tuple(sorted(by_word[word])) for word in sorted(by_word)}


def search(session: Session, text: str, limit: int) -> tuple[NoteHit, ...]:
    """Notes that hold every word of `text` somewhere, last changed first; none for no words."""
    wanted = folded(text).split()[:_MAX_WORDS]
    if not wanted:
        return ()
    rows = (
        select(NoteRow)
        .where(~NoteRow.deleted)
        .where(*(NoteRow.searchable.contains(word, autoescape=True) for word in wanted))
        .order_by(NoteRow.changed_at.desc(), NoteRow.id)
        .limit(limit)
    )
    return tuple(_hit(session, row) for row in session.scalars(rows))


def history(session: Session, note_id: str) -> tuple[Change, ...]:
    """Every change of a note, oldest first. Raises NotFound when there was never such a note."""
    rows = select(HistoryRow).where(HistoryRow.note == note_id).order_by(HistoryRow.version)
    changes = tuple(change_of(row) for row in session.scalars(rows))
    if not changes:
        raise NotFound(f"no note {note_id[:80]!r}", "copy the id from a page or an export")
    return changes


def contradictions(session: Session) -> tuple[str, ...]:
    """Ids of notes that are not what the last change of their history made them."""
    latest = select(NoteRow, HistoryRow.after).outerjoin(
        HistoryRow, (HistoryRow.note == NoteRow.id) & (HistoryRow.version == NoteRow.version)
    )
    found = (
        (row.id, None if row.deleted else state(content_of(row)), after)
        for row, after in session.execute(latest)
    )
    return tuple(sorted(note for note, is_now, after in found if is_now != after))


def recent(session: Session, limit: int, before: int | None) -> tuple[Change, ...]:
    """The latest changes of all notes, latest first; `before` is the number to go on from."""
    rows = select(HistoryRow).order_by(HistoryRow.number.desc()).limit(limit)
    if before is not None:
        rows = rows.where(HistoryRow.number < before)
    return tuple(change_of(row) for row in session.scalars(rows))


def about(session: Session, target: str, limit: int) -> tuple[Change, ...]:
    """The latest changes of notes on one id and of votes on them, latest first."""
    own = select(NoteRow.id).where(NoteRow.target == target)
    votes = select(VoteRow.id).where(VoteRow.about.in_(own))
    rows = select(HistoryRow).where(HistoryRow.note.in_(own) | HistoryRow.note.in_(votes))
    latest = rows.order_by(HistoryRow.number.desc()).limit(limit)
    return tuple(change_of(row) for row in session.scalars(latest))


def _live(rows: Select[Any]) -> Select[Any]:
    return rows.where(~NoteRow.deleted).order_by(NoteRow.created_at, NoteRow.id)


def _every(kind: type, targets: Several[str] | None) -> Select[Any]:
    rows = _live(select(ROWS[kind_of(kind)]))
    return rows if targets is None else rows.where(NoteRow.target.in_(targets))


def _hit(session: Session, row: NoteRow) -> NoteHit:
    content = content_of(row)
    match content:
        case Collection(members=members):
            targets = [member.target for member in members]
        case Vote(about=about):
            targets = [session.get_one(NoteRow, about).target or ""]
        case _:
            targets = [row.target] if row.target else []
    text = " · ".join(part for part in _words(content) if part)
    return NoteHit(row.id, row.kind, tuple(targets), text, row.author)


def _words(content: Any) -> list[str]:
    names = ("role", "name", "text", "words", "description", "reason")
    return [" ".join(getattr(content, name, "").split()) for name in names]
