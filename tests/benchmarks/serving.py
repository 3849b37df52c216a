"""How fast an atlas answers. Make a SYNTHETIC one of any size, then time its queries:

python -m tests.benchmarks.serving make  FOLDER --saes 14 --features 25000 --examples 57
python -m tests.benchmarks.serving time  FOLDER/store
"""

import argparse
import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

from atlas.api import Atlas
from atlas.store.publish import publish
from atlas.types import PairQuery, Query
from tests.benchmarks.synthetic import Size, make

Ask = Callable[[], object]
AGGREGATE = """
SELECT layer, family, dfa_head, count(*) AS features, avg(density) AS density,
  quantile_cont(max_act, 0.5) AS max_act, avg(disagreement) AS disagreement
FROM feature_card GROUP BY ALL ORDER BY ALL
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    making = actions.add_parser("make")
    making.add_argument("folder", type=Path)
    for name, default in (
        ("saes", 14),
        ("features", 25_000),
        ("examples", 57),
        ("contexts", 60_000),
    ):
        making.add_argument(f"--{name}", type=int, default=default)
    timing = actions.add_parser("time")
    timing.add_argument("store", type=Path)
    timing.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    if given.action == "make":
        size = Size(given.saes, given.features, given.examples, given.contexts)
        write(given.folder, size)
    else:
        measure(given.store, given.rounds)


def write(folder: Path, size: Size) -> None:
    """Make and publish the atlas, and say how long each took."""
    start = time.perf_counter()
    bundles = make(folder / "bundles", size)
    print(f"made {len(bundles)} SYNTHETIC bundles in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    snapshot = publish(folder / "store", bundles, print)
    files = {path.name: path.stat().st_size for path in snapshot.path.rglob("*") if path.is_file()}
    index = sum(files.values()) - files["evidence.duckdb"]
    print(
        f"published in {time.perf_counter() - start:.1f} s: evidence.duckdb"
        f" {files['evidence.duckdb'] / 1e6:.0f} MB, search index {index / 1e6:.0f} MB,"
        f" peak memory {_peak():.0f} MB"
    )


def measure(store: Path, rounds: int) -> None:
    """Print how long every kind of request takes, cold (the first) and warm."""
    start = time.perf_counter()
    atlas = Atlas.open(store)
    print(f"{atlas.stats()}\nopened and counted in {time.perf_counter() - start:.3f} s")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'request':44}{'first':>9}{'p50':>9}{'p95':>9}{'CPU p50':>9}{'CPU p95':>9}  ms")
    for name, ask in requests(atlas, random.Random(0)).items():
        took, cpu = zip(*(_timed(ask) for _ in range(rounds + 1)), strict=True)
        warm, used = sorted(took[1:]), sorted(cpu[1:])
        figures = [took[0], *_middle_and_most(warm), *_middle_and_most(used)]
        print(f"{name:44}" + "".join(f"{figure:9.1f}" for figure in figures), flush=True)
    print(f"peak memory {_peak():.0f} MB, now {_resident():.0f} MB")


def requests(atlas: Atlas, chance: random.Random) -> dict[str, Ask]:
    """What pages ask, with different features and words each time."""
    saes, words = atlas.saes(), atlas.vocab(atlas.models()[0].id)
    layers = sorted({sae.id.layer for sae in saes})
    heads = atlas.models()[0].n_heads

    def word(common: int) -> str:
        return words[chance.randrange(1, common)].strip()

    def feature() -> str:
        sae = chance.choice(saes)
        return f"{sae.id}/{chance.randrange(sae.d_sae)}"

    def head() -> str:
        return f"{saes[0].id.model}/L{chance.choice(layers)}H{chance.randrange(heads)}"

    first_page = atlas.search(Query(sort="density"))

    def second_page() -> object:
        first = atlas.search(Query(sort="density"))
        return atlas.search(Query(sort="density", after=first.after))

    return {
        "search: a rare word": lambda: atlas.search(Query(word(20_000))),
        "search: a common word": lambda: atlas.search(Query(word(30))),
        "search: two words": lambda: atlas.search(Query(f"{word(300)} {word(300)}")),
        "search: word, layer, density, order": lambda: atlas.search(
            Query(word(300), layer=chance.choice(layers), density_min=1e-4, sort="max_act")
        ),
        "search: prefix": lambda: atlas.search(Query(f"{word(5000)}*")),
        "search: phrase": lambda: atlas.search(Query(f'"token after {word(100)}"')),
        "search: exact token": lambda: atlas.search(Query(f'token:" {word(2000)}"')),
        "list: everything": lambda: atlas.search(Query()),
        "list: by density, two pages": second_page,
        "list: head, measured, by share": lambda: atlas.search(
            Query(layer=chance.choice(layers), head=chance.randrange(heads), sort="head_share")
        ),
        "list: family and support": lambda: atlas.search(
            Query(family="induction", support_min=0.5, sort="support")
        ),
        "list: its strongest examples (25)": lambda: atlas.strongest(
            hit.row.id for hit in first_page.hits
        ),
        "aggregate: all features (SQL)": lambda: atlas.sql(AGGREGATE),
        "feature page": lambda: atlas.feature(feature()),
        "compare two features": lambda: atlas.compare(feature(), feature()),
        "head page": lambda: atlas.head(head()),
        "all heads": lambda: atlas.heads(saes[0].id.model),
        "data of Home": lambda: (atlas.feature(atlas.random_feature()), atlas.review_queue(5)),
        "data of Search, by support": lambda: atlas.strongest(
            hit.row.id for hit in atlas.search(Query(sort="support")).hits
        ),
        "data of Review": lambda: (atlas.review_queue(50), atlas.label_methods()),
        "densities of an SAE": lambda: atlas.densities(chance.choice(saes).id),
        "random feature": atlas.random_feature,
        "counts of everything": atlas.stats,
        "pairs: source and destination": lambda: atlas.pairs(
            PairQuery(dst=words[chance.randrange(1, 50)], src=words[chance.randrange(1, 50)])
        ),
        "pairs: source, one layer, distance 1": lambda: atlas.pairs(
            PairQuery(
                src=words[chance.randrange(1, 50)],
                layer=chance.choice(layers),
                distance_min=1,
                distance_max=1,
            )  # fmt: skip
        ),
    }


def _middle_and_most(times: list[float]) -> tuple[float, float]:
    """Median and 95th percentile of sorted times."""
    return times[len(times) // 2], times[int(len(times) * 0.95)]


def _timed(ask: Ask) -> tuple[float, float]:
    """Milliseconds by the clock, and of this process's CPU (SQL runs in another)."""
    start, cpu = time.perf_counter(), time.process_time()
    ask()
    return (time.perf_counter() - start) * 1000, (time.process_time() - cpu) * 1000


def _resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _peak() -> float:
    """Peak memory of this process in MB (Linux counts it in KB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
