"""An SAE as files, for those who want it whole: its tables and its weights, or another's layout."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq

from atlas import wire
from atlas.api import Atlas
from atlas.errors import AtlasError, ConfigError
from atlas.exchange.neuronpedia import write_neuronpedia
from atlas.store.export import Rows, Table

FORMS = ("parquet", "jsonl", "neuronpedia")


def write_sae(atlas: Atlas, sae: str, folder: Path, form: str = "parquet") -> Path:
    """Write everything about one SAE below `folder`; gives the folder that was made.

    Args:
        atlas: where from; all of it is of one snapshot.
        sae: the SAE's id.
        folder: where MODEL/SET is made.
        form: one of FORMS. In the first two there is a file per table, and the weights.

    Raises:
        NotFound: no such SAE.
        ConfigError: the form is unknown, or the folder is there already.
    """
    if form not in FORMS:
        raise ConfigError(f"unknown format {form!r}", f"known: {', '.join(FORMS)}")
    if form == "neuronpedia":
        return write_neuronpedia(atlas, sae, folder)
    atlas = atlas.at()
    found = atlas.sae(sae).id
    target = folder / str(found)
    if target.exists():
        raise ConfigError(f"{target} is there already", "give another folder")
    draft = target.with_name(f"{target.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for table in get_args(Table):
        _write(draft / f"{table}.{form}", atlas.export(found, table))
    try:
        shutil.copyfile(atlas.weights(found), draft / "weights.safetensors")
    except AtlasError as error:  # they may lie on another machine; the tables are whole without
        (draft / "weights.missing.txt").write_text(f"{error}\n")
    draft.rename(target)
    return target


def _write(path: Path, rows: Rows) -> None:
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            file.writelines(lines(rows.batches))
        return
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for batch in rows.batches:
            writer.write_batch(batch)


def lines(batches: Iterator[pa.RecordBatch]) -> Iterator[str]:
    """Every row as a line of JSON."""
    for batch in batches:
        for row in batch.to_pylist():
            yield f"{wire.dumps(row)}\n"
