"""First: every kernel against the dense step, no waiting in a step, a training that resumes."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from atlas.errors import ConfigError
from ingest.config import SaePart, TrainPart
from ingest.train import device, stacked
from ingest.train.descend import descend
from ingest.train.device import TOLERANCE, Way, stacked_step
from ingest.train.loop import _layered_step, train
from ingest.train.objectives import Objective
from ingest.train.params import Params
from ingest.train.state import State
from ingest.train.step import largest
from tests.benchmarks.activations import Activations, FromMemory
from tests.benchmarks.gpu_sizes import Bench, Size, Wrong, a_job, a_state, attempt, some_z
from tests.ingest.train import gathered


def sparse_kernels(bench: Bench) -> tuple[Any, str]:
    """The Triton kernels on a GPU, the plain ones elsewhere; and why there are none."""
    if bench.device == "cpu":
        return gathered, ""
    try:
        from ingest.train import kernels
    except ConfigError as error:
        return None, error.message
    return kernels, ""


def check(bench: Bench) -> Iterator[dict[str, Any]]:
    """Raises Wrong at the first difference."""
    kernels, reason = sparse_kernels(bench)
    yield _selection(bench)
    if kernels is None:
        yield {"what": "kernels", "skipped": reason}
    else:
        yield from _kernels(bench, kernels)
        yield from _paths(bench, kernels)
    yield from _waits(bench, kernels)
    yield _resumes(bench, "auto")
    if kernels is not None and bench.device == "cuda":
        yield _resumes(bench, "sparse")


def _selection(bench: Bench) -> dict[str, Any]:
    n, width, k = min(4096, bench.sizes.batch), bench.sizes.jobs[0].d_sae, bench.sizes.ks[0]
    pre = bench.random(2, n, width).to(bench.dtype)
    chosen = stacked.largest_of_batch(pre, k * n)
    for layer in range(2):
        at = chosen.rows[layer] * width + chosen.columns[layer]
        if not torch.equal(at, largest(pre[layer], k * n, 0.0)):
            raise Wrong("largest_of_batch does not find what step.largest finds")
    return {"what": "selection is the oracle's", "missed": bool(chosen.missed.any())}


def _kernels(bench: Bench, kernels: ModuleType) -> Iterator[dict[str, Any]]:
    """Each by itself against plain torch in float32, with weights in both precisions."""
    n = min(512, bench.sizes.batch)
    for size in bench.sizes.jobs[:2]:
        small = size._replace(layers=2, d_sae=min(size.d_sae, 2048))
        objective = a_job(bench, small, bench.sizes.ks[0])
        z = some_z(bench, small, max(n, 2 * small.d_in))
        state = a_state(objective, z)
        x = state.scale.apply(z[:n].transpose(0, 1))
        pre = stacked.pre_activations(state.params, x, torch.float32)
        chosen = stacked.largest_of_batch(pre, objective.sae.k * n)
        for dtype in (torch.float32, bench.dtype):
            ours, theirs = (_both(state.params, x, chosen, dtype, by) for by in (kernels, gathered))
            differ = max(_apart(a, b) for a, b in zip(ours, theirs, strict=True))
            if not differ < 1e-3:
                raise Wrong(f"{small}: kernels and plain torch differ by {differ:.2e} ({dtype})")
            again = _both(state.params, x, chosen, dtype, kernels)
            same = all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
            yield {
                "what": f"kernels, d_in {small.d_in}, rows in {dtype}",
                "differ": f"{differ:.1e}",
                "same bits again": same,
            }


def _both(
    params: Params, x: torch.Tensor, chosen: stacked.Chosen, dtype: torch.dtype, kernels: Any
) -> list[torch.Tensor]:
    gradients = Params(*(torch.full_like(part, torch.nan) for part in params))  # all is written
    done = stacked.sparse(params, gradients, x, chosen, dtype, kernels)
    return [done.residual, done.squared_error, *gradients[:4]]


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm().clamp(min=1e-12))


def _paths(bench: Bench, kernels: Any) -> Iterator[dict[str, Any]]:
    """The sparse against the dense path as a run does it, and both against the layered step."""
    size = bench.sizes.jobs[0]._replace(layers=2)
    for kind in ("batchtopk", "topk"):
        objective = a_job(bench, size, bench.sizes.ks[0], kind)
        z = some_z(bench, size, max(bench.sizes.batch, 2 * size.d_in))
        state = a_state(objective, z)
        batch = z[: bench.sizes.batch].transpose(0, 1)
        differ = device.compare(state, batch, objective, Way("sparse", bench.dtype, kernels))
        if not differ <= TOLERANCE:
            raise Wrong(f"{kind}: the sparse path's gradients differ by {differ:.1%} of their norm")
        yield {"what": f"sparse against dense, {kind}, {bench.dtype}", "differ": f"{differ:.1e}"}
    ways = [Way("dense", bench.dtype), Way("sparse", bench.dtype, kernels)]
    against = partial(_against_layered, state, batch, objective, ways)
    yield attempt("against the layered step", against)


def _against_layered(
    state: State, batch: torch.Tensor, objective: Objective, ways: list[Way]
) -> dict[str, Any]:
    """How far gradients are from the oracle's, which rounds otherwise: told, not judged."""
    _layered_step(state, batch, objective, ways[0].dtype, 1.0)
    oracle = [part.clone() for part in state.gradients[:4]]
    told: dict[str, Any] = {"what": "against the layered step, topk"}
    for way in ways:
        stacked_step(state, batch, objective, way, 1.0)
        differ = map(_apart, state.gradients[:4], oracle)
        told[way.path] = f"{max(differ):.1e}"
    return told


