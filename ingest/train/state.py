"""Everything that changes while training, and its checkpoints."""

import json
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from atlas.bundle import sync_and_rename
from ingest.train.params import Params, Scale
from ingest.train.stream import Place


class State:
    """Weights, Adam's moments, the place in the stream, and counters."""

    def __init__(self, params: Params, scale: Scale, betas: tuple[float, float]) -> None:
        self.params, self.scale = params, scale
        self.gradients = Params(*(torch.zeros_like(part) for part in params))
        self.moments = [Params(*(torch.zeros_like(part) for part in params)) for _ in range(2)]
        """Adam's first and second ones."""
        device = params.w_enc.device
        self.cut = torch.zeros(len(params.w_enc), device=device)
        """`[layer]`, running mean of the least activation that was let through."""
        self.since_fired = torch.zeros(params.b_enc.shape, dtype=torch.int64, device=device)
        """`[layer, d_sae]`, tokens."""
        self.firings = torch.zeros_like(self.since_fired)
        """`[layer, d_sae]`, over the last `counted` tokens; for resampling."""
        self.counted = 0
        self.step, self.place = 0, Place(0, 0)
        self.dropped = 0
        """Step at which the learning rate last began again."""
        self.resampled = 0
        """How often dead features were replaced."""
        self.optimiser = torch.optim.Adam(list(params), lr=0.0, betas=betas, fused=True)
        self._join()

    def _join(self) -> None:
        """Let the optimiser work on our gradients and moments."""
        for index, part in enumerate(self.params):
            part.grad = self.gradients[index]
            self.optimiser.state[part] = {
                "step": torch.tensor(float(self.step), device=part.device),
                "exp_avg": self.moments[0][index],
                "exp_avg_sq": self.moments[1][index],
            }

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, for a checkpoint."""
        moments = {
            f"{name}.{order}": part
            for order, kind in enumerate(self.moments)
            for name, part in kind._asdict().items()
        }
        rest = {"cut": self.cut, "since_fired": self.since_fired, "firings": self.firings}
        return {**self.params._asdict(), **self.scale._asdict(), **rest, **moments}

    def numbers(self) -> dict[str, Any]:
        """Everything else."""
        names = ("step", "counted", "dropped", "resampled")
        return {**{name: getattr(self, name) for name in names}, "place": list(self.place)}

    @classmethod
    def restored(
        cls, tensors: dict[str, Tensor], numbers: dict[str, Any], betas: tuple[float, float]
    ) -> "State":
        """What `tensors` and `numbers` gave."""
        params = Params(*(tensors[name] for name in Params._fields))
        state = cls(params, Scale(tensors["mean"], tensors["factor"]), betas)
        state.moments = [
            Params(*(tensors[f"{name}.{order}"] for name in Params._fields)) for order in range(2)
        ]
        for name in ("cut", "since_fired", "firings"):
            setattr(state, name, tensors[name])
        for name, value in numbers.items():
            setattr(state, name, Place(*value) if name == "place" else value)
        state._join()
        return state


class Checkpoints:
    """Writes checkpoints in the background, one at a time, each whole or not at all.

    What is written is a copy, so training goes on meanwhile; leaving the context waits for it.
    """

    def __init__(self, path: Path, seconds: float, clock: Callable[[], float]) -> None:
        self._path, self._seconds, self._clock = path, seconds, clock
        # A name of its own: another process may do the same training, and write the same.
        self._drafts = path.with_suffix(f".{secrets.token_hex(4)}.partial")
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._last, self._saved = Future[None](), clock()
        self._last.set_result(None)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        if kind is None:
            self._last.result()

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next one and the one before is written.

        Raises:
            OSError, SafetensorError: the one before could not be written.
        """
        if not self._last.done() or self._clock() - self._saved <= self._seconds:
            return False
        self._last.result()
        return True

    def save(self, state: State, limits: Tensor) -> None:
        """Copy the state and have the copy written, after the one before.

        Args:
            state: of the training.
            limits: `[layer]`, norms of z beyond which a position is a sink.
        """
        tensors = {**state.tensors(), "limits": limits}
        copies = {name: part.to("cpu", copy=True) for name, part in tensors.items()}
        told = json.dumps(state.numbers())
        self._last.result()
        self._last = self._pool.submit(_write, self._path, self._drafts, copies, told)
        self._saved = self._clock()


def _write(path: Path, drafts: Path, tensors: dict[str, Tensor], told: str) -> None:
    drafts.mkdir(exist_ok=True)  # a folder: safetensors puts a temporary file beside its own
    draft = drafts / path.name
    save_file(tensors, draft, {"state": told})
    sync_and_rename(draft, path)
    drafts.rmdir()


def clear_drafts(folder: Path) -> None:
    """Remove what trainings that were killed had half written."""
    for drafts in folder.glob("*.partial"):
        shutil.rmtree(drafts, ignore_errors=True)


def steps_done(path: Path) -> int:
    """Steps behind the state in a checkpoint; 0 where there is none yet."""
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as file:
        return int(json.loads(file.metadata()["state"])["step"])


def read_checkpoint(
    path: Path, device: str, betas: tuple[float, float]
) -> tuple[State, Tensor] | None:
    """The state in a checkpoint and the sinks' limits; None where there is none yet."""
    if not path.is_file():
        return None
    with safe_open(path, "pt", device=device) as file:
        numbers: dict[str, Any] = json.loads(file.metadata()["state"])
        # Copies are aligned as fresh tensors are; products over others round differently.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    return State.restored(tensors, numbers, betas), tensors["limits"].cpu()
