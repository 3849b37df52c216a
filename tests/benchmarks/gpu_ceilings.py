"""What this device can do: the rates that the rooflines of training are computed from."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from ingest.train import stacked
from ingest.train.step import largest
from tests.benchmarks.gpu_check import sparse_kernels
from tests.benchmarks.gpu_sizes import Bench, Size, a_job, a_state, attempt, some_z


def ceilings(bench: Bench) -> Iterator[dict[str, Any]]:
    """GEMM, copy, gather; ways to select; the kernels at several widths."""
    yield _gemm(bench)
    yield _copy(bench)
    yield from _gather(bench)
    yield from _selection(bench)
    yield from _kernels(bench)


def _gemm(bench: Bench) -> dict[str, Any]:
    layers, n, d_in, d_sae = bench.sizes.gemm
    x = bench.random(layers, n, d_in, dtype=bench.dtype)
    w = bench.random(layers, d_sae, d_in, dtype=bench.dtype)
    out = torch.empty(layers, n, d_sae, device=bench.device, dtype=bench.dtype)
    seconds = bench.seconds(lambda: torch.bmm(x, w.mT, out=out))
    rate = 2 * layers * n * d_in * d_sae / seconds
    bench.ceilings["gemm"] = rate
    shape = f"[{layers},{n},{d_in}] x [{layers},{d_in},{d_sae}]"
    return {"what": f"{bench.dtype} GEMM {shape}", "TFLOP/s": round(rate / 1e12, 3)}


def _copy(bench: Bench) -> dict[str, Any]:
    source = bench.random(bench.sizes.copy_bytes // 4)
    target = torch.empty_like(source)
    rate = 2 * source.nbytes / bench.seconds(lambda: target.copy_(source))
    bench.ceilings["copy"] = rate
    return {"what": "copy, bytes read and written", "TB/s": round(rate / 1e12, 4)}


def _gather(bench: Bench) -> Iterator[dict[str, Any]]:
    """Sums of k rows of a decoder per token by `embedding_bag`: bytes gathered per second."""
    _, n, d_in, d_sae = bench.sizes.gemm
    w = bench.random(d_sae, d_in, dtype=bench.dtype)
    for k in bench.sizes.ks:
        columns = torch.randint(d_sae, (n, k), device=bench.device)
        weight = bench.random(n, k, dtype=bench.dtype)
        bag = partial(
            torch.nn.functional.embedding_bag, columns, w, per_sample_weights=weight, mode="sum"
        )
        rate = n * k * d_in * w.itemsize / bench.seconds(bag)
        bench.ceilings["gather"] = max(rate, bench.ceilings.get("gather", 0.0))
        yield {"what": f"gather decode, embedding_bag, k {k}", "TB/s": round(rate / 1e12, 4)}


def _selection(bench: Bench) -> Iterator[dict[str, Any]]:
    """Ways to find k per token of one layer, in microseconds per token and layer."""
    _, n, _, d_sae = bench.sizes.gemm
    pre, k = bench.random(1, n, d_sae).to(bench.dtype), bench.sizes.ks[0]
    cut = float(pre[0, : max(1, n // 16)].flatten().topk(max(1, k * (n // 16))).values.min())
    ways: dict[str, Callable[[], Any]] = {
        "torch.topk of each row": lambda: pre.topk(k, dim=-1, sorted=False),
        "stacked.largest_of_tokens": lambda: stacked.largest_of_tokens(pre, k),
        "stacked.largest_of_batch": lambda: stacked.largest_of_batch(pre, k * n),
        "step.largest, a good guess (waits)": lambda: largest(pre[0], k * n, 0.9 * cut),
        "torch.topk of the batch": lambda: pre.flatten().topk(k * n, sorted=False),
        "one read (amax)": lambda: pre.amax(),
    }
    for name, call in ways.items():
        yield {"what": f"select, {name}", "us/token/layer": _us(bench.seconds(call, 3) / n)}


def _kernels(bench: Bench) -> Iterator[dict[str, Any]]:
    """Both kernels at the first job's size and every k, by rows gathered at once and warps."""
    kernels, reason = sparse_kernels(bench)
    if kernels is None or bench.device == "cpu":
        yield {"what": "kernels", "skipped": reason or "no GPU"}
        return
    usual = kernels.HITS, kernels.WARPS
    size: Size = bench.sizes.jobs[0]._replace(layers=2)
    n = bench.sizes.batch
    z = some_z(bench, size, n)
    for k in bench.sizes.ks:
        objective = a_job(bench, size, k)
        state = a_state(objective, z)
        x = state.scale.apply(z.transpose(0, 1))
        pre = stacked.pre_activations(state.params, x, bench.dtype)
        chosen = objective.chosen(pre, 999)
        starts = stacked._starts(chosen.rows, n)
        w_dec, thin = state.params.w_dec.to(bench.dtype), x.to(bench.dtype)
        by_token = partial(kernels.by_token, x, state.params, w_dec, starts, chosen.columns)
        found = by_token()
        hits = stacked._by_feature(chosen, found, found.values > 0, 1.0, size.d_sae)
        by_feature = partial(kernels.by_feature, state.gradients, thin, thin, hits)
        for kernels.HITS, kernels.WARPS in ((4, 4), (8, 4), (8, 8), (16, 8)):
            name = f"k {k}, {kernels.HITS} rows, {kernels.WARPS} warps"
            run = partial(_rates, bench, by_token, by_feature, 2 * n, k * size.d_in)
            yield {**attempt(name, run), "what": name}
        yield {"what": f"most hits of a feature, k {k}", "is": int(hits.starts.diff(dim=1).max())}
    kernels.HITS, kernels.WARPS = usual


def _rates(
    bench: Bench, by_token: Callable[[], Any], by_feature: Callable[[], Any], each: int, row: int
) -> dict[str, Any]:
    """Per token and layer, `each` of them; bytes are those of the rows gathered, `row` numbers."""
    token, feature = bench.seconds(by_token, 5), bench.seconds(by_feature, 5)
    return {
        "by_token us": _us(token / each),
        "by_token TB/s": round(row * 8 * each / token / 1e12, 3),
        "by_feature us": _us(feature / each),
        "by_feature TB/s": round(row * 4 * each / feature / 1e12, 3),
    }


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 4)
