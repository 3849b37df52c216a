"""Every attack on SQL over HTTP with the answer it gets, as a Markdown table.

python -m tests.benchmarks.attacks STORE

A server runs in a process of its own; while an attack goes on a second client asks for a feature
page again and again. The table says how long these pages took and how much memory the server and
its SQL worker held at most.
"""

import argparse
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from atlas.api import Atlas
from atlas.client import Client
from atlas.errors import AtlasError, StoreError
from tests.benchmarks import survivors
from tests.sql.attacks import BOMBS, FORBIDDEN

SLOWEST = "SELECT levenshtein(repeat('ab', 100000), repeat('ba', 100000))"
SECONDS = 2.0


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("store", type=Path)
    ask.add_argument("--seconds", type=float, default=SECONDS, help="time limit of each attack")
    given = ask.parse_args()
    with Atlas.open(given.store) as atlas:
        feature = str(atlas.random_feature(0))
    port = survivors.free_port()
    child = multiprocessing.get_context("forkserver").Process(
        target=survivors.serve, args=(given.store, port)
    )
    child.start()
    client = Client(f"http://127.0.0.1:{port}", seconds=30)
    survivors.wait_for(client)
    pages = Pages(client, feature)
    calm = pages.while_(lambda: time.sleep(2))
    print(f"feature pages with nothing else going on: p50 {calm[0]:.0f} ms, p95 {calm[1]:.0f} ms\n")
    print("| attack | answer | s | pages p95 ms | server MB | worker MB |")
    print("| --- | --- | --: | --: | --: | --: |")
    with Watch(child.pid or 0) as watch:
        for query in [*(query for query, _ in FORBIDDEN), *BOMBS, SLOWEST]:
            _row(client, query, given.seconds, pages, watch)
        told, took = pages.beside(lambda: _thousand(client))
        _print("1,000 queries at once", told, took, watch)
    _refused_writes(client)
    assert client.sql("SELECT 1 AS one").rows == ((1,),)
    assert child.is_alive()
    child.kill()
    child.join()
    print("\nthe server was up at the end, and answered")


def _row(client: Client, query: str, seconds: float, pages: "Pages", watch: "Watch") -> None:
    def attack() -> str:
        try:
            result = client.sql(query, seconds=seconds)
        except AtlasError as error:
            return f"{type(error).__name__}: {error.message}"
        return f"{len(result.rows)} rows, bounded"

    _print(query, *pages.beside(attack), watch)


def _print(what: str, told: str, took: tuple[float, float, float], watch: "Watch") -> None:
    cells = (
        " ".join(what.encode("unicode_escape").decode().split())[:70],
        " ".join(told.split())[:90],
    )
    shown = [cell.replace("|", "\\|") for cell in cells]
    server, worker = watch.peaks()
    print(f"| `{shown[0]}` | {shown[1]} | {took[2]:.1f} | {took[1]:.0f} | {server:.0f} |"
          f" {worker:.0f} |", flush=True)  # fmt: skip


def _thousand(client: Client) -> str:
    def ask(number: int) -> str:
        try:
            return (
                "answered"
                if client.sql("SELECT $n", {"n": number}).rows == ((number,),)
                else "wrong"
            )
        except StoreError:
            return "no connection"
        except AtlasError as error:
            return type(error).__name__

    with ThreadPoolExecutor(100) as pool:
        told = list(pool.map(ask, range(1000)))
    return ", ".join(f"{told.count(one)} {one}" for one in sorted(set(told)))


def _refused_writes(client: Client) -> None:
    """What SQL could have left behind is not there."""
    tables = {page.name for page in client.schema()}
    assert not tables & {"mine", "stolen"}, tables


class Pages:
    """A client that asks for a feature page again and again."""

    def __init__(self, client: Client, feature: str) -> None:
        self._client, self._feature = client, feature
        self._took: list[float] = []

    def while_(self, work: object) -> tuple[float, float, float]:
        """p50 and p95 of the pages in ms while `work` goes on, and its seconds."""
        assert callable(work)
        return self.beside(work)[1]

    def beside(self, work: object) -> tuple[str, tuple[float, float, float]]:
        """What `work` gives, and the figures of `while_`."""
        assert callable(work)
        started = time.perf_counter()
        with self._asking():
            told = str(work())
        seconds = time.perf_counter() - started
        took = sorted(self._took)
        return told, (statistics.median(took), took[int(len(took) * 0.95)], seconds)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        ended, self._took = threading.Event(), []

        def ask() -> None:
            while not ended.is_set() or not self._took:
                started = time.perf_counter()
                self._client.feature(self._feature)
                self._took.append((time.perf_counter() - started) * 1000)

        asking = threading.Thread(target=ask)
        asking.start()
        yield
        ended.set()
        asking.join()


class Watch:
    """Samples the memory of a process and of its children."""

    def __init__(self, pid: int) -> None:
        self._pid, self._ended = pid, threading.Event()
        self._peak = [0.0, 0.0]
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def peaks(self) -> tuple[float, float]:
        """MB of the server and of its largest child at most since the last call."""
        peak, self._peak = self._peak, [0.0, 0.0]
        return peak[0], peak[1]

    def _sample(self) -> None:
        while not self._ended.wait(0.02):
            own = _megabytes(self._pid)
            children = [_megabytes(pid) for pid in _children(self._pid)]
            self._peak = [max(self._peak[0], own), max([self._peak[1], *children])]


def _megabytes(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
    except OSError:  # it ended
        return 0.0


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(c) for task in tasks for c in (task / "children").read_text().split()] or [
            int(c) for c in text.split()
        ]
    except OSError:
        return []


if __name__ == "__main__":
    main()
