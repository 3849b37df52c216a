"""Tokens per second of training for all layers together, path by path, against rooflines."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ingest.train import device
from ingest.train.descend import descend
from ingest.train.device import Way, stacked_step
from ingest.train.loop import _step
from ingest.train.objectives import Objective
from ingest.train.state import State
from tests.benchmarks.gpu_check import sparse_kernels
from tests.benchmarks.gpu_sizes import Bench, Size, a_job, a_state, attempt, some_z

ASSUMED = {"gemm": 788e12, "copy": 4.3e12, "gather": 5.5e12}
"""Ceilings of an H200 that are taken where the part `ceilings` did not run."""


def rooflines(bench: Bench) -> Iterator[dict[str, Any]]:
    """Of every size and k; without measured ceilings from those assumed of an H200."""
    for k in bench.sizes.ks:
        for size in bench.sizes.jobs:
            yield _rooflines(bench, size, k)


def train(bench: Bench) -> Iterator[dict[str, Any]]:
    """Each path for each size and k, beside the roofline; for the first also the profile."""
    kernels, reason = sparse_kernels(bench)
    if kernels is None:
        yield {"what": "sparse", "skipped": reason}
    first = True
    for k in bench.sizes.ks:
        for size in bench.sizes.jobs:
            yield _rooflines(bench, size, k)
            pool = some_z(bench, size, 2 * bench.sizes.batch)
            for way in _ways(bench, kernels):
                if way.path == "layered" and not first:
                    continue  # the slow one once is enough
                parts = [_path]
                if first and way.path != "layered":
                    parts += [_profile, _captured]
                for part in parts:
                    name = f"{part.__name__} {size.name} k {k} {way.path}"
                    yield attempt(name, partial(part, bench, size, k, way, pool))
            first = False
            del pool
    for size in bench.sizes.jobs:
        yield from _groups(bench, size, kernels)
    yield attempt("descent", partial(_descents, bench, kernels))


def _ways(bench: Bench, kernels: Any) -> list[Way]:
    dense = [Way("dense", bench.dtype), Way("layered", bench.dtype)]
    return [Way("sparse", bench.dtype, kernels), *dense] if kernels else dense


def _rooflines(bench: Bench, size: Size, k: int) -> dict[str, Any]:
    """Microseconds per token of what cannot be avoided, one thing after the other.

    Dense: five products (10 d_in d_sae FLOP per layer), pre-activations written and read once, Adam
    and the gradient buffer in float32. Sparse: one product, the same of pre-activations and Adam,
    four gathers of k rows in the products' precision.
    """
    rates = {name: bench.ceilings.get(name, ASSUMED[name]) for name in ASSUMED}
    weights = size.layers * size.d_in * size.d_sae
    pre = 2 * size.layers * size.d_sae * bench.dtype.itemsize / rates["copy"]
    # Read and write weights and both moments, write and read gradients: of two matrices.
    adam = 2 * weights * 4 * 8 / rates["copy"] / bench.sizes.batch
    gathers = 4 * size.layers * k * size.d_in * bench.dtype.itemsize / rates["gather"]
    product = 2 * weights / rates["gemm"]
    return {
        "what": f"roofline {size.name} k {k}",
        "dense tok/s": round(1 / (5 * product + pre + adam)),
        "sparse tok/s": round(1 / (product + pre + adam + gathers)),
        "us: one product": _us(product),
        "pre-activations": _us(pre),
        "Adam": _us(adam),
        "gathers": _us(gathers),
        "ceilings": "measured" if len(bench.ceilings) == len(rates) else "assumed",
    }


def _path(bench: Bench, size: Size, k: int, way: Way, pool: Tensor) -> dict[str, Any]:
    objective, state, batch = _start(bench, size, k, pool)
    if bench.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    measured = None
    for _ in range(bench.sizes.warm):
        measured, _ = _step(state, batch(), objective, way)
    bench.wait()
    begun = time.perf_counter()
    for _ in range(bench.sizes.steps):
        measured, _ = _step(state, batch(), objective, way)
    handed = time.perf_counter() - begun  # the host is done here; the device may not be
    bench.wait()
    seconds = time.perf_counter() - begun
    assert measured is not None
    tokens = bench.sizes.steps * bench.sizes.batch
    told = {
        "what": f"train {size.name} k {k} {way.path}",
        "tok/s": round(tokens / seconds),
        "us/token": _us(seconds / tokens),
        "host's share": round(handed / seconds, 3),
        "FVU": round(float(measured.fvu.mean()), 3),
        "L0": round(float(measured.l0.mean()), 2),
        "missed": int(measured.missed.sum()),
    }
    if bench.device == "cuda":
        told["peak GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
    return told


def _start(
    bench: Bench, size: Size, k: int, pool: Tensor
) -> tuple[Objective, State, Callable[[], Tensor]]:
    """An objective, a state, and what gives batches in random order as the stream does."""
    objective = a_job(bench, size, k)
    state = a_state(objective, pool[: max(bench.sizes.batch, 2 * size.d_in)])

    def batch() -> Tensor:
        rows = torch.randint(len(pool), (bench.sizes.batch,), device=bench.device)
        return pool[rows].transpose(0, 1).contiguous()

    return objective, state, batch


def _profile(bench: Bench, size: Size, k: int, way: Way, pool: Tensor) -> dict[str, Any]:
    """The 15 operations of two steps that take the device longest."""
    from torch.profiler import ProfilerActivity, profile

    objective, state, batch = _start(bench, size, k, pool)
    _step(state, batch(), objective, way)
    on_gpu = bench.device == "cuda"
    kinds = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    with profile(activities=kinds) as found:
        for _ in range(2):
            _step(state, batch(), objective, way)
        bench.wait()
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda one: -getattr(one, key))
    total = sum(getattr(one, key) for one in events)
    table = [
        f"{getattr(one, key) / total:6.1%} {getattr(one, key) / 2000:9.3f} ms/step "
        f"{one.count // 2:5} x {one.key[:90]}"
        for one in events[:15]
    ]
    print("\n".join(table), flush=True)
    return {"what": f"profile {size.name} k {k} {way.path}", "profile": table}


def _captured(bench: Bench, size: Size, k: int, way: Way, pool: Tensor) -> dict[str, Any]:
    """A step without the optimiser: launched by the host, and replayed from a captured graph."""
    name = f"gradients {size.name} k {k} {way.path}"
    objective, state, batch = _start(bench, size, k, pool)
    z = batch().contiguous()
    eager = bench.seconds(lambda: stacked_step(state, z, objective, way, 0.5), 3)
    told: dict[str, Any] = {"what": name, "us/token": _us(eager / bench.sizes.batch)}
    if bench.device == "cpu":
        return told
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            stacked_step(state, z, objective, way, 0.5)
    except RuntimeError as error:
        return {**told, "not captured": str(error).splitlines()[0][:200]}
    replayed = bench.seconds(graph.replay, 3)
    return {**told, "captured us/token": _us(replayed / bench.sizes.batch)}


def _groups(bench: Bench, size: Size, kernels: Any) -> Iterator[dict[str, Any]]:
    """Whether groups of layers do better small, with a decoder in the cache, or all at once."""
    usual, pool = device.AT_ONCE, some_z(bench, size, 2 * bench.sizes.batch)
    way = _ways(bench, kernels)[0]
    for layers in (1, size.layers):
        device.AT_ONCE = layers * bench.sizes.batch * size.d_sae * bench.dtype.itemsize
        row = attempt(size.name, partial(_path, bench, size, bench.sizes.ks[0], way, pool))
        yield {**row, "what": f"{row['what']}, {layers} layers at once"}
    device.AT_ONCE = usual


def _descents(bench: Bench, kernels: Any) -> dict[str, Any]:
    """Projection, clipping, Adam and renormalising of the first job: PyTorch's and the kernels'."""
    size, batch = bench.sizes.jobs[0], bench.sizes.batch
    objective, state, _ = _start(bench, size, bench.sizes.ks[0], some_z(bench, size, batch))
    for part in state.gradients:
        part.normal_()
    told: dict[str, Any] = {"what": f"descent {size.name}"}
    for name, by in (("PyTorch", None), ("kernels", kernels))[: 2 if kernels else 1]:
        told[f"{name} us/token"] = _us(
            bench.seconds(partial(descend, state, objective, by), 3) / batch
        )
    return told


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 4)
