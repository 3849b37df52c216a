"""How co-firing grows with features and layers: `python -m tests.benchmarks.cofiring`.

Made-up firings: frequencies by Zipf's law, and every second feature fires mostly where the one
before it does. Candidates are found once per job; common firings are counted in every batch. CPU
seconds of one thread.
"""

import argparse
import os
import platform
import resource
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ingest.config import MinePart
from ingest.mine.keep import Kept, Rows, by_place, lowest
from ingest.mine.neighbours import SPARE
from ingest.mine.together import SKETCH, Common, candidates

CONTEXT, BATCH = 128, 2048
"""Places of a context and of a batch."""
SIZES = ((2304, 1), (4608, 1), (9216, 1), (24_576, 1), (2304, 3), (2304, 6), (2304, 12))
"""Features per layer, and layers."""


def main() -> None:
    """A row per size."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--places", type=int, default=65_536, help="from which sketches are made")
    ask.add_argument("--k", type=int, default=32, help="firings per place and layer")
    asked = ask.parse_args()
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}; "
        f"sketches of {asked.places:,} places, {asked.k} firings per place and layer"
    )
    columns = ("features", "layers", "candidates s", "pairs", "ms per 1,000 places")
    print("| " + " | ".join((*columns, "ns per pair and batch", "peak GB")) + " |")
    print("|" + " --- |" * 7)
    for features, layers in SIZES:
        print(row(features, layers, asked.places, asked.k), flush=True)


def row(features: int, layers: int, places: int, k: int) -> str:
    """Time both steps at one size."""
    rng = np.random.default_rng(0)
    fires = {layer: some_firings(rng, features, places, k) for layer in range(layers)}
    sketches = {
        layer: lowest(Rows.of(kept, torch.device("cpu")), by_place, SKETCH).rows.on_host()
        for layer, kept in fires.items()
    }
    begun = time.process_time()
    sizes = dict.fromkeys(fires, features)
    pairs = candidates(sketches, sizes, SPARE * MinePart().neighbours)
    found = time.process_time() - begun
    batch = [dense(kept, features) for kept in fires.values()]
    begun = time.process_time()
    Common(pairs, features * layers, torch.device("cpu")).add(batch)
    counted = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return (
        f"| {features:,} | {layers} | {found:.2f} | {len(pairs.one):,} | "
        f"{counted / BATCH * 1e6:.0f} | {counted / max(len(pairs.one), 1) * 1e9:.0f} | {peak:.2f} |"
    )


def some_firings(rng: np.random.Generator, features: int, places: int, k: int) -> Kept:
    """Firings of one layer, by place."""
    chance = 1 / np.arange(10, features // 2 + 10) ** 0.8
    drawn = rng.choice(features // 2, (places, k // 2), p=chance / chance.sum())
    copied = np.where(rng.random(drawn.shape) < 0.7, 2 * drawn + 1, 2 * rng.permutation(drawn) + 1)
    feature = np.unique(
        np.concatenate([2 * drawn, copied], axis=1) + np.arange(places)[:, None] * features
    )
    place, feature = feature // features, (feature % features).astype(np.int32)
    ctx, pos = (part.astype(np.int32) for part in divmod(place, CONTEXT))
    return Kept(feature, np.ones(len(place), np.float32), ctx, pos)


def dense(kept: Kept, features: int) -> Any:
    """The first batch as `[place, feature]` bool."""
    place: NDArray[Any] = kept.ctx * CONTEXT + kept.pos
    first = place < BATCH
    fires = torch.zeros(BATCH, features, dtype=torch.bool)
    fires[place[first], kept.feature[first]] = True
    return fires


if __name__ == "__main__":
    main()
