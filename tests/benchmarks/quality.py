"""Quality at equal L0 against SAELens' BatchTopK: same activations, batches, sizes and tokens.

    python -m tests.benchmarks.activations z.safetensors --text text.parquet --tokens 300000
    python -m tests.benchmarks.quality z.safetensors --saelens /path/to/its/python --layer 11

Four SAEs: each side with its own defaults, and each with a given learning rate and our warm-up and
decay. One rate does not mean the same to both: decoder rows have norm 1 here, there 0.1 at first.
SAELens' come back through the import of its format. All thresholds are then scaled so that k
features fire per token of the training text, since neither side's export hits k exactly and more
firings rebuild more. Dead features fire nowhere in the training's activations. Measured on held-out
text, in the same forward passes: L0, FVU, features that are silent there, CE loss; costs and
differences of costs with 95 % intervals over contexts.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atlas import model as models
from atlas.lens import sae as saes_on_disk
from atlas.lens.sae import Sae, fires, pre_activations
from atlas.model import LanguageModel
from atlas.types import Interval
from ingest.config import PositionsPart, TrainPart
from ingest.train.evaluate import _constant, _counted, _put, _rebuilt, interval, recovered
from ingest.train.schedule import default_rate
from ingest.train.stream import harvest, valid_positions, without_sinks
from tests.benchmarks.activations import LENGTH, MODEL, Activations, read
from tests.benchmarks.sweep import CALIBRATE, at_l0, measure
from tests.benchmarks.train import _machine, ours, theirs

PEER_LR = 3e-4
PEER = TrainPart(lr=PEER_LR, warmup=0.0, decay=0.0)
"""SAELens' default: constant from the first step to the last."""


