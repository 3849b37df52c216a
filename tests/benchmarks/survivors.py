"""What the processes of `survive` do: publish, serve, write, read."""

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from app.http.serve import serve as serve_api
from atlas.api import Atlas
from atlas.client import Client
from atlas.errors import StoreError
from atlas.note_types import Comment, HumanLabel, Tag
from atlas.store import publish as publishing
from atlas.store import snapshots
from atlas.store.notes import Notes
from atlas.types import PairQuery, Query
from tests.builders import a_bundle


def a_store(folder: Path) -> tuple[Path, dict[str, Path]]:
    """A store with the first of two bundles of the same SAEs, and both by run."""
    bundles = {run: a_bundle(folder / run, run=run).path for run in ("run-1", "run-2")}
    publish_one(folder / "store", bundles["run-1"])
    return folder / "store", bundles


def publish_one(store: Path, bundle: Path) -> None:
    """Publish one bundle."""
    publishing.publish(store, [bundle])


def run_served(store: Path) -> str:
    """The run whose features a new reader sees; they are all there."""
    with Atlas.open(store) as atlas:
        assert len(atlas.feature("toy/1-t/0").examples) == 3
        assert atlas.search(Query("board")).total > 0
        (run,) = atlas.runs()
        return run.id


def serve(store: Path, port: int) -> None:
    """Serve the API until killed."""
    serve_api(store, port=port)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(client: Client, seconds: float = 60) -> None:
    """Wait until a server answers. Raises StoreError when it does not."""
    until = time.monotonic() + seconds
    while True:
        try:
            client.stats()
            return
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def comments(store: Path) -> set[str]:
    """Texts of all comments."""
    with Notes.open(store / "notes.sqlite") as notes:
        return {note.content.text for note in notes.every(Comment)}


class Writers:
    """Clients that write comments until their server is gone; waits for them at the end."""

    def __init__(self, port: int, clients: int, name: str) -> None:
        self.acknowledged: set[str] = set()
        self.first, self._stop = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(port, f"{name}, client {n}"))
            for n in range(clients)
        ]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, port: int, name: str) -> None:
        notes, number = Client(f"http://127.0.0.1:{port}", seconds=5).notes, 0
        while not self._stop.is_set():
            with suppress(StoreError):  # not up yet, or gone
                text = f"{name}: {number}"
                notes.add(Comment("toy/1-t/0", text), "ann")
                self.acknowledged.add(text)
                self.first.set()
                number += 1


def flip(path: Path, chance: random.Random) -> None:
    """Turn one bit of a sealed file."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(data))


def read_all(store: Path, out: Connection) -> None:
    """Send what a store answers, and when it was found to be damaged."""
    checked = _is_wrong(store)
    told, found = None, "found when all is read"
    with Atlas.open(store) as atlas:
        if atlas.snapshot.name != "000002":
            found = "refused when it is opened"
        for _ in range(3):
            try:
                told = _told(atlas)
                break
            except StoreError:  # the next request is answered from the snapshot before
                found = "found by a query, then the one before served"
    with Atlas.open(store, "000001") as atlas:
        old = _told(atlas)
    out.send(json.dumps({"told": told, "old": old, "found": found, "checked": checked,
                         "refused": told is None}))  # fmt: skip


def _is_wrong(store: Path) -> bool:
    try:
        snapshots.verify(store, 2)
    except StoreError:
        return True
    return False


def _told(atlas: Atlas) -> str:
    features = [repr(atlas.feature(f"toy/{layer}-t/{n}").examples) for layer in (0, 1)
                for n in range(6)]  # fmt: skip
    hits = [str(hit.row.id) for hit in atlas.search(Query("board")).hits]
    pairs = [str(hit.row.id) for hit in atlas.pairs(PairQuery(dst=" mat")).hits]
    return repr((features, hits, pairs))


class Soaked:
    """An atlas that is read, written to and published to again and again."""

    def __init__(self, store: Path, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now
        self._atlas = Atlas.open(store)
        self._notes = Notes.open(store / "notes.sqlite", now)

    def __enter__(self) -> "Soaked":
        return self

    def __exit__(self, *_: object) -> None:
        self._notes.close()
        self._atlas.close()

    def turn(self, done: Counter[str], bundles: dict[str, Path]) -> None:
        """A few of everything; every 40th time a publish."""
        number = done["turns"]
        target = f"toy/1-t/{number % 6}"
        label = self._notes.add(HumanLabel(target, f"label {number}"), "ann")
        self._notes.add(Tag(target, f"tag {number % 20}"), "bob")
        if number > 30:
            self._notes.remove(label.id, "ann", 1)
        self._read(target)
        done.update(turns=1, notes=3, reads=4)
        if number % 40 == 39:
            run = sorted(bundles)[(number // 40) % 2]
            moment = self._now().replace(tzinfo=None)
            publishing.publish(self._store, [bundles[run]], clock=lambda: moment)
            done["publishes"] += 1

    def _read(self, target: str) -> Any:
        atlas = self._atlas
        atlas.feature(target)
        atlas.search(Query("board", tag="tag 3"))
        atlas.head("toy/L1H1")
        return atlas.sql("SELECT count(*) FROM tag JOIN feature_card c ON c.id = tag.target")
