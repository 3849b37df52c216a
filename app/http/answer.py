"""What a request asked for and how it is answered: snapshot, ETag, JSON."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from starlette.responses import Response

from app.http.errors import JSON
from atlas import wire
from atlas.api import Atlas
from atlas.errors import NotFound

SNAPSHOT_HEADER = "X-Atlas-Snapshot"
VERSION = "1.0"
"""Of this API: the first number grows when a member changes its meaning or goes away."""
_LATEST = "no-cache"  # may be kept, and is asked about each time
_PINNED = "public, max-age=86400"
FRESH = {"Cache-Control": "no-store"}


class Snapshots:
    """The atlas held at any snapshot that is kept; a few older ones stay open."""

    def __init__(self, atlas: Atlas, older: int) -> None:
        self.atlas = atlas
        self._older: OrderedDict[str, Atlas] = OrderedDict()
        self._room = older
        self._lock = threading.Lock()

    def at(self, name: str | None) -> Atlas:
        """The atlas at the newest snapshot, or at the one of this name.

        Raises:
            NotFound: no such snapshot is kept.
            StoreError: it cannot be served.
        """
        newest = self.atlas.at()
        if name is None or name == newest.snapshot.name:
            return newest
        with self._lock:
            if name not in self._older:
                self._older[name] = self._open(name)
            self._older.move_to_end(name)
            while len(self._older) > self._room:
                self._older.popitem(last=False)
            return self._older[name]

    def _open(self, name: str) -> Atlas:
        kept = self.atlas.snapshots()
        if name not in kept:
            raise NotFound(f"no snapshot {name[:40]!r}", f"kept are {', '.join(kept)}")
        return self.atlas.at(name)


class NotModified(Exception):
    """The client has this answer already."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to read: the atlas it is answered from, and what caches are told."""

    atlas: Atlas
    headers: dict[str, str]

    def answer(self, value: Any) -> Response:
        """The answer that holds `value`."""
        return Response(wire.dumps(value), 200, self.headers, JSON)


SnapshotName = Annotated[
    str | None,
    Query(
        description="Answer from this snapshot, such as 000003, while it is kept; else the newest.",
        pattern="^[0-9]{6,12}$",
    ),
]


def evidence(request: Request, snapshot: SnapshotName = None) -> Asked:
    """A request whose answer depends on nothing but the snapshot."""
    return _of_snapshot(request, snapshot, notes=False)


def evidence_and_notes(request: Request, snapshot: SnapshotName = None) -> Asked:
    """A request whose answer depends on the snapshot and on what people wrote."""
    return _of_snapshot(request, snapshot, notes=True)


def notes_only(request: Request) -> Asked:
    """A request whose answer depends on what people wrote."""
    atlas = request.app.state.atlas
    return _asked(request, atlas, f"notes-{atlas.notes.stamp()}", {})


def _of_snapshot(request: Request, snapshot: str | None, *, notes: bool) -> Asked:
    atlas = request.app.state.snapshots.at(snapshot)
    name, written = atlas.snapshot.name, atlas.written
    state = f"{name}-{written.stamp() if written else 0}" if notes else name
    kept = {"Cache-Control": _PINNED} if snapshot and not notes else {}
    return _asked(request, atlas, state, {SNAPSHOT_HEADER: name, **kept})


def _asked(request: Request, atlas: Atlas, state: str, headers: dict[str, str]) -> Asked:
    """The request, unless the client has the answer for this state already."""
    etag = f'W/"{request.app.state.edition}-{state}"'
    headers = {"ETag": etag, "Cache-Control": _LATEST, **headers}
    known = [one.strip() for one in request.headers.get("If-None-Match", "").split(",")]
    if request.method == "GET" and (etag in known or etag.removeprefix("W/") in known):
        raise NotModified(headers)
    return Asked(atlas, headers)


def not_modified(_: Request, error: Exception) -> Response:
    """304 with the headers of the answer that the client has."""
    assert isinstance(error, NotModified)
    return Response(status_code=304, headers=error.headers)


OfEvidence = Annotated[Asked, Depends(evidence)]
OfBoth = Annotated[Asked, Depends(evidence_and_notes)]
OfNotes = Annotated[Asked, Depends(notes_only)]
