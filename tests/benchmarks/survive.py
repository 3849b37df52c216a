"""What a store lives through, counted. Each needs a minute or more; a few of each are in the suite.

python -m tests.benchmarks.survive publish --times 100   kill -9 of a publisher at random moments
python -m tests.benchmarks.survive server  --times 100   kill -9 of a server while notes are written
python -m tests.benchmarks.survive flips   --times 100   one bit turned anywhere in a snapshot
python -m tests.benchmarks.survive readers --seconds 60  50 readers while snapshots are published
python -m tests.benchmarks.survive soak    --seconds 120 publishes, notes and reads without a pause
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from atlas.client import Client
from tests.benchmarks import readers, survivors

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.benchmarks.survivors", "app.http.serve"])


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("what", choices=("publish", "server", "flips", "readers", "soak"))
    ask.add_argument("--times", type=int, default=100)
    ask.add_argument("--seconds", type=float, default=120)
    ask.add_argument("--readers", type=int, default=50)
    given = ask.parse_args()
    with tempfile.TemporaryDirectory(prefix="atlas überleben ") as folder:
        started = time.perf_counter()
        if given.what == "soak":
            soak(Path(folder), given.seconds)
        elif given.what == "readers":
            many_readers(Path(folder), given.seconds, given.readers)
        else:
            RUNS[given.what](Path(folder), given.times, random.Random(0))
        print(f"{time.perf_counter() - started:.0f} s, in a folder named {Path(folder).name!r}")


def publish(folder: Path, times: int, chance: random.Random) -> None:
    """Two bundles of the same SAEs take turns; after each kill one of them is there, whole."""
    store, bundles = survivors.a_store(folder)
    outcomes: Counter[str] = Counter()
    whole = _whole_publish(store, bundles["run-2"])
    for _ in range(times):
        served = survivors.run_served(store)
        ahead = next(bundle for run, bundle in bundles.items() if run != served)
        child = PROCESSES.Process(target=survivors.publish_one, args=(store, ahead))
        child.start()
        child.join(chance.uniform(0.0, 1.3 * whole))
        was_alive = child.is_alive()
        child.kill()
        child.join()
        now = survivors.run_served(store)
        assert now in bundles, now
        outcomes[_ended(was_alive, now != served)] += 1
    survivors.publish_one(store, next(iter(bundles.values())))
    left = [path.name for path in (store / "snapshots").glob(".*")]
    print(f"publishers killed: {dict(outcomes)}; lost or half-written: 0; leftovers after: {left}")


def _whole_publish(store: Path, bundle: Path) -> float:
    """Seconds that a publisher takes here and now when nobody kills it."""
    began = time.perf_counter()
    child = PROCESSES.Process(target=survivors.publish_one, args=(store, bundle))
    child.start()
    child.join()
    return time.perf_counter() - began


def _ended(was_alive: bool, is_new: bool) -> str:
    if not was_alive:
        return "done before the kill"
    return "killed after its snapshot was there" if is_new else "killed before"


def server(folder: Path, times: int, chance: random.Random) -> None:
    """Clients write comments; what was acknowledged is there after each kill of the server."""
    store, _ = survivors.a_store(folder)
    acknowledged = 0
    for turn in range(times):
        port = survivors.free_port()
        child = PROCESSES.Process(target=survivors.serve, args=(store, port))
        child.start()
        with survivors.Writers(port, 3, f"turn {turn}") as writers:
            writers.first.wait(60)
            time.sleep(chance.uniform(0.0, 0.3))
            child.kill()
        child.join()
        lost = writers.acknowledged - survivors.comments(store)
        assert not lost, lost
        acknowledged += len(writers.acknowledged)
    print(f"servers killed: {times}; writes acknowledged: {acknowledged}; lost: 0")


def flips(folder: Path, times: int, chance: random.Random) -> None:
    """One bit turned in a file of the newest snapshot: found when, and is any answer wrong?"""
    store, bundles = survivors.a_store(folder)
    survivors.publish_one(store, bundles["run-2"])
    newest = store / "snapshots" / "000002"
    files = [path.relative_to(newest) for path in newest.rglob("*") if path.is_file()]
    sizes = [(newest / path).stat().st_size for path in files]
    right, outcomes = _answers(store), Counter[str]()
    for turn in range(times):
        (file,) = chance.choices(files, [size + 2000 for size in sizes])
        copy = shutil.copytree(store, folder / f"copy {turn}")
        survivors.flip(copy / "snapshots" / "000002" / file, chance)
        answers = _answers(copy)
        assert answers["checked"] or not sizes[files.index(file)] or file.name == "sha256.json"
        known = (right["told"], right["old"])
        assert answers["refused"] or answers["told"] in known, (file, answers)
        outcomes[answers["found"]] += 1
        _remove(copy)
    print(f"bits turned: {times}; {dict(outcomes)}; wrong answers: 0")


def _remove(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(folder)


def _answers(store: Path) -> dict[str, object]:
    """What a fresh process reads of a store: DuckDB remembers what it has opened."""
    here, there = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=survivors.read_all, args=(store, there))
    child.start()
    there.close()
    try:
        found: dict[str, object] = json.loads(here.recv())
    except EOFError:
        found = {"found": "its process died", "told": None, "refused": True, "checked": True}
    child.join()
    return found


def many_readers(folder: Path, seconds: float, count: int) -> None:
    """Publish as fast as it goes while others read; the server is a process of its own."""
    store, port, number = folder / "store", survivors.free_port(), 1
    survivors.publish_one(store, readers.numbered(folder, number))
    server = PROCESSES.Process(target=survivors.serve, args=(store, port))
    server.start()
    survivors.wait_for(Client(f"http://127.0.0.1:{port}"))
    until = time.monotonic() + seconds
    with readers.Readers(store, f"http://127.0.0.1:{port}", count) as reading:
        while time.monotonic() < until:
            number += 1
            bundle = readers.numbered(folder, number)
            child = PROCESSES.Process(target=survivors.publish_one, args=(store, bundle))
            child.start()
            child.join()
            assert child.exitcode == 0
    assert server.is_alive()
    server.kill()
    server.join()
    print(f"{count} readers, {number - 1} publishes; load {os.getloadavg()[0]:.1f}")
    print(reading.told())


def soak(folder: Path, seconds: float) -> None:
    """A day's changes, a minute of the day in every twelfth of a second of the run."""
    store, bundles = survivors.a_store(folder)
    day = Clock(datetime(2026, 3, 29, tzinfo=UTC), seconds)
    done: Counter[str] = Counter()
    memory: list[int] = []
    with survivors.Soaked(store, day.now) as soaked:
        while day.part() < 1:
            soaked.turn(done, bundles)
            if done["turns"] % 50 == 0:
                memory.append(_resident())
    quarter = len(memory) // 4
    first, last = memory[quarter], memory[-1]
    print(f"{dict(done)}; open files at the end {len(os.listdir('/proc/self/fd'))}")
    print(f"memory after a quarter {first / 1e6:.0f} MB, half"
          f" {memory[2 * quarter] / 1e6:.0f} MB, at the end {last / 1e6:.0f} MB, peak"
          f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")  # fmt: skip


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Clock:
    """A day that passes in `seconds`; it goes back an hour at noon, as clocks do."""

    def __init__(self, start: datetime, seconds: float) -> None:
        self._start, self._seconds, self._began = start, seconds, time.monotonic()

    def part(self) -> float:
        """How much of the day has passed."""
        return (time.monotonic() - self._began) / self._seconds

    def now(self) -> datetime:
        """The time of that day."""
        part = self.part()
        return self._start + timedelta(days=part) - timedelta(hours=part > 0.5)


RUNS: dict[str, Callable[[Path, int, random.Random], None]] = {
    "publish": publish,
    "server": server,
    "flips": flips,
}

if __name__ == "__main__":
    main()
