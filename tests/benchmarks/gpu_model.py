"""The language model's side: its forward rate, counting firings while mining, the explorer."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atlas.errors import AtlasError
from tests.benchmarks.gpu_sizes import Bench

SMALL = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50_257}


def lm(bench: Bench) -> Iterator[dict[str, Any]]:
    """Tokens per second to the last z, by length of context; with hooks and without."""
    for name, width, vocab, z_of in _models(bench):
        for length in bench.sizes.contexts:
            if length > width:
                continue
            tokens = _tokens(bench, bench.sizes.tokens // length, length, vocab)
            for size in sorted({16, len(tokens)}):
                seconds = bench.seconds(partial(_each, z_of, tokens.split(size)), 3)
                yield {
                    "what": f"{name}, {length} tokens x {size}",
                    "tok/s": round(tokens.numel() / seconds),
                    "us/token": round(seconds / tokens.numel() * 1e6, 4),
                }


def _each(z_of: Callable[[Tensor], Any], groups: tuple[Tensor, ...]) -> None:
    for one in groups:
        z_of(one)


def _models(bench: Bench) -> Iterator[tuple[str, int, int, Callable[[Tensor], Any]]]:
    """Name, context length, vocabulary, and what computes z of all layers."""
    if find_spec("transformers"):
        yield "random GPT-2 small, plain transformers", *_plain(bench)
    model, name = _loaded(bench)
    if model is not None:
        from ingest.train.stream import harvest

        layers = tuple(range(model.info.n_layers))
        yield (
            name,
            model.context_length,
            model.info.vocab_size,
            lambda tokens: harvest(model, tokens, layers, len(tokens)),
        )


class _Seen(Exception):  # noqa: N818
    """Every z has been seen."""


def _plain(bench: Bench) -> tuple[int, int, Callable[[Tensor], Any]]:
    """Without transformer_lens: z is what enters each layer's output product."""
    from transformers import GPT2Config, GPT2Model

    small = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": 320}
    config = GPT2Config(**(SMALL if bench.device == "cuda" else small))
    model = GPT2Model(config).to(bench.device, bench.dtype).eval()
    kept: list[Tensor] = []

    def keep(module: Any, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG001
        kept.append(inputs[0])
        if len(kept) == config.n_layer:
            raise _Seen

    for block in model.h:
        block.attn.c_proj.register_forward_pre_hook(keep)

    @torch.no_grad()
    def z_of(tokens: Tensor) -> Tensor:
        kept.clear()
        try:
            model(tokens, use_cache=False)
        except _Seen:
            return torch.stack(kept, dim=2)
        raise AssertionError("a layer's z was not seen")

    return config.n_positions, config.vocab_size, z_of


def _loaded(bench: Bench) -> tuple[Any, str]:
    """SmolLM2 where its package is, else a random GPT-2 of the small one's shape."""
    if not find_spec("transformer_lens"):
        return None, "transformer-lens is not installed"
    from atlas.model import load
    from tests.models import a_folder, a_model

    if bench.device == "cpu":
        return a_model("gpt2"), "tiny random GPT-2"
    try:
        return load("smollm2-135m", device=bench.device), "SmolLM2-135M"
    except AtlasError as error:
        with tempfile.TemporaryDirectory() as folder:
            path = a_folder(Path(folder) / "gpt2", "gpt2", **SMALL)
            model = load(str(path), device=bench.device)
        return model, f"random GPT-2 small (no SmolLM2: {error.message})"


def _tokens(bench: Bench, count: int, length: int, vocab: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = max(1, count), length
    return torch.randint(2, vocab, shape, generator=generator).to(bench.device)


def _saes(bench: Bench, model: Any, layers: range, d_sae: int, k: int) -> dict[int, Any]:
    from atlas.lens.sae import Sae

    saes = {}
    for layer in layers:
        w = torch.nn.functional.normalize(bench.random(d_sae, model.d_in), dim=-1)
        zeros = bench.random(d_sae) * 0
        saes[layer] = Sae(w, zeros, w.clone(), bench.random(model.d_in) * 0, zeros, k)
    return saes


def mine(bench: Bench) -> Iterator[dict[str, Any]]:
    """Tokens per second of both mining passes, with random TopK SAEs: one layer, then all."""
    model, name = _loaded(bench)
    if model is None:
        yield {"what": "mining", "skipped": name}
        return
    from ingest.mine import fold
    from ingest.mine.choose import limits_of
    from ingest.mine.evidence import after_first_pass
    from ingest.mine.passes import attributed, counted
    from tests.benchmarks.mining import some_mining

    d_sae, k = bench.sizes.jobs[0].d_sae, bench.sizes.ks[0]
    width = min(128, bench.sizes.contexts[0])
    tokens = _tokens(bench, bench.sizes.mine_tokens // width, width, model.info.vocab_size).cpu()
    dtype = str(model.dtype).removeprefix("torch.")
    for layers in (range(1), range(model.info.n_layers)):
        saes = _saes(bench, model, layers, d_sae, k)
        mining = some_mining(model, saes, tokens, dtype, batch=64)
        shard, told = mining.corpus.mine, f"{name}, {len(saes)} x {d_sae}, k {k}"
        if len(saes) == 1:
            counted(mining, shard, 0, lambda _: None)  # compiles and allocates
        arrays, seconds = _timed(bench, partial(counted, mining, shard, 0, lambda _: None))
        found = {layer: fold.from_arrays(arrays, f"{layer}/") for layer in saes}
        yield {
            "what": f"counting pass, {told}",
            "tok/s": round(tokens.numel() / seconds),
            "firings": int(sum(one.firings.sum() for one in found.values())),
        }
        one, limits = found[0], limits_of(mining.job.mine)
        device = saes[0].w_enc.device
        _, seconds = _timed(bench, partial(fold.merge, one, one, limits, device))
        yield {"what": f"merging two parts of one layer, {told}", "ms": round(seconds * 1e3, 1)}
        wanted = after_first_pass(mining, found).wanted
        _, seconds = _timed(bench, partial(attributed, mining, wanted, shard, 0, lambda _: None))
        yield {
            "what": f"attributing pass, {told}",
            "tok/s": round(tokens.numel() / seconds),
            "examples": sum(len(places.ctx) for places in wanted.places.values()),
            "pairs": len(wanted.pairs.one),
        }


def _timed(bench: Bench, call: Callable[[], Any]) -> tuple[Any, float]:
    bench.wait()
    begun = time.perf_counter()
    found = call()
    bench.wait()
    return found, time.perf_counter() - begun


def prompt(bench: Bench) -> Iterator[dict[str, Any]]:
    """The explorer's answers, as `tests/benchmarks/prompt.py` asks for them on the CPU."""
    model, name = _loaded(bench)
    if model is None:
        yield {"what": "explorer", "skipped": name}
        return
    from tests.benchmarks.prompt import calls, some_explorer

    on_gpu = bench.device == "cuda"
    explorer = some_explorer(model, 4608 if on_gpu else 48, 32 if on_gpu else 4)
    count = 64 if on_gpu else 12
    tokens = _tokens(bench, 1, count, model.info.vocab_size)[0].tolist()
    for what, call in calls(explorer, tokens):
        yield {"what": f"{what}, {name}", "ms": round(bench.seconds(call, 3) * 1e3, 2)}
