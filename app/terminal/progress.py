"""A run while it goes on, for a person or, as JSON lines, for a machine; and the list of runs."""

import json
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from app.terminal.table import table
from atlas import progress
from atlas.wire import plain


class ProgressLines:
    """Shows a run: a moving bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, seconds: float = 10.0) -> None:
        self._console, self._seconds = console, seconds
        self._bar = Progress(
            TextColumn("{task.description:>16}"),
            BarColumn(30),
            TextColumn("{task.fields[told]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._stage, self._task, self._told_at = "", self._bar.add_task("", told=""), 0.0

    def __enter__(self) -> "ProgressLines":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, now: progress.Progress) -> None:
        """Show `now`; the last look at each stage stays."""
        told = describe(now)
        if now.stage != self._stage:
            self._stage = now.stage
            self._task = self._bar.add_task(now.stage, total=now.total, told=told)
        self._bar.update(self._task, completed=now.done, total=now.total, told=told, visible=True)
        at = now.updated_at.timestamp()
        ends = now.done >= now.total > 0
        if not self._console.is_terminal and (ends or at - self._told_at > self._seconds):
            self._told_at = at
            self._console.print(f"{now.stage:>16}  {told}", markup=False)


class JsonLines:
    """Writes a line at every new stage, at its end and every few seconds in between."""

    def __init__(self, write: Callable[[str], object], seconds: float = 10.0) -> None:
        self._write, self._seconds = write, seconds
        self._stage, self._told_at = "", 0.0

    def __call__(self, now: progress.Progress) -> None:
        at = now.updated_at.timestamp()
        ends = now.state != "running" or now.done >= now.total > 0
        if now.stage != self._stage or ends or at - self._told_at >= self._seconds:
            self._stage, self._told_at = now.stage, at
            self._write(json.dumps(plain(now)) + "\n")


def describe(now: progress.Progress) -> str:
    """A run's state in one line."""
    parts = [f"{now.done:,.0f} of {now.total:,.0f} {now.unit}"]
    if now.rate and now.unit == "tokens":
        parts.append(f"{now.rate:,.0f} {now.unit}/s")
    if now.rate and now.unit in ("features", "labels"):
        parts.append(f"{now.rate:,.2f} {now.unit}/s")
    if now.left is not None and now.done < now.total:
        least = "at least " if "reading" in now.figures else ""
        parts.append(f"{least}{_duration(now.left)} left")
    if "needs" in now.figures:
        parts.append(f"needs up to {now.figures['needs'] / 1e9:,.1f} GB of memory")
    if "reading" in now.figures:
        parts.append(f"reading {now.figures['reading']:,.0f} tokens/s")
    if "calls" in now.figures:
        parts.append(f"{now.figures['calls']:,} calls, {now.figures['spent']} spent")
    if now.figures.get("failed"):
        parts.append(f"{now.figures['failed']:,} with a failure")
    if "read" in now.figures:
        parts.append(f"model has read {now.figures['read']:,}")
    if "fvu" in now.figures:
        parts.append("FVU " + " ".join(f"{value:.3f}" for value in now.figures["fvu"]))
        parts.append("L0 " + " ".join(f"{value:.0f}" for value in now.figures["l0"]))
        parts.append("dead " + " ".join(f"{value:.0%}" for value in now.figures["dead"]))
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes}:{rest:02}"


def show_runs(console: Console, runs: tuple[progress.Progress, ...]) -> None:
    """A table of runs."""
    if not runs:
        console.print("no runs yet; start one with `atlas demo` or `atlas ingest JOB.toml`")
        return
    shown = table("run", "state", "stage", "progress")
    for one in runs:
        told = one.message if one.state in ("failed", "stopped") else describe(one)
        shown.add_row(*(escape(text) for text in (one.run, one.state, one.stage, told)))
    console.print(shown)
