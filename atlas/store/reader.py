"""A store that is being read: which snapshot answers the next request."""

import threading
from pathlib import Path

from atlas.errors import StoreError
from atlas.store import snapshots
from atlas.store.evidence import Evidence


class Reader:
    """Gives the newest snapshot, or always the one it was opened with.

    A snapshot that turns out to be damaged when it is read is left for the one before it.
    Whoever got an `Evidence` keeps it as long as needed; the next call may give a newer one.
    """

    def __init__(self, store: Path, pinned: str | None = None) -> None:
        self.store = store
        self._pinned = pinned is not None
        self._lock = threading.Lock()
        self._seen = max(snapshots.numbers(store), default=0)
        self._bad: dict[int, StoreError] = {}
        if pinned is None:
            self._evidence = self._open()
        else:
            snapshot, con = snapshots.open_named(store, pinned)
            self._evidence = Evidence(store, snapshot, con)

    def now(self) -> Evidence:
        """The evidence to answer one request from.

        Raises:
            StoreError: no snapshot of the store can be served any more.
        """
        newest = max(snapshots.numbers(self.store), default=self._seen)
        if self._pinned or (newest == self._seen and self._evidence.damage is None):
            return self._evidence
        with self._lock:
            if newest != self._seen or self._evidence.damage is not None:
                self._evidence = self._newest()
                self._seen = newest
        return self._evidence

    def verify(self) -> None:
        """Read every byte of the snapshot that answers; a damaged one is not served from then on.

        Raises:
            StoreError: no older snapshot can be served in its place.
        """
        try:
            snapshots.verify(self.store, self._evidence.snapshot.number)
        except StoreError as error:
            self._evidence.damage = error
            self.now()

    def _newest(self) -> Evidence:
        served = self._evidence
        if served.damage is not None:
            self._bad[served.snapshot.number] = served.damage
        found = self._open()
        if found.snapshot.number != served.snapshot.number:
            return found
        served.refused = found.refused
        return served

    def _open(self) -> Evidence:
        """The newest snapshot that opens whole: database, search index and texts."""
        while True:
            snapshot, con, refused = snapshots.open_newest(self.store, self._bad)
            try:
                return Evidence(self.store, snapshot, con, refused)
            except StoreError as error:
                con.close()
                self._bad[snapshot.number] = error


class Still(Reader):
    """Evidence that somebody holds: the same answer however many snapshots follow."""

    def __init__(self, evidence: Evidence) -> None:
        self.store = evidence.store
        self._evidence = evidence

    def now(self) -> Evidence:
        """The evidence that is held."""
        return self._evidence


def open_store(store: Path, snapshot: str | None = None) -> Reader:
    """Open a store for reading: its newest snapshot that can be served, or one by name.

    Raises:
        StoreError: there is no such store or snapshot, or it cannot be served.
    """
    return Reader(Path(store), snapshot)
