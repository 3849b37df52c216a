"""One run of anything that makes a bundle: its folder, its lock, its progress, how it ends.

A run is named by its settings. Started again after it was stopped, it finds its own folder and
goes on with what is there; started again after it was done, it gives the bundle back.
"""

import json
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from atlas import progress, record
from atlas.bundle import MANIFEST, Bundle, open_bundle, sync_and_rename, write_table
from atlas.errors import AtlasError, StoreError
from atlas.record import LogLine, TrainingPoint
from ingest.lock import only_one

TRACKED = ("feature-atlas", "torch", "transformer-lens", "transformers", "numpy", "pyarrow")
"""Distributions whose versions a run records."""
GO_ON = "make room, then give the same command again: it goes on where it stopped"


class Work(NamedTuple):
    """A run's folder and what tells of it."""

    folder: Path
    """Where the bundle grows."""
    run: str
    reporter: progress.Reporter

    @property
    def scratch(self) -> Path:
        """Where stages leave what only this run needs."""
        return self.folder / "work"


Stages = Callable[[Work, Callable[[], float]], Bundle]
"""Makes the bundle in the run's folder; told how many seconds the run has taken so far."""


def name_of(name: str, settings: Any) -> str:
    """A run's name: what it is of, and a hash of all its settings, which are plain values."""
    content = json.dumps(settings, sort_keys=True)
    return f"{name}-{sha256(content.encode()).hexdigest()[:8]}"


def make(
    store: Path,
    run: str,
    stages: Stages,
    listen: progress.Listener = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Bundle:
    """Make a run's bundle in the store, going on where an earlier try stopped.

    Args:
        store: the store's folder; made when missing.
        run: the run's name.
        stages: the work.
        listen: told the progress, a few times a second.
        clock: seconds.

    Raises:
        AtlasError: what the stages raise, or the run is already going on, or the disk is full.
    """
    folder = store / "bundles" / run
    if (folder / MANIFEST).is_file():
        return open_bundle(folder)
    with only_one(folder):
        reporter = progress.Reporter(folder, run, listen, clock)
        work = Work(folder, run, reporter)
        before, begun = _spent(work), clock()

        def seconds() -> float:
            return before + clock() - begun

        try:
            bundle = stages(work, seconds)
        except KeyboardInterrupt:
            reporter.end("stopped", "stopped by hand")
            raise
        except AtlasError as error:
            reporter.end("failed", str(error))
            raise
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            failure = StoreError(f"run {run} cannot go on: {reason}", GO_ON)
            with suppress(OSError):
                reporter.end("failed", str(failure))
            raise failure from error
        except Exception as error:
            reporter.end("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            with suppress(OSError):
                write_json(work.scratch / "seconds.json", seconds())
        reporter.end("done")
        return bundle


def versions() -> dict[str, str]:
    """Versions of what a run depends on."""
    found = {"python": platform.python_version()}
    for name in TRACKED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_record(work: Work) -> None:
    """Write what the run noted of itself as tables of its bundle, its training where it had one."""
    work.reporter.stage("seal", 1, "bundle")  # ends the stage before, so that its line is whole
    curve = record.read_curve(work.folder)
    log = record.read_log(work.folder)[:-1]
    if curve:
        columns = _columns(TrainingPoint, curve)
        write_table(work.folder, "training_curve", {"run": [work.run] * len(curve), **columns})
    ranks = {"run": [work.run] * len(log), "rank": list(range(len(log)))}
    columns = _columns(LogLine, log)
    columns["began_at"] = [one.astimezone(UTC).replace(tzinfo=None) for one in columns["began_at"]]
    write_table(work.folder, "run_log", ranks | columns)


def _columns(kind: type, rows: Sequence[Any]) -> dict[str, list[Any]]:
    return {one.name: [getattr(row, one.name) for row in rows] for one in fields(kind)}


def write_json(path: Path, content: Any) -> None:
    """Write plain values whole or not at all."""
    draft = path.with_suffix(".partial")
    draft.write_text(json.dumps(content))
    sync_and_rename(draft, path)


def _spent(work: Work) -> float:
    """Seconds of earlier tries of this run; one that was killed is not among them."""
    path = work.scratch / "seconds.json"
    work.scratch.mkdir(parents=True, exist_ok=True)
    return float(json.loads(path.read_text())) if path.is_file() else 0.0
