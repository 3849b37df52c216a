"""Sizes, timing and shared state of the GPU benchmark."""

import statistics
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ingest.config import SaePart, TrainPart
from ingest.train.objectives import Objective, make_objective
from ingest.train.params import Params, measure_scale
from ingest.train.state import State


class Wrong(Exception):  # noqa: N818 (a finding, not a mistake of the script)
    """A kernel does not compute what the dense step computes."""


def attempt(what: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row, or why there is none: one thing that fails leaves the minutes of the rest."""
    try:
        return call()
    except Wrong:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a device raises)
        traceback.print_exc()
        return {"what": what, "failed": f"{type(error).__name__}: {error}"[:300]}


class Size(NamedTuple):
    """One job."""

    name: str
    layers: int
    d_in: int
    d_sae: int


class Sizes(NamedTuple):
    """What is measured."""

    jobs: tuple[Size, ...]
    batch: int
    ks: tuple[int, ...]
    gemm: tuple[int, int, int, int]  # layers, batch, d_in, d_sae
    copy_bytes: int
    steps: int  # timed, after as many as `warm`
    warm: int
    contexts: tuple[int, ...]  # lengths
    tokens: int  # of the language model's pass
    mine_tokens: int
    repeats: int


FULL = Sizes(
    (
        Size("GPT-2 12x24576", 12, 768, 24_576),
        Size("SmolLM2 30x4608", 30, 576, 4_608),
        Size("SmolLM2 30x18432", 30, 576, 18_432),
    ),
    16_384,
    (32, 64),
    (12, 16_384, 768, 24_576),
    4_000_000_000,
    10,
    3,
    (128, 512, 1024),
    65_536,
    16_384,
    7,
)
DRY = Sizes(
    (Size("dry 2x64", 2, 24, 64),), 128, (4,), (2, 32, 24, 64), 10_000, 2, 1, (16,), 64, 64, 2
)


class Bench:
    """The device, the sizes, and the ceilings once they are measured."""

    def __init__(self, device: str, sizes: Sizes) -> None:
        self.device, self.sizes = device, sizes
        self.ceilings: dict[str, float] = {}
        """FLOP/s of `gemm`, bytes/s of `copy` and `gather`."""

    @property
    def dtype(self) -> torch.dtype:
        """Of products."""
        return torch.bfloat16 if self.device == "cuda" else torch.float32

    def random(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normal values; zeros would flatter a GPU."""
        return torch.randn(shape, device=self.device, dtype=dtype)

    def wait(self) -> None:
        """Until the device is done."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], Any], repeats: int = 0) -> float:
        """Median time of a call, after two that are not counted."""
        for _ in range(2):
            call()
        self.wait()
        times = []
        for _ in range(repeats or self.sizes.repeats):
            begun = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - begun)
        return statistics.median(times)


def some_z(bench: Bench, size: Size, tokens: int) -> Tensor:
    """Activations `[token, layer, d_in]`: mixtures of 2,048 directions, few of them frequent."""
    generator = torch.Generator(bench.device).manual_seed(0)
    count, active = min(2048, 4 * size.d_in), 24
    ranks = torch.arange(1, count + 1, device=bench.device, dtype=torch.float32)
    layers = []
    for _ in range(size.layers):
        shape = (count, size.d_in)
        directions = torch.randn(shape, generator=generator, device=bench.device)
        which = torch.multinomial((1 / ranks).expand(tokens, -1), active, generator=generator)
        strength = torch.rand(tokens, active, generator=generator, device=bench.device)
        mixed = torch.zeros(tokens, count, device=bench.device).scatter_(1, which, strength)
        layers.append((mixed @ directions).to(bench.dtype))
    return torch.stack(layers, dim=1)


def a_job(bench: Bench, size: Size, k: int, objective: str = "batchtopk") -> Objective:
    """Settings in mid-training: k no longer falls, some features count as dead."""
    sae = SaePart(
        layers=tuple(range(size.layers)),
        d_sae=size.d_sae,
        k=k,
        objective=objective,  # type: ignore[arg-type]
    )
    part = TrainPart(batch=bench.sizes.batch, dead_tokens=8 * bench.sizes.batch)
    return make_objective(sae, part, 1000)


def a_state(objective: Objective, z: Tensor) -> State:
    """Random unit rows, drawn on the device to lose no time, at step 500 of 1,000."""
    shape = (z.shape[1], objective.sae.d_sae, z.shape[2])
    rows = torch.nn.functional.normalize(torch.randn(shape, device=z.device), dim=-1)
    by_feature = torch.zeros(shape[:2], device=z.device)
    b_dec = torch.zeros(shape[0], shape[2], device=z.device)
    params = Params(rows.clone(), by_feature, rows, b_dec, by_feature.clone())
    state = State(params, measure_scale(z), objective.betas)
    state.step = 500
    return state
