"""How far a run is, in a file beside its bundle that anybody may read while it goes on."""

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

FILE, LOG = "progress.json", "log.jsonl"
WINDOW = 30.0
"""Seconds over which a rate is taken."""

State = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a run."""

    run: str
    state: State
    stage: str
    done: float
    total: float
    unit: str
    rate: float
    """Units per second, lately."""
    left: float | None
    """Seconds until this stage ends; None while unknown."""
    figures: dict[str, Any]
    """What the stage measures, such as FVU per layer."""
    pid: int
    updated_at: datetime
    message: str = ""
    """Why it failed or stopped."""


def write(folder: Path, progress: Progress) -> None:
    """Replace the file whole. No sync: losing it to a crash costs nothing."""
    content = {**asdict(progress), "updated_at": progress.updated_at.isoformat()}
    draft = folder / f"{FILE}.partial"
    draft.write_text(json.dumps(content))
    draft.replace(folder / FILE)


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a JSON line to a file. No sync: a crash of the machine loses the last ones at most."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(folder: Path) -> Progress | None:
    """What is known of the run in `folder`; None where nothing is.

    A run that says it is running although its process is gone is given as stopped.
    """
    try:
        content = json.loads((folder / FILE).read_text())
        content["updated_at"] = datetime.fromisoformat(content["updated_at"])
        progress = Progress(**content)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if progress.state == "running" and not _alive(progress.pid):
        return replace(progress, state="stopped", message="its process is gone")
    return progress


def read_all(store: Path) -> tuple[Progress, ...]:
    """Every run that has a folder in the store, latest change first."""
    found = (read(folder) for folder in sorted((store / "bundles").glob("*")))
    known = (progress for progress in found if progress is not None)
    return tuple(sorted(known, key=lambda one: one.updated_at, reverse=True))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


Listener = Callable[[Progress], None]


class Reporter:
    """Turns counts into progress: keeps the rate, writes the file and a log, tells a listener."""

    def __init__(
        self,
        folder: Path,
        run: str,
        listen: Listener,
        clock: Callable[[], float],
        interval: float = 0.5,
    ) -> None:
        self._folder, self._listen, self.clock, self._interval = folder, listen, clock, interval
        self._now = self._blank(run)
        self._told = clock()
        self._begun: float | None = None
        self._recent: deque[tuple[float, float]] = deque()

    @staticmethod
    def _blank(run: str) -> Progress:
        now = datetime.now(UTC)
        return Progress(run, "running", "", 0, 0, "", 0.0, None, {}, os.getpid(), now)

    def stage(self, name: str, total: float, unit: str) -> None:
        """Begin a stage of `total` units; the one before is done."""
        self._log_end("done")
        self._log_begin(name, unit)
        self._now = replace(
            self._now, stage=name, done=0, total=total, unit=unit, rate=0.0, left=None, figures={}
        )
        self._recent = deque([(self.clock(), 0.0)])
        self._tell()

    def advance(self, count: float, left: float | None = None, **figures: Any) -> None:
        """Count units done.

        Args:
            count: units that were just done.
            left: seconds to go, from whoever knows better than the rate.
            figures: replace those of the same name; None takes one away.
        """
        done, now = self._now.done + count, self.clock()
        rate = self._rate(now, done) if count else self._now.rate
        if left is None:
            left = max(self._now.total - done, 0.0) / rate if rate else None
        figures = {**self._now.figures, **figures}
        figures = {name: value for name, value in figures.items() if value is not None}
        self._now = replace(self._now, done=done, rate=rate, left=left, figures=figures)
        if self.clock() - self._told >= self._interval or done >= self._now.total:
            self._tell()

    def resume(self, done: float) -> None:
        """Take units as done by an earlier run, so that they do not count as quick."""
        self._now = replace(self._now, done=done)
        self._recent = deque((at, done) for at, _ in self._recent)

    def _rate(self, now: float, done: float) -> float:
        """Units per second over the last WINDOW seconds."""
        self._recent.append((now, done))
        while len(self._recent) > 2 and self._recent[0][0] < now - WINDOW:
            self._recent.popleft()
        begun, before = self._recent[0]
        return (done - before) / max(now - begun, 1e-9)

    def end(self, state: State, message: str = "") -> None:
        """Say how the run ended."""
        self._log_end(state, message)
        self._now = replace(self._now, state=state, message=message, left=None)
        self._tell()

    def _log_begin(self, stage: str, unit: str) -> None:
        self._begun = self.clock()
        at = datetime.now(UTC).isoformat()
        append(self._folder / LOG, {"stage": stage, "unit": unit, "at": at})

    def _log_end(self, outcome: State, message: str = "") -> None:
        if self._begun is None:
            return
        took, self._begun = self.clock() - self._begun, None
        line = {"outcome": outcome, "done": self._now.done, "seconds": took, "message": message}
        append(self._folder / LOG, line)

    def _tell(self) -> None:
        self._told = self.clock()
        self._now = replace(self._now, updated_at=datetime.now(UTC))
        write(self._folder, self._now)
        self._listen(self._now)
