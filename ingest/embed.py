"""Labels to vectors: a bundle that adds what has no vector yet, going on where it stopped."""

import re
import shutil
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from atlas import progress
from atlas.api import Atlas
from atlas.bundle import MANIFEST, Bundle, open_bundle, seal, sync_and_rename, write_table
from atlas.embed import Embedder, Vectors
from atlas.errors import AtlasError
from atlas.label_types import ToEmbed
from atlas.tables import TABLES

PART = 1024
"""Labels per file that is kept while the job goes on."""


def embed_labels(
    atlas: Atlas,
    embedder: Embedder,
    listen: progress.Listener = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Bundle | None:
    """Embed every label that has no vector of this model; None when there is none.

    Stopped at any moment, the same call goes on: parts that are done are not asked for again.

    Raises:
        LabelError: the endpoint cannot do it.
    """
    todo = atlas.to_embed(embedder.model)
    if not todo:
        return None
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", embedder.model)
    folder = atlas.store / "bundles" / f"embed-{slug}"
    scratch = folder / "work"
    scratch.mkdir(parents=True, exist_ok=True)
    reporter = progress.Reporter(folder, folder.name, listen, clock)
    reporter.stage("embed", len(todo), "labels")
    try:
        parts = []
        for at in range(0, len(todo), PART):
            some = todo[at : at + PART]
            parts.append(_part(scratch, some, embedder))
            reporter.advance(len(some))
    except AtlasError as error:
        reporter.end("failed", str(error))
        raise
    bundle = _sealed(folder, parts)
    shutil.rmtree(scratch)
    reporter.end("done")
    return bundle


def _part(scratch: Path, some: Sequence[ToEmbed], embedder: Embedder) -> pa.Table:
    content = "\0".join(f"{one.feature} {one.text}" for one in some)
    path = scratch / f"{sha256(content.encode()).hexdigest()[:16]}.parquet"
    if not path.is_file():
        table = _table(some, embedder.model, embedder.embed([one.text for one in some]))
        draft = path.with_suffix(".partial")
        pq.write_table(table, draft)
        sync_and_rename(draft, path)
    return pq.read_table(path, schema=TABLES["label_embedding"])


def _table(some: Sequence[ToEmbed], model: str, vectors: Vectors) -> pa.Table:
    names = pa.array([str(one.feature.sae) for one in some], pa.string())
    ends = pa.array(np.arange(len(some) + 1) * vectors.shape[1], pa.int32())
    columns = {
        "sae": names.dictionary_encode(),
        "feature": pa.array([one.feature.index for one in some], pa.int32()),
        "model": [model] * len(some),
        "text": [one.text for one in some],
        "vector": pa.ListArray.from_arrays(ends, pa.array(vectors.ravel())),
    }
    return pa.table(columns).cast(TABLES["label_embedding"])


def _sealed(folder: Path, parts: Sequence[pa.Table]) -> Bundle:
    """The bundle with what it held before, for features that have no newer vector."""
    new = pa.concat_tables(parts)
    if (folder / MANIFEST).is_file():
        old = open_bundle(folder).read("label_embedding")
        done = set(zip(new["sae"].to_pylist(), new["feature"].to_pylist(), strict=True))
        keys = zip(old["sae"].to_pylist(), old["feature"].to_pylist(), strict=True)
        new = pa.concat_tables([old.filter(pa.array([key not in done for key in keys])), new])
    write_table(folder, "label_embedding", new.unify_dictionaries())
    return seal(folder, folder.name)
