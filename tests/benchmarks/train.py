"""Training against SAELens' BatchTopK on the same activations, batches and sizes, in one run.

    python -m tests.benchmarks.activations z.safetensors --text text.parquet
    python -m tests.benchmarks.train z.safetensors --saelens /path/to/its/python

Ours trains three layers at once, SAELens one SAE after the other. Neither is charged for the
model's forward passes. Both SAEs are then evaluated by our evaluator on held-out text.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from atlas import model as models
from atlas.lens.exchange import source
from atlas.lens.sae import Sae
from ingest.config import PositionsPart, SaePart, TrainPart
from ingest.train.evaluate import Evaluations, evaluate
from ingest.train.loop import train
from ingest.train.stream import _permutation
from tests.benchmarks.activations import MODEL, Activations, FromMemory, held_out, read
from tests.benchmarks.sweep import measure

SIDE = Path(__file__).with_name("train_saelens.py")


class Side(NamedTuple):
    """One of the two."""

    name: str
    seconds: float
    cpu: float  # seconds of all threads: what a busy machine does not change
    saes: Mapping[int, Sae]


def main() -> None:
    """Train, evaluate, print a table."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("z", type=Path)
    ask.add_argument("--saelens", required=True, help="a python with sae-lens")
    ask.add_argument("--steps", type=int, default=400)
    ask.add_argument("--batch", type=int, default=1024)
    ask.add_argument("--d-sae", type=int, default=2304)
    ask.add_argument("--k", type=int, default=16)
    ask.add_argument("--lr", type=float, default=1e-3)
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    ask.add_argument("--sparse", action="store_true", help="SAELens' sparse activations")
    ask.add_argument("--contexts", type=int, default=32, help="held out, for the evaluation")
    ask.add_argument("--no-quality", action="store_true", help="without the model: no losses")
    asked = ask.parse_args()
    torch.set_num_threads(asked.threads)
    found = read(asked.z)
    part = TrainPart(lr=asked.lr)
    sides = [side(found, asked, found.layers, part) for side in (ours, theirs)]
    tokens = asked.steps * asked.batch
    print(
        f"{tokens:,} tokens, batch {asked.batch}, d_sae {asked.d_sae}, k {asked.k}, lr {asked.lr}"
    )
    print(f"{asked.precision}, {asked.threads} threads of {_machine()}, torch {torch.__version__}")
    for side in sides:
        rate = tokens / side.seconds
        print(
            f"{side.name:>20}  {side.seconds:6.1f} s  {side.cpu:6.1f} s of CPU  "
            f"{rate:8,.0f} tokens/s for three layers"
        )
    here, there = sides
    ratios = there.seconds / here.seconds, there.cpu / here.cpu
    print(f"{'ratio':>20}  {ratios[0]:.2f} by the clock, {ratios[1]:.2f} by CPU time", flush=True)
    print(f"on {len(found.test):,} held-out activations:")
    for side in sides:
        for index, (layer, sae) in enumerate(side.saes.items()):
            fvu, l0, dead = measure(sae, found.test[:, index].float())
            print(
                f"{side.name:>20}  layer {layer:2}  FVU {fvu:.3f}  L0 {l0:5.1f}  dead {dead:5.1%}"
            )
    sys.stdout.flush()
    if not asked.no_quality:
        _quality(found, sides, asked.contexts)


def ours(
    found: Activations, asked: argparse.Namespace, layers: tuple[int, ...], part: TrainPart
) -> Side:
    """Train here, all layers at once, as `part` says."""
    tokens = asked.steps * asked.batch
    sizes = {"tokens": tokens, "batch": asked.batch, "dead_tokens": tokens // 4}
    part = part.model_copy(update={**sizes, "checkpoint_seconds": 1e9})
    sae = SaePart(layers=layers, d_sae=asked.d_sae, k=asked.k)
    stream = FromMemory(found.of(layers), asked.batch)
    with tempfile.TemporaryDirectory() as folder:
        begun, busy = time.monotonic(), time.process_time()
        kind = getattr(torch, asked.precision)
        trained = train(stream, sae, part, Path(folder) / "train", encode_dtype=kind)
        seconds, cpu = time.monotonic() - begun, time.process_time() - busy
    return Side("feature-atlas", seconds, cpu, dict(zip(layers, trained.saes, strict=True)))


def theirs(
    found: Activations, asked: argparse.Namespace, layers: tuple[int, ...], part: TrainPart
) -> Side:
    """Train with SAELens, one layer after the other, at the learning rates of `part`."""
    settings = {
        **{name: getattr(asked, name) for name in ("d_sae", "k", "threads", "sparse")},
        "lr": part.lr,
        "layers": {str(layer): found.layers.index(layer) for layer in layers},
        "warmup": part.warmup,
        "decay": part.decay,
        "autocast": asked.precision == "bfloat16",
        "dead_steps": asked.steps // 4,
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "settings.json").write_text(json.dumps(settings))
        save_file({"order": _order(found, asked)}, out / "order.safetensors")
        files = (asked.z, out / "order.safetensors", out / "settings.json", out)
        command = [
            asked.saelens,
            "-P",
            str(SIDE),
            *map(str, files),
        ]  # -P: our folder has an http.py
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        told: dict[str, Any] = json.loads((out / "found.json").read_text())
        saes = {n: one.sae for n, one in source.read(str(out), layers).items()}
    name = f"SAELens {told['versions']['sae-lens']}"
    return Side(name, sum(told["seconds"]), sum(told["cpu"]), saes)


def _order(found: Activations, asked: argparse.Namespace) -> Tensor:
    """`[step, batch]`: the rows that each of our steps takes."""
    size = len(found.train)
    per_pass = size // asked.batch
    rows: list[Tensor] = []
    for number in range(asked.steps // per_pass + 1):
        rows += _permutation(size, 0, number, 0)[: per_pass * asked.batch].split(asked.batch)
    return torch.stack(rows[: asked.steps])


def _quality(found: Activations, sides: list[Side], contexts: int) -> None:
    model = models.load(MODEL, device="cpu")
    text = held_out(found._replace(contexts=found.contexts[:contexts]))
    print(f"{'':>20}  layer     L0    FVU   dead   CE clean      SAE     zero  recovered")
    for side in sides:
        done = evaluate(model, side.saes, text, PositionsPart(), found.limits, 16)
        _print(side.name, done)


def _print(name: str, done: Evaluations) -> None:
    for layer, one in done.alone.items():
        losses = one.losses
        share = "  withheld" if losses.recovered_zero is None else f"{losses.recovered_zero:10.1%}"
        print(
            f"{name:>20}  {layer:5}  {one.l0:5.1f}  {one.fvu:.3f}  {one.dead:5.1%}  "
            f"{losses.ce_clean:9.4f}  {losses.ce_sae:.4f}  {losses.ce_zero:.4f} {share}"
        )
    if done.together is not None:
        low, high = done.together.sae_cost.low, done.together.sae_cost.high
        print(f"{name:>20}  all at once: the SAEs cost {low:.4f} to {high:.4f} nats")


def _machine() -> str:
    text = Path("/proc/cpuinfo")
    lines = text.read_text().splitlines() if text.is_file() else []
    return next((x.split(":")[1].strip() for x in lines if "model name" in x), platform.machine())


if __name__ == "__main__":
    main()
