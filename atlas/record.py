"""What a run writes down of itself as it goes on: the curve of its training, a log of its stages.

Both are files of JSON lines beside the run's progress, so that a run that was killed keeps them and
anybody may read them meanwhile; a finished bundle has them as tables.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from atlas import progress
from atlas.errors import NotFound

CURVES = "curve-*.jsonl"
Outcome = Literal["done", "stopped", "failed", "unfinished"]


@dataclass(frozen=True, slots=True)
class TrainingPoint:
    """Figures of one step of a training, of one layer's batch."""

    layer: int
    step: int
    """From 1."""
    tokens: int
    """Trained on so far, repeats counted."""
    fvu: float
    """Fraction of variance unexplained of the batch."""
    l0: float
    """Features that fire per token."""
    dead: float
    """Share of features that have not fired lately; see `train.dead_tokens`."""
    loss: float
    """Mean squared error per entry of z as the SAE sees it: centred, |x|^2 = d_in on average."""
    learning_rate: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """One stage of one try of a run."""

    stage: str
    began_at: datetime
    seconds: float | None
    """None where its end was not written: it goes on, or its process was killed."""
    done: float
    """Units done at its end, those of earlier tries included."""
    unit: str
    outcome: Outcome
    message: str = ""
    """Why it stopped or failed."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a run wrote down of itself."""

    curve: tuple[TrainingPoint, ...] = ()
    """By layer, then step; empty where nothing was trained."""
    log: tuple[LogLine, ...] = ()
    """In the order of time."""


def read(folder: Path) -> Record:
    """What is written so far in a run's folder."""
    return Record(read_curve(folder), read_log(folder))


def read_now(store: Path, run: str) -> Record:
    """What a run of this store has written so far, published or not.

    Raises:
        NotFound: no such run has a folder in the store.
    """
    known = [one.run for one in progress.read_all(store)]
    if run not in known:
        raise NotFound(f"no run {run[:60]!r} in this store", f"runs: {', '.join(known) or 'none'}")
    return read(store / "bundles" / run)


def read_curve(folder: Path) -> tuple[TrainingPoint, ...]:
    """The points by layer, then step; a step that was done again after a stop counts once."""
    points = {}
    lines = (line for path in sorted(folder.glob(CURVES)) for line in _lines(path))
    for line in lines:
        same = {name: line[name] for name in ("step", "tokens", "learning_rate")}
        for layer, figures in line["layers"].items():
            points[int(layer), line["step"]] = TrainingPoint(int(layer), **same, **figures)
    return tuple(points[key] for key in sorted(points))


def curve_line(points: Sequence[TrainingPoint]) -> dict[str, Any]:
    """The line of one step; `points` has one per layer."""
    first = asdict(points[0])
    own = ("fvu", "l0", "dead", "loss")
    layers = {str(one.layer): {name: getattr(one, name) for name in own} for one in points}
    return {name: first[name] for name in ("step", "tokens", "learning_rate")} | {"layers": layers}


def curve_file(layers: Sequence[int]) -> str:
    """Name of the file in which the layers of one training are noted."""
    return CURVES.replace("*", "-".join(map(str, layers)))


def read_log(folder: Path) -> tuple[LogLine, ...]:
    """The stages of all tries; a stage without a written end is unfinished."""
    lines: list[LogLine] = []
    begun: dict[str, Any] | None = None
    for event in _lines(folder / progress.LOG):
        if begun is not None:
            lines.append(_log_line(begun, event if "outcome" in event else {}))
        begun = event if "stage" in event else None
    if begun is not None:
        lines.append(_log_line(begun, {}))
    return tuple(lines)


def _log_line(begun: Mapping[str, Any], ended: Mapping[str, Any]) -> LogLine:
    return LogLine(
        begun["stage"],
        datetime.fromisoformat(begun["at"]),
        ended.get("seconds"),
        ended.get("done", 0.0),
        begun["unit"],
        ended.get("outcome", "unfinished"),
        ended.get("message", ""),
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines; the last may be torn while its run goes on, or was killed."""
    if not path.is_file():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            continue
