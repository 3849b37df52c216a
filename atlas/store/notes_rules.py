"""Who may change which note, and into what: checked inside the transaction that changes it."""

from sqlalchemy.orm import Session

from atlas.errors import Conflict, NotesError
from atlas.note_types import Comment, Content, RoleClaim, Vote
from atlas.store.notes_rows import content_of, kind_of, live, note_of
from atlas.store.notes_schema import NoteRow

_PERSONAL = (Vote, Comment)  # one person's voice: nobody else changes it


def unchanged(session: Session, note_id: str, based_on: int, yours: Content | None) -> NoteRow:
    """The row of a note that is still as somebody saw it.

    Raises:
        Conflict: it was changed or removed since; `yours` is what is not written then.
        NotFound: there is no such note.
    """
    row = session.get(NoteRow, note_id)
    if row is not None:
        check_version(row, based_on, yours)
    return live(session, note_id)


def check_version(row: NoteRow, based_on: int, yours: Content | None) -> None:
    """Raises Conflict when a note, removed or not, is no longer at the version somebody saw."""
    if row.version == based_on:
        return
    kind = row.kind.replace("_", " ")
    did = "removed" if row.deleted else "changed"
    raise Conflict(
        f"{row.changed_by} {did} this {kind} in the meantime: it is at version {row.version}, "
        f"yours is based on {based_on}",
        "look at what stands there now and write yours again; nothing of either is lost",
        theirs=None if row.deleted else note_of(row),
        yours=yours,
    )


def check_may_change(row: NoteRow, author: str) -> None:
    """Raises NotesError for another person's vote or comment."""
    if isinstance(content_of(row), _PERSONAL) and row.author != author:
        raise NotesError(f"this {row.kind} is {row.author}'s own", "write one of yours")


def check_same_subject(before: Content, after: Content) -> None:
    """Raises NotesError when an edit would make another note of it."""
    if type(before) is not type(after):
        raise NotesError(f"a {kind_of(before)} cannot become a {kind_of(after)}", "add a new note")
    for name in ("target", "about"):
        if getattr(before, name, None) != getattr(after, name, None):
            raise NotesError("a note stays on what it is about", "remove it and add another")
    if kind_of(before) == "tag" and before != after:
        raise NotesError("a tag has nothing to edit", "remove it and add another")


def check_references(session: Session, content: Content) -> None:
    """Raises NotFound or NotesError when a content points to a note that is not there or unfit."""
    match content:
        case Vote(about=about):
            if live(session, about).kind not in ("role_claim", "human_label"):
                raise NotesError("only role claims and labels are voted on", "write a comment")
        case RoleClaim(evidence=evidence):
            for link in evidence:
                if link.kind == "query" and live(session, link.ref).kind != "saved_query":
                    raise NotesError(f"{link.ref} is no saved query", "save the query first")
        case _:
            pass
