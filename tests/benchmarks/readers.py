"""Fifty readers while snapshots are published: half in this process, half over HTTP.

Every snapshot carries its number in every part that a page is put together from, so that an answer
of two snapshots would show.
"""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from atlas.api import Atlas
from atlas.client import Client
from atlas.errors import AtlasError
from atlas.types import Feature, Page, Query
from tests.builders import TITLES, a_bundle

LAYERS = (0, 1)
LIVE = len(TITLES)
PAUSE = 0.2
"""Seconds that a reader looks at what it got."""


def numbered(folder: Path, number: int) -> Path:
    """A bundle of the same SAEs whose activations, titles and run all say `number`."""
    rows = len(LAYERS) * LIVE
    texts = [f"board of turn {number}"] * (4 * rows)
    return a_bundle(
        folder / f"run-{number}",
        f"run-{number}",
        LAYERS,
        feature={"max_act": [float(number)] * (len(LAYERS) * (LIVE + 1))},
        example={"act": [float(number)] * (3 * rows)},
        label={"text": texts},
    ).path


def numbers_of(feature: Feature) -> set[int]:
    """Every number that a feature's page says; one, unless it is torn."""
    said = {int(feature.run.id.split("-")[1]), int(feature.row.max_act)}
    said |= {int(example.act) for example in feature.examples}
    said |= {int(label.text.split()[-1]) for label in feature.labels}
    return said | {int(str(feature.row.title).split()[-1])}


def numbers_on(page: Page) -> set[int]:
    """Every number that a page of results says."""
    rows = [hit.row for hit in page.hits]
    return {int(row.max_act) for row in rows} | {int(str(row.title).split()[-1]) for row in rows}


def _feature(held: Atlas | Client, name: str) -> set[int]:
    return numbers_of(held.feature(name))


def _search(held: Atlas | Client) -> set[int]:
    return numbers_on(held.search(Query("board")))


def _both(held: Atlas | Client, name: str) -> set[int]:
    return _feature(held, name) | _search(held)


class Readers:
    """Threads that ask again and again until they are told to stop."""

    def __init__(self, store: Path, url: str, count: int) -> None:
        self.answers: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.torn: list[str] = []
        self.seen: set[int] = set()
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        self._stop, self._atlas = threading.Event(), Atlas.open(store)
        self._threads = [
            threading.Thread(target=self._read, args=(url if n % 2 else "", random.Random(n)))
            for n in range(count)
        ]

    def __enter__(self) -> "Readers":
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
        self._atlas.close()

    def _read(self, url: str, chance: random.Random) -> None:
        client = Client(url, seconds=60) if url else None
        where = "over HTTP" if url else "in process"
        while not self._stop.is_set():
            name = f"toy/{chance.choice(LAYERS)}-t/{chance.randrange(LIVE)}"
            held = client or self._atlas.at()
            self._ask(f"feature, {where}", partial(_feature, held, name))
            self._ask(f"search, {where}", partial(_search, held))
            if not url:
                self._ask(f"both of one snapshot, {where}", partial(_both, held, name))
            self._stop.wait(PAUSE)

    def _ask(self, kind: str, ask: Callable[[], set[int]]) -> None:
        began = time.perf_counter()
        try:
            said = ask()
        except AtlasError as error:
            self.errors[f"{kind}: {error.message}"] += 1
            return
        self.took[kind].append(1000 * (time.perf_counter() - began))
        self.answers[kind] += 1
        self.seen |= said
        if len(said) != 1:
            self.torn.append(f"{kind} says {sorted(said)}")

    def told(self) -> str:
        """What happened, with the median and the 95th percentile of milliseconds."""
        lines = []
        for kind, times in sorted(self.took.items()):
            ordered = sorted(times)
            p50, p95 = ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))]
            lines.append(f"{kind}: {len(times)} answers, p50 {p50:.0f} ms, p95 {p95:.0f} ms,"
                         f" longest {ordered[-1]:.0f} ms")  # fmt: skip
        lines.append(
            f"snapshots seen {len(self.seen)}; errors {sum(self.errors.values())}"
            f" {dict(self.errors)}; torn answers {len(self.torn)} {self.torn[:3]}"
        )
        return "\n".join(lines)