def main() -> None:
    """Train, measure, print."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("z", type=Path)
    ask.add_argument("--saelens", required=True, help="a python with sae-lens")
    ask.add_argument("--layer", type=int, default=11, help="one that the file has")
    ask.add_argument("--steps", type=int, default=292)
    ask.add_argument("--batch", type=int, default=1024)
    ask.add_argument("--d-sae", type=int, default=2304)
    ask.add_argument("--k", type=int, default=16)
    ask.add_argument("--lr", type=float, default=1e-3, help="of the third and fourth")
    ask.add_argument("--lr-peer", type=float, help="of the fourth, where it is another")
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--keep", type=Path, required=True, help="a folder for the trained SAEs")
    asked = ask.parse_args()
    asked.precision, asked.sparse = "float32", False
    torch.set_num_threads(asked.threads)
    found = read(asked.z)
    saes = _trained(found, asked)
    model = models.load(MODEL, device="cpu")
    print(
        f"layer {asked.layer}, {asked.steps * asked.batch:,} tokens, batch {asked.batch}, "
        f"d_sae {asked.d_sae}, k {asked.k}; trained in float32, losses in {model.dtype}; "
        f"{_machine()}, torch {torch.__version__}"
    )
    index = found.layers.index(asked.layer)
    train, test = found.train[:CALIBRATE, index].float(), found.test[:, index].float()
    for name, sae in saes.items():
        fvu, l0, _ = measure(sae, test)
        print(f"{name}, as exported: L0 {l0:.1f}, FVU {fvu:.4f}", flush=True)
    equal = {name: at_l0(sae, train, asked.k) for name, sae in saes.items()}
    whole = found.train[:, index]
    dead = {name: dead_share(sae, whole) for name, sae in equal.items()}
    _print(equal, costs(model, equal, asked.layer, found), test, dead)


def _trained(found: Activations, asked: argparse.Namespace) -> dict[str, Sae]:
    """The four SAEs by name; kept ones are not trained again."""
    same, other = TrainPart(lr=asked.lr), TrainPart(lr=asked.lr_peer or asked.lr)
    default = default_rate(asked.d_sae, asked.steps)
    recipes = {
        f"ours, its defaults (lr {default:.1e})": (ours, TrainPart()),
        f"SAELens, its defaults (lr {PEER_LR:.1e})": (theirs, PEER),
        f"ours, lr {asked.lr:.1e}": (ours, same),
        f"SAELens, lr {other.lr:.1e}": (theirs, other),
    }
    saes = {}
    for name, (side, part) in recipes.items():
        path = asked.keep / f"{asked.layer} {asked.steps} {name}"
        if not path.is_file():
            asked.keep.mkdir(parents=True, exist_ok=True)
            done = side(found, asked, (asked.layer,), part)
            print(f"{name}: {done.cpu:.0f} s of CPU", flush=True)
            saes_on_disk.save(path, {"sae": done.saes[asked.layer]})
        saes[name] = saes_on_disk.load(path, "sae")
    return saes


def dead_share(sae: Sae, z: Tensor) -> float:
    """Share of features that fire nowhere in `[token, d_in]`."""
    fired = torch.zeros(sae.d_sae, dtype=torch.bool)
    for part in z.split(CALIBRATE):
        fired |= fires(sae, pre_activations(sae, part.float())).any(0)
    return float((~fired).float().mean())


class Costs(NamedTuple):
    """Losses on held-out text, one row per context, nats per token."""

    clean: Tensor  # [context]
    zero: Tensor
    mean: Tensor
    sae: dict[str, Tensor]


@torch.inference_mode()
def costs(model: LanguageModel, saes: Mapping[str, Sae], layer: int, found: Activations) -> Costs:
    """Loss of each context with z of one layer replaced by each SAE, by zeros and by its mean."""
    index = found.layers.index(layer)
    mean = found.test[:, index].float().mean(0)
    limits, length = found.limits[index : index + 1], torch.tensor([LENGTH])
    news = [torch.zeros_like, partial(_constant, mean)]
    news += [partial(_rebuilt, sae) for sae in saes.values()]
    rows = []
    for tokens in found.contexts.split(16):
        size = length.expand(len(tokens))
        mask = valid_positions(size, LENGTH, PositionsPart().skip_first)
        mask = without_sinks(harvest(model, tokens, (layer,), 16), mask, limits)
        counted = _counted(mask, size)
        edits = [{}, *({layer: partial(_put, mask, new)} for new in news)]
        losses = torch.stack(model.losses_each(tokens, edits))  # [edit, context, pos - 1]
        rows.append((losses * counted).sum(2) / counted.sum(1))
    clean, zero, mean_, *each = torch.cat(rows, dim=1)
    return Costs(clean, zero, mean_, dict(zip(saes, each, strict=True)))


def _print(saes: Mapping[str, Sae], told: Costs, test: Tensor, dead: Mapping[str, float]) -> None:
    """A row per SAE, then the differences that the issue is about."""
    zero, mean = interval(told.zero - told.clean), interval(told.mean - told.clean)
    print(
        f"CE clean {told.clean.mean():.4f}, zero {told.zero.mean():.4f} ({_told(zero)}), "
        f"mean {told.mean.mean():.4f} ({_told(mean)}); {len(told.clean)} contexts, "
        f"{len(test):,} activations"
    )
    print("| SAE | L0 | FVU | dead | silent | CE | cost | recovered (zero) | recovered (mean) |")
    print("|" + " --- |" * 9)
    clean = float(told.clean.mean())
    for name, sae in saes.items():
        fvu, l0, silent = measure(sae, test)
        loss = told.sae[name]
        shares = [
            recovered(clean, float(loss.mean()), float(ablated.mean()), cost)
            for ablated, cost in ((told.zero, zero), (told.mean, mean))
        ]
        cells = ["withheld" if share is None else f"{share:.1%}" for share in shares]
        print(
            f"| {name} | {l0:.1f} | {fvu:.4f} | {dead[name]:.1%} | {silent:.1%} | "
            f"{loss.mean():.4f} | {_told(interval(loss - told.clean))} | {' | '.join(cells)} |"
        )
    names = list(saes)
    for one, other in zip(names[::2], names[1::2], strict=True):
        less = interval(told.sae[one] - told.sae[other])
        print(f"{one} less {other}: {_told(less)} nats on the same contexts")


def _told(found: Interval) -> str:
    return f"{(found.low + found.high) / 2:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


if __name__ == "__main__":
    main()