def _waits(bench: Bench, kernels: Any) -> Iterator[dict[str, Any]]:
    """Whether a step makes the host wait: PyTorch then raises, and the step's line is told."""
    if bench.device == "cpu":
        yield {"what": "waits of a step", "skipped": "no GPU"}
        return
    size = Size("small", 2, 128, 2048)
    ways = [Way("dense", bench.dtype)]
    ways += [Way("sparse", bench.dtype, kernels)] if kernels else []
    for way in ways:
        objective = a_job(bench, size, 32)
        z = some_z(bench, size, bench.sizes.batch)
        state, batch = a_state(objective, z), z.transpose(0, 1)
        stacked_step(state, batch, objective, way, 1.0)  # compiled now
        torch.cuda.set_sync_debug_mode("error")
        try:
            stacked_step(state, batch, objective, way, 1.0)
            descend(state, objective, way.kernels)
            told = "none"
        except RuntimeError as error:
            told = f"{error} at {_line(error)}"
        finally:
            torch.cuda.set_sync_debug_mode("default")
        yield {"what": f"waits of a {way.path} step", "found": told}


def _line(error: BaseException) -> str:
    trace, told = error.__traceback__, ""
    while trace is not None:
        told = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return told


class _Stop(Exception):  # noqa: N818
    pass


def _resumes(bench: Bench, step: str) -> dict[str, Any]:
    """A short training on the device, stopped and gone on with, against one never stopped."""
    size = Size("small", 2, 64, 512)
    z = some_z(bench, size, 8192)
    limits = torch.full((2,), torch.inf)
    found = Activations(z, z[:64], torch.zeros(1, 4).long(), torch.arange(z.shape[1]), limits)
    sae = SaePart(layers=(0, 1), d_sae=512, k=8)
    part = TrainPart(
        tokens=256 * 40,
        batch=256,
        lr=1e-3,
        checkpoint_seconds=1e-9,
        step=step,  # type: ignore[arg-type]
    )
    told = []

    def stop(figures: Any) -> None:
        told.append(figures)
        if figures.tokens == 256 * 20:
            raise _Stop

    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, **more: Any) -> list[Any]:
            at = Path(folder) / name
            stream = FromMemory(found, 256)
            return train(stream, sae, part, at, encode_dtype=bench.dtype, **more).saes

        whole = run("whole")
        with suppress(_Stop):
            run("parts", stepped=stop)
        again = run("parts", stepped=told.append)
    differ = max(_apart(a.w_dec, b.w_dec) for a, b in zip(again, whole, strict=True))
    if not differ < 0.5:  # another order of the data would be as far as that
        raise Wrong(f"a resumed training ends {differ:.1%} away from one that was not stopped")
    tokens = [one.tokens for one in told]
    if tokens[-1] != 256 * 40 or float(told[-1].fvu[0]) > float(told[0].fvu[0]):
        raise Wrong(f"figures of a training: {told[0]} to {told[-1]}")
    return {
        "what": f"training by step {step}, stopped and resumed",
        "differ": f"{differ:.1e}",
        "FVU": f"{told[0].fvu[0]:.3f} to {told[-1].fvu[0]:.3f}",
    }
