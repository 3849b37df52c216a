"""The units of mining: which shards of contexts there are, what each computes, where it is kept.

A unit has no state: it reads the model, the SAEs' weights and the tokens, and writes one file
whose name ends in a hash of all of these and of the settings that matter. So a unit that was done
is found again by its name, two that do the same write the same bytes, and a file made of anything
else is never taken for it.
"""

import functools
import json
import os
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.bundle import WEIGHTS, sha256_file, sync_and_rename
from atlas.ids import SaeId
from atlas.lens import sae as saes_on_disk
from atlas.model import LanguageModel
from ingest import corpus as corpora
from ingest.config import Job
from ingest.corpus import Contexts
from ingest.elsewhere import Where, load_model
from ingest.mine.attribute import Places
from ingest.mine.passes import Arrays, Mining, Wanted, attributed, counted
from ingest.mine.together import Pairs

Stage = Literal["count", "attribute"]
SINKS = "sinks.json"


class Unit(NamedTuple):
    """One piece of work."""

    stage: Stage
    first: int
    """Number of its first context."""
    last: int
    """Number after its last context."""
    path: Path
    """The file that it leaves."""
    wanted: str = ""
    """For the second pass the hash of what is wanted."""

    @property
    def name(self) -> str:
        """Such as `count 0-4095`: its stage and its contexts."""
        return f"{self.stage} {self.first}-{self.last - 1}"


def plan(mining: Mining, stage: Stage, scratch: Path, wanted: str = "") -> list[Unit]:
    """The units of a stage, done or not.

    Args:
        mining: what is mined.
        stage: first or second pass.
        scratch: where units leave their files.
        wanted: for the second pass the hash of what is wanted.
    """
    step = mining.job.batch_contexts
    # Whole batches, so that what a context is computed with does not depend on the shards.
    size = max(1, mining.job.mine.shard_contexts // step) * step
    total = len(mining.corpus.mine.tokens)
    units = []
    for first in range(0, total, size):
        last = min(first + size, total)
        key = _key(mining, stage, _rows(mining.corpus.mine, first, last), wanted)
        path = scratch / f"{stage}-{first:09d}-{key}.npz"
        units.append(Unit(stage, first, last, path, wanted))
    return units


def _key(mining: Mining, stage: Stage, shard: Contexts, wanted: str) -> str:
    job = mining.job
    said = [
        stage,
        mining.model.info.weights_sha256,
        mining.weights,
        job.model.dtype,
        job.batch_contexts,
        job.positions.model_dump(),
        job.mine.model_dump(exclude={"shard_contexts", "tokens"}),
        mining.sinks.tolist(),
        wanted,
    ]
    digest = sha256(json.dumps(said).encode())
    for column in (shard.tokens, shard.length):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]


def _rows(contexts: Contexts, first: int, last: int) -> Contexts:
    return Contexts(*(column[first:last] for column in contexts))


def run(mining: Mining, unit: Unit, wanted: Wanted | None, report: Callable[[int], None]) -> None:
    """Do one unit, unless its file is there, and leave the file whole or not at all.

    Args:
        mining: what is mined.
        unit: which part of it.
        wanted: for the second pass.
        report: told the tokens of every forward pass.
    """
    shard = _rows(mining.corpus.mine, unit.first, unit.last)
    if unit.path.is_file():
        report(shard.tokens.size)
    elif wanted is None:
        save(unit.path, counted(mining, shard, unit.first, report))
    else:
        save(unit.path, attributed(mining, wanted, shard, unit.first, report))


def run_elsewhere(where: Where, unit: Unit) -> None:
    """Do one unit in a process that knows nothing yet; what it loads it keeps for the next.

    Raises:
        ValueError: what it finds is not what the unit was planned for.
    """
    wanted = _wanted(unit.path.with_name(_wanted_name(unit.wanted))) if unit.wanted else None
    mining = _mining(where)
    shard = _rows(mining.corpus.mine, unit.first, unit.last)
    if _key(mining, unit.stage, shard, unit.wanted) not in unit.path.name:
        _mining.cache_clear()  # what is on disk may be right again by the next try
        raise ValueError("this worker sees another model, other weights or another text")
    run(mining, unit, wanted, lambda _: None)


@functools.lru_cache(maxsize=1)
def _mining(where: Where) -> Mining:
    job, folder = Job.model_validate_json(where.job), Path(where.folder)
    model = load_model(job, job.model.dtype)
    names = names_of(job, model)
    weights = folder / WEIGHTS
    sinks = json.loads((folder / "work" / SINKS).read_text())
    return Mining(
        job,
        model,
        functools.cache(lambda: exact(job, model)),
        {n: saes_on_disk.load(weights, name).to(model.device) for n, name in names.items()},
        torch.tensor(sinks),
        corpora.load(folder / "work" / "corpus.npz"),
        names,
        sha256_file(weights),
    )


@functools.lru_cache(maxsize=1)
def _wanted(path: Path) -> Wanted:
    with np.load(path, allow_pickle=False) as arrays:
        return wanted_of(arrays)


def exact(job: Job, model: LanguageModel) -> LanguageModel:
    """The model in float32; the one that is there where it already is."""
    return model if model.dtype == torch.float32 else load_model(job, "float32")


def names_of(job: Job, model: LanguageModel) -> dict[int, str]:
    """Layer to SAE id."""
    return {n: str(SaeId(model.info.id, n, job.sae.set)) for n in job.sae.layers}


def hand_over(mining: Mining, scratch: Path) -> None:
    """Leave what other processes cannot find elsewhere."""
    (scratch / SINKS).write_text(json.dumps(mining.sinks.tolist()))


def keep_wanted(wanted: Wanted, scratch: Path) -> str:
    """Leave what the second pass is to do for other processes; gives its hash."""
    arrays = {
        f"{layer}/{name}": values
        for layer, places in wanted.places.items()
        for name, values in places._asdict().items()
    }
    arrays |= {f"pairs/{name}": values for name, values in wanted.pairs._asdict().items()}
    digest = sha256()
    for name, values in arrays.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    name = digest.hexdigest()[:16]
    save(scratch / _wanted_name(name), arrays)
    return name


def _wanted_name(wanted: str) -> str:
    return f"wanted-{wanted}.npz"


def wanted_of(arrays: Mapping[str, NDArray[Any]]) -> Wanted:
    """What `keep_wanted` left."""
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name in arrays:
        part, _, column = name.partition("/")
        parts.setdefault(part, {})[column] = arrays[name]
    pairs = Pairs(**parts.pop("pairs"))
    return Wanted({int(layer): Places(**columns) for layer, columns in parts.items()}, pairs)


def save(path: Path, arrays: Arrays) -> None:
    """Write arrays whole or not at all, whoever else writes the same file."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with draft.open("wb") as handle:
            np.savez(handle, allow_pickle=False, **arrays)
        sync_and_rename(draft, path)
    finally:
        draft.unlink(missing_ok=True)
