"""People's notes over HTTP: the same methods and types as Notes."""

import re
from collections.abc import Collection as Several
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from atlas import wire
from atlas.client_server import Parameters, Server
from atlas.errors import NotFound
from atlas.ids import parse
from atlas.note_types import (
    KINDS,
    C,
    Change,
    Collection,
    HumanLabel,
    Imported,
    J,
    Judged,
    Member,
    Note,
    NoteHit,
    NotesOn,
    TagUse,
)

_NDJSON = "application/x-ndjson"
_AT_ONCE = 100
_KIND_OF: dict[Any, str] = {content: kind for kind, content in KINDS.items()}


class NotesClient:
    """The notes of a served atlas."""

    def __init__(self, server: Server) -> None:
        self._server = server

    # Writing

    def add(self, content: C, author: str) -> Note[C]:
        """Write a note; see Notes.add."""
        kind = _KIND_OF[type(content)]
        return self._server.send(
            Note[Any], "POST", "/notes", kind=kind, content=content, author=author
        )

    def edit(self, note_id: str, content: C, author: str, based_on: int) -> Note[C]:
        """Give a note a new content; see Notes.edit."""
        return self._server.send(
            Note[Any], "PUT", _path(note_id),
            content=content, author=author, based_on=based_on,
        )  # fmt: skip

    def remove(self, note_id: str, author: str, based_on: int) -> None:
        """Take a note away; see Notes.remove."""
        self._server.ask("DELETE", _path(note_id), [("based_on", based_on)], X_Author=quote(author))

    def undo(self, note_id: str, author: str, based_on: int) -> Note[Any] | None:
        """Take the last change of a note back; see Notes.undo."""
        body = wire.dumps({"author": author, "based_on": based_on}).encode()
        reply = self._server.ask("POST", f"{_path(note_id)}/undo", body=body)
        return None if reply == b"null" else self._server.read(Note[Any], reply)

    def collect(self, collection: str, members: Iterable[Member], author: str) -> Note[Collection]:
        """Put what is not in a collection yet at its end; see Notes.collect."""
        return self._server.send(
            Note[Collection], "POST", f"{_path(collection)}/members",
            members=tuple(members), author=author,
        )  # fmt: skip

    # Reading

    def get(self, note_id: str) -> Note[Any]:
        """One note."""
        return self._server.get(Note[Any], _path(note_id))

    def on(self, target: str) -> NotesOn:
        """Everything people wrote about one id."""
        return self._server.get(NotesOn, f"/notes/on/{parse(target)}")

    def every(self, kind: type[C], targets: Several[str] | None = None) -> tuple[Note[C], ...]:
        """All notes of one kind, oldest first; with `targets` only those about one of them."""
        path = f"/notes/kinds/{_KIND_OF[kind]}"
        found: list[Note[C]] = []
        for part in _parts("target", targets):
            found += self._server.get(tuple[Note[Any], ...], path, part)
        return tuple(sorted(found, key=lambda note: (note.created_at, note.id)))

    def judged(self, kind: type[J], targets: Several[str] | None = None) -> tuple[Judged[J], ...]:
        """Role claims or labels with their votes, oldest first."""
        path = f"/notes/judged/{_KIND_OF[kind]}"
        found: list[Judged[J]] = []
        for part in _parts("target", targets):
            found += self._server.get(tuple[Judged[Any], ...], path, part)
        return tuple(sorted(found, key=lambda one: (one.note.created_at, one.note.id)))

    def titles(self, features: Several[str]) -> dict[str, Note[HumanLabel]]:
        """Feature id to the title people gave it."""
        found: dict[str, Note[HumanLabel]] = {}
        for part in _parts("feature", features):
            found |= self._server.get(dict[str, Note[HumanLabel]], "/notes/titles", part)
        return found

    def tags_in_use(self) -> tuple[TagUse, ...]:
        """All tags, most used first."""
        return self._server.get(tuple[TagUse, ...], "/notes/tags")

    def tagged(self, name: str) -> tuple[str, ...]:
        """Ids that carry the tag `name`."""
        return self._server.get(tuple[str, ...], "/notes/tagged", [("name", name)])

    def search(self, text: str, limit: int = 100) -> tuple[NoteHit, ...]:
        """Notes that hold every word of `text`, in any case, last changed first."""
        wanted = [("text", text), ("limit", limit)]
        return self._server.get(tuple[NoteHit, ...], "/notes/search", wanted)

    def history(self, note_id: str) -> tuple[Change, ...]:
        """Every change of a note, oldest first."""
        return self._server.get(tuple[Change, ...], f"{_path(note_id)}/history")

    def recent(self, limit: int = 50, before: int | None = None) -> tuple[Change, ...]:
        """The latest changes of all notes; `before` is the last number of the page before."""
        wanted = [("limit", limit)] + ([] if before is None else [("before", before)])
        page = self._server.get(dict[str, Any], "/notes/recent", wanted)
        return self._server.made(tuple[Change, ...], page["changes"])

    def about(self, target: str, limit: int = 50) -> tuple[Change, ...]:
        """The latest changes of notes on one id, those taken away too, latest first."""
        wanted: list[tuple[str, Any]] = [("target", target), ("limit", limit)]
        return self._server.get(tuple[Change, ...], "/notes/about", wanted)

    # Exchange

    def stamp(self) -> int:
        """A number that grows with every change."""
        return self._server.get(int, "/notes/stamp")

    def export(self) -> str:
        """All notes with their history as one text, one note a line, in a fixed order."""
        return self._server.ask("GET", "/notes/export").decode()

    def import_(self, text: str) -> Imported:
        """Take in an export, all or nothing; the same one twice changes nothing."""
        reply = self._server.ask("POST", "/notes/import", body=text.encode(), Content_Type=_NDJSON)
        return self._server.read(Imported, reply)


def _path(note_id: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", note_id):
        raise NotFound(f"no note {note_id[:80]!r}", "copy the id from a page or an export")
    return f"/notes/{note_id}"


def _parts(name: str, targets: Several[str] | None) -> Iterable[Parameters]:
    """Query parameters for all targets, a few at a time; one empty list for no restriction."""
    if targets is None:
        return [[]]
    wanted = [(name, target) for target in targets]
    return [wanted[first : first + _AT_ONCE] for first in range(0, len(wanted), _AT_ONCE)]
