"""The addresses of people's notes: reading is open, writing names its author."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from app.http.answer import FRESH, OfNotes
from app.http.author import Author, author_of
from app.http.body import body_of, text_body
from app.http.document import GIVEN, answers, taken
from app.http.errors import JSON
from app.http.parameters import LARGEST, link
from atlas import note_types as notes
from atlas import wire
from atlas.errors import NotesError
from atlas.note_types import KINDS, Note

router = APIRouter(prefix="/notes")
NDJSON = "application/x-ndjson"
_MOST = 500

NoteId = Annotated[str, Path(description="Id of a note: 32 digits from 0 to f.")]
Kind = Literal["tag", "role_claim", "human_label", "comment", "vote", "collection", "saved_query"]
Judgeable = Literal["role_claim", "human_label"]
Targets = Annotated[
    list[str] | None,
    Query(max_length=_MOST, description="Only those about one of these ids; may be repeated."),
]


@dataclass(frozen=True, slots=True)
class Written:
    """A new note."""

    kind: Kind
    content: dict[str, Any]
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A note's new content."""

    content: dict[str, Any]
    """The whole content, not only what changes."""
    based_on: int
    """Version that the author saw."""
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Undo:
    """A wish to take the last change of a note back."""

    based_on: int
    """Version that the author saw."""
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote on a role claim or a label."""

    choice: notes.Choice
    reason: str = ""
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """What is put at the end of a collection."""

    members: tuple[notes.Member, ...]
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Recent:
    """The latest changes of all notes, latest first."""

    changes: tuple[notes.Change, ...]
    next: str | None
    """Address of the changes before these; None where there are none."""


@router.get("/on/{target:path}", responses=answers(notes.NotesOn))
def on(target: str, asked: OfNotes) -> Response:
    """Everything people wrote about one model, head, SAE or feature."""
    return asked.answer(asked.atlas.notes.on(target))


@router.get("/kinds/{kind}", responses=answers(tuple[Note[notes.Content], ...]))
def every(kind: Kind, asked: OfNotes, target: Targets = None) -> Response:
    """All notes of one kind, oldest first."""
    return asked.answer(asked.atlas.notes.every(KINDS[kind], target))


@router.get(
    "/judged/{kind}",
    responses=answers(tuple[notes.Judged[notes.RoleClaim] | notes.Judged[notes.HumanLabel], ...]),
)
def judged(kind: Judgeable, asked: OfNotes, target: Targets = None) -> Response:
    """Role claims or labels with the votes on them, oldest first."""
    store = asked.atlas.notes
    if kind == "role_claim":
        return asked.answer(store.judged(notes.RoleClaim, target))
    return asked.answer(store.judged(notes.HumanLabel, target))


@router.get("/titles", responses=answers(dict[str, Note[notes.HumanLabel]]))
def titles(
    asked: OfNotes,
    feature: Annotated[list[str], Query(max_length=_MOST, description="May be repeated.")],
) -> Response:
    """Feature id to the title that people gave it."""
    return asked.answer(asked.atlas.notes.titles(feature))


@router.get("/tags", responses=answers(tuple[notes.TagUse, ...]))
def tags(asked: OfNotes) -> Response:
    """All tags, most used first."""
    return asked.answer(asked.atlas.notes.tags_in_use())


@router.get("/tagged", responses=answers(tuple[str, ...]))
def tagged(asked: OfNotes, name: Annotated[str, Query(description="The tag.")]) -> Response:
    """Ids that carry a tag."""
    return asked.answer(asked.atlas.notes.tagged(name))


@router.get("/search", responses=answers(tuple[notes.NoteHit, ...]))
def search_notes(
    asked: OfNotes,
    text: Annotated[str, Query(description="Words that a note must hold, all of them.")],
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
) -> Response:
    """Notes that hold every word, last changed first."""
    return asked.answer(asked.atlas.notes.search(text, limit))


@router.get("/recent", responses=answers(Recent))
def recent(
    request: Request,
    asked: OfNotes,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
    before: Annotated[
        int | None, Query(ge=1, le=LARGEST, description="Go on before the change of this number.")
    ] = None,
) -> Response:
    """The latest changes of all notes, a page at a time."""
    found = asked.atlas.notes.recent(limit + 1, before)
    shown = found[:limit]
    more = link(request, before=shown[-1].number) if len(found) > limit else None
    return asked.answer(Recent(shown, more))


@router.get("/about", responses=answers(tuple[notes.Change, ...]))
def about(
    asked: OfNotes,
    target: Annotated[str, Query(description="Id of a model, head, SAE or feature.")],
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
) -> Response:
    """The latest changes of notes on one id, those taken away too."""
    return asked.answer(asked.atlas.notes.about(target, limit))


@router.get("/stamp", responses=answers(int))
def stamp(asked: OfNotes) -> Response:
    """A number that grows with every change."""
    return asked.answer(asked.atlas.notes.stamp())


@router.get("/roles", responses=answers(dict[str, str]))
def roles(asked: OfNotes) -> Response:
    """The vocabulary of roles, each with its sentence."""
    return asked.answer(notes.ROLES)


@router.get("/export", responses=answers(NDJSON))
def export(asked: OfNotes) -> Response:
    """All notes with their history as one text, one note a line."""
    name = {"Content-Disposition": 'attachment; filename="notes.ndjson"'}
    return Response(asked.atlas.notes.export(), 200, asked.headers | name, NDJSON)


@router.post(
    "/import",
    responses=answers(notes.Imported),
    openapi_extra=taken({"type": "string"}, NDJSON),
)
def import_(
    request: Request,
    text: Annotated[str, Depends(text_body(NDJSON, NotesError))],
    _: Annotated[str, Depends(author_of)],
) -> Response:
    """Take in an export, all or nothing; the same one twice changes nothing."""
    return _done(request.app.state.atlas.notes.import_(text))


def _new_note() -> dict[str, Any]:
    """What `add` takes: a kind with its content."""
    return {
        "oneOf": [
            {
                "type": "object",
                "required": ["kind", "content"],
                "properties": {
                    "kind": {"const": kind},
                    "content": GIVEN.of(made),
                    "author": {"type": ["string", "null"]},
                },
                "additionalProperties": False,
            }
            for kind, made in KINDS.items()
        ]
    }


@router.post(
    "",
    status_code=201,
    responses=answers(Note[notes.Content], 201),
    openapi_extra=taken(_new_note()),
)
def add(
    request: Request,
    new: Annotated[Written, Depends(body_of(Written, NotesError))],
    author: Author,
) -> Response:
    """Write a note: a kind and its content."""
    content = _content(KINDS[new.kind], new.content)
    note = request.app.state.atlas.notes.add(content, author(new.author))
    return _done(note, 201, Location=f"/notes/{note.id}")


@router.get("/{note}", responses=answers(Note[notes.Content]))
def get(note: NoteId, asked: OfNotes) -> Response:
    """One note."""
    return asked.answer(asked.atlas.notes.get(note))


@router.get("/{note}/history", responses=answers(tuple[notes.Change, ...]))
def history(note: NoteId, asked: OfNotes) -> Response:
    """Every change of a note, oldest first."""
    return asked.answer(asked.atlas.notes.history(note))


@router.put(
    "/{note}", responses=answers(Note[notes.Content]), openapi_extra=taken(GIVEN.of(Change))
)
def edit(
    request: Request,
    note: NoteId,
    change: Annotated[Change, Depends(body_of(Change, NotesError))],
    author: Author,
) -> Response:
    """Give a note a new content; refused when somebody changed it since."""
    store = request.app.state.atlas.notes
    kind = KINDS[store.history(note)[0].kind]  # of a removed note too: that is a Conflict
    content = _content(kind, change.content)
    return _done(store.edit(note, content, author(change.author), change.based_on))


@router.delete("/{note}", status_code=204)
def remove(
    request: Request,
    note: NoteId,
    based_on: Annotated[int, Query(ge=0, le=LARGEST, description="Version that the author saw.")],
    author: Author,
) -> Response:
    """Take a note away; its history keeps it, and undo brings it back."""
    request.app.state.atlas.notes.remove(note, author(None), based_on)
    return Response(status_code=204, headers=FRESH)


@router.post(
    "/{note}/undo",
    responses=answers(Note[notes.Content] | None),
    openapi_extra=taken(GIVEN.of(Undo)),
)
def undo(
    request: Request,
    note: NoteId,
    wish: Annotated[Undo, Depends(body_of(Undo, NotesError))],
    author: Author,
) -> Response:
    """Take the last change of a note back; null when that was its first."""
    return _done(request.app.state.atlas.notes.undo(note, author(wish.author), wish.based_on))


@router.post(
    "/{note}/vote",
    status_code=201,
    responses=answers(Note[notes.Vote], 201),
    openapi_extra=taken(GIVEN.of(Ballot)),
)
def vote(
    request: Request,
    note: NoteId,
    ballot: Annotated[Ballot, Depends(body_of(Ballot, NotesError))],
    author: Author,
) -> Response:
    """Agree with a role claim or a label, or dispute it; one vote per author."""
    content = notes.Vote(note, ballot.choice, ballot.reason)
    return _done(request.app.state.atlas.notes.add(content, author(ballot.author)), 201)


@router.post(
    "/{note}/members",
    responses=answers(Note[notes.Collection]),
    openapi_extra=taken(GIVEN.of(Members)),
)
def collect(
    request: Request,
    note: NoteId,
    new: Annotated[Members, Depends(body_of(Members, NotesError))],
    author: Author,
) -> Response:
    """Put what is not in a collection yet at its end; needs no version, since it adds only."""
    store = request.app.state.atlas.notes
    return _done(store.collect(note, new.members, author(new.author)))


def _content(kind: type[notes.Content], values: Any) -> notes.Content:
    try:
        return wire.read(kind, values, strict=True, where="content")
    except ValueError as error:
        raise NotesError(str(error), "see /openapi.json") from error


def _done(value: Any, status: int = 200, **headers: str) -> Response:
    return Response(wire.dumps(value), status, FRESH | headers, JSON)
