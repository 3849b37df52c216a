"""Batch, learning rate, k and its annealing on real activations: held-out FVU, L0, dead share.

    python -m tests.benchmarks.activations z.safetensors --text text.parquet
    python -m tests.benchmarks.sweep z.safetensors --tokens 200000 --d-sae 2304

Every run sees the same tokens; rows are means over layers. Thresholds are scaled so that k features
fire per token of the training text, or more firings would look like a better SAE. Silent features
never fire on the held-out text, dead ones not in the last quarter of the training. The default rate
of the settings is printed first.
"""

import argparse
import itertools
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.sae import Sae, decode, encode, pre_activations
from ingest.config import SaePart, TrainPart
from ingest.train.loop import train
from ingest.train.schedule import annealed, default_rate
from tests.benchmarks.activations import Activations, FromMemory, read

CALIBRATE = 8192
"""Activations of the training text on which thresholds are set."""


class Row(NamedTuple):
    """One run, means over layers."""

    k: int
    batch: int
    lr: float
    anneal: float
    fvu: float
    l0: float
    silent: float  # share of features without a firing on the held-out text
    dead: float  # without one over the last quarter of the training
    rate: float  # tokens per second


def main() -> None:
    """Run all combinations; print each, and the best for each k."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("z", type=Path)
    ask.add_argument("--tokens", type=int, default=200_000)
    ask.add_argument("--d-sae", type=int, default=2304)
    ask.add_argument("--k", type=int, nargs="+", default=[16, 32])
    ask.add_argument("--batch", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    ask.add_argument("--lr", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    ask.add_argument("--anneal", type=float, nargs="+", help="by default that of the settings")
    ask.add_argument("--layers", type=int, nargs="+", help="by default all that the file has")
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--objective", default="batchtopk")
    asked = ask.parse_args()
    torch.set_num_threads(asked.threads)
    found = read(asked.z)
    found = found.of(tuple(asked.layers)) if asked.layers else found
    sizes = f"d_sae {asked.d_sae}, {asked.tokens:,} tokens"
    defaults = (
        f"{default_rate(asked.d_sae, asked.tokens // batch):.1e} at batch {batch}"
        for batch in asked.batch
    )
    print(f"{asked.objective}, {sizes}; default lr {', '.join(defaults)}")
    print(f"layers {found.layers}, {os.cpu_count()} cores, torch {torch.__version__}")
    print("   k  batch       lr  anneal     FVU     L0  silent   dead  tokens/s", flush=True)
    for k in asked.k:
        rows = []
        for batch, lr, anneal in itertools.product(asked.batch, asked.lr, asked.anneal or [None]):
            rows.append(_run(found, asked, k, batch, lr, anneal))
            print(_line(rows[-1]), flush=True)
        print(f"{_line(min(rows, key=lambda row: row.fvu))}  least FVU at k {k}", flush=True)


def _line(row: Row) -> str:
    return (
        f"{row.k:4}  {row.batch:5}  {row.lr:.1e}  {row.anneal:6.2f}  {row.fvu:.4f}  {row.l0:5.1f}  "
        f"{row.silent:6.1%}  {row.dead:5.1%}  {row.rate:8,.0f}"
    )


def _run(
    found: Activations,
    asked: argparse.Namespace,
    k: int,
    batch: int,
    lr: float,
    anneal: float | None,
) -> Row:
    part = TrainPart(
        tokens=asked.tokens,
        batch=batch,
        lr=lr,
        anneal=anneal,
        dead_tokens=asked.tokens // 4,
        checkpoint_seconds=1e9,
    )
    sae = SaePart(layers=found.layers, d_sae=asked.d_sae, k=k, objective=asked.objective)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        stream = FromMemory(found, batch)
        trained = train(stream, sae, part, Path(folder) / "t", encode_dtype=torch.bfloat16)
    rate = trained.tokens / (time.monotonic() - begun)
    equal = [
        at_l0(one, found.train[:CALIBRATE, n].float(), k) for n, one in enumerate(trained.saes)
    ]
    measured = [measure(one, found.test[:, n].float()) for n, one in enumerate(equal)]
    share = annealed(part, asked.tokens // batch)
    return Row(
        k,
        batch,
        lr,
        share,
        *map(_mean, zip(*measured, strict=True)),
        _mean(trained.dead_share),
        rate,
    )


def at_l0(sae: Sae, z: Tensor, k: int) -> Sae:
    """The same SAE with thresholds scaled so that k features fire per token of `[token, d_in]`."""
    share = pre_activations(sae, z) / sae.threshold
    scale = share.flatten().topk(k * len(z), sorted=False).values.min()
    return sae._replace(threshold=sae.threshold * scale)


def measure(sae: Sae, z: torch.Tensor) -> tuple[float, float, float]:
    """FVU, L0 and the share of features that never fire, on held-out `[token, d_in]`."""
    acts = encode(sae, z)
    left = (z - decode(sae, acts)).square().sum()
    fvu = float(left / (z - z.mean(0)).square().sum())
    fired = (acts > 0).sum(0)
    return fvu, float(fired.sum()) / len(z), float((fired == 0).float().mean())


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


if __name__ == "__main__":
    main()
