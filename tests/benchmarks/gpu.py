"""Everything that is to be measured on a GPU, in one run of a few minutes.

    python -m tests.benchmarks.gpu                    # all parts, each within its own time
    python -m tests.benchmarks.gpu --only check,train --seconds 120
    python -m tests.benchmarks.gpu --dry              # tiny sizes on the CPU: does the script work?
    python -m tests.benchmarks.gpu --only rooflines   # from an H200's ceilings; needs no GPU

First the kernels are compared with the dense step; the run ends there when they differ. Then the
ceilings of this device, and training against the rooflines that follow from them. Every result is a
line of JSON as soon as it is known; a table follows at the end. Needs torch, pydantic, pyarrow and
safetensors; the parts lm, mine and prompt say what else they miss. docs/gpu.md explains the parts.
"""

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from tests.benchmarks.gpu_ceilings import ceilings
from tests.benchmarks.gpu_check import check
from tests.benchmarks.gpu_model import lm, mine, prompt
from tests.benchmarks.gpu_sizes import DRY, FULL, Bench, Wrong
from tests.benchmarks.gpu_train import rooflines, train

Row = dict[str, Any]
PARTS: dict[str, tuple[Callable[[Bench], Iterator[Row]], float]] = {
    "check": (check, 90.0),
    "ceilings": (ceilings, 70.0),
    "rooflines": (rooflines, 5.0),
    "train": (train, 240.0),
    "lm": (lm, 40.0),
    "mine": (mine, 60.0),
    "prompt": (prompt, 40.0),
}
"""Name to what it yields and the seconds after which it begins no new measurement."""


def main(arguments: list[str] | None = None) -> list[Row]:
    """Run the parts asked for, print and give all rows."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    ask.add_argument("--seconds", type=float, help="of each part, instead of its own")
    ask.add_argument("--dry", action="store_true", help="tiny sizes on the CPU")
    asked = ask.parse_args(arguments)
    here = torch.cuda.is_available() or asked.only == "rooflines"
    if not asked.dry and not here:
        sys.exit("no CUDA device here; --dry tries the script on the CPU")
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    bench = Bench("cpu" if asked.dry else "cuda", DRY if asked.dry else FULL)
    tell({"part": "device", **_device(bench.device)})
    for name in asked.only.split(","):
        part, seconds = PARTS[name]
        try:
            _run(bench, name, part, asked.seconds or seconds, tell)
        except Wrong as wrong:
            tell({"part": name, "wrong": str(wrong)})
            sys.exit(1)
    _table(rows)
    if any("failed" in row for row in rows):
        sys.exit(1)
    return rows


def _run(
    bench: Bench,
    name: str,
    part: Callable[[Bench], Iterator[Row]],
    seconds: float,
    tell: Callable[[Row], None],
) -> None:
    begun = time.monotonic()
    try:
        for row in part(bench):
            tell({"part": name, **row})
            if time.monotonic() - begun > seconds:
                tell({"part": name, "stopped": f"its {seconds:.0f} s are over"})
                break
    except Wrong:
        raise
    except Exception as error:  # noqa: BLE001 (the minutes of the other parts are not lost)
        traceback.print_exc()
        tell({"part": name, "failed": f"{type(error).__name__}: {error}"[:300]})
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    tell({"part": name, "took_s": round(time.monotonic() - begun, 1)})


def _device(device: str) -> Row:
    found: Row = {"device": platform.machine()}
    if device == "cuda" and torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        found = {"device": about.name, "memory_GB": round(about.total_memory / 1e9, 1)}
        found |= {"multiprocessors": about.multi_processor_count, "cuda": torch.version.cuda}
    for name in ("torch", "triton", "transformers", "transformer-lens"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return {**found, "python": platform.python_version()}


def _table(rows: list[Row]) -> None:
    print()
    for row in rows:
        if "what" in row:
            rest = {k: v for k, v in row.items() if k not in ("part", "what", "profile")}
            told = "  ".join(f"{name} {value}" for name, value in rest.items())
            print(f"{row['part']:>8}  {row['what']:<44} {told}")


if __name__ == "__main__":
    main()
