"""Activations of the real model in memory: harvested once to a file, then streamed by benchmarks.

python -m tests.benchmarks.activations z.safetensors --text text.parquet --tokens 200000
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from atlas import model as models
from ingest.config import PositionsPart
from ingest.corpus import Contexts
from ingest.train.stream import Buffers, Stream, harvest, sink_limits, without_sinks

MODEL, LENGTH = "smollm2-135m", 128
HELD_OUT = 64
"""Contexts for evaluation."""


class Activations(NamedTuple):
    """What the file holds."""

    train: Tensor  # [token, layer, d_in], bfloat16
    test: Tensor  # [token, layer, d_in], of held-out text
    contexts: Tensor  # [context, pos], the held-out token ids
    numbers: Tensor  # [layer], which ones
    limits: Tensor  # [layer]

    @property
    def layers(self) -> tuple[int, ...]:
        """Which ones."""
        return tuple(self.numbers.tolist())

    def of(self, layers: tuple[int, ...]) -> "Activations":
        """Some layers alone."""
        columns = [self.layers.index(layer) for layer in layers]
        parts = (part[:, columns] for part in (self.train, self.test))
        return Activations(*parts, self.contexts, self.numbers[columns], self.limits[columns])


class FromMemory(Stream):
    """The same activations again and again, each time in another order."""

    def __init__(self, found: Activations, batch: int, seed: int = 0) -> None:
        self.layers = found.layers
        self.model = _Somewhere(str(found.train.device))
        self.buffers = Buffers(0, 1, batch, seed)
        self.trained = tuple(range(found.train.shape[1]))
        self.limits = found.limits
        self._pool = found.train

    def keep(self, number: int, pool: Tensor) -> None:
        """The pool is here already."""

    def buffer(self, number: int, report=None) -> Tensor:  # noqa: ARG002
        """The whole pool, whatever its number."""
        return self._pool


class _Somewhere(NamedTuple):
    device: str


def read(path: Path) -> Activations:
    """The activations of a file that `main` wrote."""
    found = load_file(path)
    return Activations(*(found[name] for name in Activations._fields))


def held_out(found: Activations) -> Contexts:
    """The evaluation's contexts as a corpus."""
    count = len(found.contexts)
    full = np.full(count, LENGTH, np.int32)
    numbers = np.arange(count, dtype=np.int32)
    return Contexts(found.contexts.numpy().astype(np.int32), full, numbers, full * 0)


def main() -> None:
    """Harvest and write."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("file", type=Path)
    ask.add_argument("--text", type=Path, required=True, help="a Parquet file with a column text")
    ask.add_argument("--tokens", type=int, default=200_000)
    ask.add_argument("--layers", type=int, nargs="+", default=[8, 11, 18])
    asked = ask.parse_args()
    model = models.load(MODEL, device="cpu")
    contexts = _contexts(model, asked.text, asked.tokens // (LENGTH - 1) + HELD_OUT)
    valid = torch.ones(contexts.shape, dtype=torch.bool)
    valid[:, 0] = False
    start, parts = time.monotonic(), []
    for group in contexts.split(16):
        parts.append(harvest(model, group, tuple(asked.layers), 16))
    z = torch.cat(parts)
    print(f"{contexts.numel() / (time.monotonic() - start):,.0f} tokens/s of the model")
    limits = sink_limits(z, valid, PositionsPart().sink_norm)
    kept = without_sinks(z, valid, limits)
    train, test = (
        part[mask]
        for part, mask in zip(
            z.tensor_split([-HELD_OUT]), kept.tensor_split([-HELD_OUT]), strict=True
        )
    )
    numbers = torch.tensor(asked.layers)
    found = Activations(train, test, contexts[-HELD_OUT:].clone(), numbers, limits)
    save_file({name: part.contiguous() for name, part in found._asdict().items()}, asked.file)
    print(
        f"{len(train):,} activations of layers {found.layers} for training, {len(test):,} held out"
    )


def _contexts(model, text: Path, count: int) -> Tensor:
    """Whole windows of documents, each begun by the start token, `[context, pos]`."""
    windows: list[list[int]] = []
    rows = pq.read_table(text, columns=["text"]).column(0)
    for batch in range(0, len(rows), 64):
        for ids in model.tokenise_many(rows[batch : batch + 64].to_pylist()):
            whole = range(0, len(ids) - LENGTH + 2, LENGTH - 1)
            windows += [[model.info.bos_token, *ids[at : at + LENGTH - 1]] for at in whole]
        if len(windows) >= count:
            break
    return torch.tensor(windows[:count])


if __name__ == "__main__":
    main()
