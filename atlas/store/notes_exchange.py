"""All notes as one readable text and back: a line per note, which is its history.

The first line names the format. A note's line holds its id, its kind and every change with what
the note was after it; everything else follows from that. Taking in an export never overwrites:
where both sides went on from the same version, ours stays and theirs becomes a note beside it.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from atlas.errors import AtlasError, NotesError
from atlas.note_types import ACTIONS, KINDS, Action, Imported
from atlas.store import notes_check as check
from atlas.store.notes_rows import change, key_of, new_row
from atlas.store.notes_schema import HistoryRow, NoteRow

FORMAT = "feature-atlas notes"
VERSION = 1
_KEYED = ("tag", "vote")  # their id says which author, target and word: no second one beside it


@dataclass(frozen=True, slots=True)
class Step:
    """One change as it is exported."""

    action: Action
    author: str
    at: datetime
    after: str | None
    """Content as JSON; None where the note was removed."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One note as it is exported: all its steps."""

    id: str
    kind: str
    steps: tuple[Step, ...]


def export(session: Session) -> str:
    """Every note, removed ones too, by time of its first step; equal notes give equal text."""
    notes = sorted(_histories(session).values(), key=lambda note: (note.steps[0].at, note.id))
    lines = [{"format": FORMAT, "version": VERSION}, *(_line(note) for note in notes)]
    return "".join(f"{check.dumps(line)}\n" for line in lines)


def parse(text: str) -> tuple[Exported, ...]:
    """The notes of an export, checked.

    Raises:
        NotesError: the text is no export, of a newer version, or holds what is not allowed; the
            message names the line.
    """
    lines = text.splitlines()
    _check_header(lines[0] if lines else "")
    notes: dict[str, Exported] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            note = _parse_line(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise NotesError(f"line {number} is not JSON: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise NotesError(f"line {number} is no note: {error!r}") from error
        except AtlasError as error:
            raise NotesError(f"line {number}: {error.message}", error.hint) from error
        if note.id in notes:
            raise NotesError(f"line {number}: note {note.id} is there twice")
        notes[note.id] = note
    return tuple(notes.values())


def take_in(session: Session, notes: tuple[Exported, ...]) -> Imported:
    """Add what is new in `notes` to the store, within the session's transaction.

    Raises:
        NotesError: a vote is about a note that is neither here nor in the export.
    """
    ours = _histories(session)
    counts = dict.fromkeys(("added", "extended", "copied", "merged", "known"), 0)
    for note in sorted(notes, key=lambda note: note.kind == "vote"):  # a vote follows its subject
        counts[_take_in(session, ours, note)] += 1
    return Imported(**counts)


def _take_in(session: Session, ours: dict[str, Exported], theirs: Exported) -> str:
    mine = ours.get(theirs.id)
    if mine is None:
        _append(session, theirs, theirs.steps)
        ours[theirs.id] = theirs
        return "added"
    ours_marks, their_marks = _marks(mine), _marks(theirs)
    if their_marks[-1] in ours_marks:
        return "known"
    if ours_marks[-1] in their_marks:
        _append(session, theirs, theirs.steps[len(mine.steps) :])
        ours[theirs.id] = theirs
        return "extended"
    if theirs.kind in _KEYED:
        return _merge(session, mine, theirs)
    parted = next(mark for mark in their_marks if mark not in ours_marks)
    copied = _take_in(session, ours, replace(theirs, id=parted[:32]))
    return "copied" if copied == "added" else copied


def _merge(session: Session, mine: Exported, theirs: Exported) -> str:
    """Let the later of two last states of a tag or vote hold, with both in the history."""
    last = theirs.steps[-1]
    if any((s.author, s.at, s.after) == (last.author, last.at, last.after) for s in mine.steps):
        return "known"
    both = sorted((last, mine.steps[-1]), key=lambda step: step.at)
    states = [mine.steps[-1].after, *(step.after for step in both)]
    changes = [step for before, step in zip(states, both, strict=False) if before != step.after]
    _append(session, mine, tuple(replace(step, action="import") for step in changes))
    return "merged" if changes else "known"


def _append(session: Session, note: Exported, steps: tuple[Step, ...]) -> None:
    row = session.get(NoteRow, note.id)
    if row is None:
        row = new_row(note.id, note.kind, steps[0].author, steps[0].at)
    for step in steps:
        after = None if step.after is None else check.content(note.kind, step.after)
        about = getattr(after, "about", None)
        if about and session.get(NoteRow, about) is None:
            raise NotesError(f"vote {note.id} is about note {about}, which is not there")
        change(session, row, step.action, step.author, step.at, after)


def _marks(note: Exported) -> list[str]:
    """A fingerprint per step that stands for the history up to it."""
    marks, mark = [], note.kind
    for step in note.steps:
        text = check.dumps([mark, step.action, step.author, _time(step.at), step.after])
        mark = hashlib.sha256(text.encode()).hexdigest()
        marks.append(mark)
    return marks


def _histories(session: Session) -> dict[str, Exported]:
    rows = session.scalars(select(HistoryRow).order_by(HistoryRow.note, HistoryRow.version))
    return {
        note: Exported(note, changes[0].kind, tuple(map(_step, changes)))
        for note, changes in ((note, list(rows)) for note, rows in groupby(rows, lambda r: r.note))
    }


def _step(row: HistoryRow) -> Step:
    return Step(cast("Action", row.action), row.author, row.changed_at, row.after)


def _line(note: Exported) -> dict[str, Any]:
    history = [
        {
            "action": step.action,
            "author": step.author,
            "at": _time(step.at),
            "after": step.after and json.loads(step.after),
        }
        for step in note.steps
    ]
    return {"id": note.id, "kind": note.kind, "history": history}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _check_header(line: str) -> None:
    try:
        header = json.loads(line)
        known, version = header["format"] == FORMAT, int(header["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotesError("this is no export of notes", "give a file that an export made") from error
    if not known:
        raise NotesError(f"this is no export of notes but {str(header['format'])[:80]!r}")
    if version > VERSION:
        raise NotesError(f"the export has version {version}", "upgrade feature-atlas")


def _parse_line(line: Any) -> Exported:
    kind, note_id = line["kind"], check.note_id(line["id"])
    if kind not in KINDS:
        raise NotesError(f"unknown kind {kind!r}", f"known: {', '.join(KINDS)}")
    steps = tuple(_parse_step(kind, step) for step in line["history"])
    there = False
    for step in steps:
        if step.after is None and not there:
            raise NotesError("its history removes what is not there")
        there = step.after is not None
    if not steps:
        raise NotesError("it has no history")
    _check_key(note_id, kind, steps)
    return Exported(note_id, kind, steps)


def _parse_step(kind: str, step: Any) -> Step:
    if step["action"] not in ACTIONS:
        raise NotesError(f"unknown action {step['action']!r}", f"known: {', '.join(ACTIONS)}")
    at = datetime.fromisoformat(step["at"])
    if at.tzinfo is None:
        raise NotesError(f"a time without zone: {step['at']}")
    after = step["after"]
    if after is not None:
        after = check.state(check.checked(check.content_of(kind, after)))
    return Step(step["action"], check.author_name(step["author"]), at.astimezone(UTC), after)


def _check_key(note_id: str, kind: str, steps: tuple[Step, ...]) -> None:
    for step in steps:
        if kind not in _KEYED or step.after is None:
            continue
        if key_of(check.content(kind, step.after), steps[0].author) != note_id:
            raise NotesError(f"the id of this {kind} does not fit what it says")
