"""A source of Neuronpedia's public exports as a bundle, ready to be published.

Such an export knows tokens by their text alone and heads by their weights alone. So token ids are
made here, in order of appearance, and what is measured per head stays unknown, as do the weights
of the SAE: its features can be read, searched and compared, but not run on new text.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path

import pyarrow as pa

from atlas.bundle import WEIGHTS, Bundle, seal, sha256_file, write_table
from atlas.errors import BundleError
from atlas.exchange import neuronpedia_rows as make
from atlas.exchange.neuronpedia_rows import Record, Source, Words
from atlas.tables import TABLES

_SOURCE = re.compile(r"(?P<layer>[0-9]{1,9})-(?P<set>[A-Za-z0-9][A-Za-z0-9._-]*)")
_LIKE = "give a folder MODEL/SOURCE of an export, with source.jsonl and features/ in it"


def read_neuronpedia(path: Path, folder: Path, now: datetime) -> Bundle:
    """Make a bundle in `folder` from the export of one source.

    Args:
        path: the export's folder MODEL/SOURCE.
        folder: where the bundle is written.
        now: when this is done, with a time zone.

    Raises:
        BundleError: the export is incomplete or damaged, or is not of an SAE on attention heads.
    """
    source, words = _opened(path), Words()
    try:
        contexts = make.Contexts()
        examples = [
            _table("example", make.examples(source, words, contexts, batch))
            for batch in batches(path, "activations")
        ]
        tables = {
            "feature": make.features(source, words),
            "feature_head": make.feature_heads(source),
            "neighbour": make.neighbours(source),
            "label": make.labels(source, records(path, "explanations")),
            "context": make.contexts(source, contexts),
            "model": make.model(source, words),
            "head": make.heads(source),
            "run": make.run(source, now, max(map(len, contexts.numbers), default=0)),
            "vocab": make.vocab(source, words),
        }
        _write_no_weights(folder)
        tables["sae"] = make.sae(source, sha256_file(folder / WEIGHTS))
        for name, rows in tables.items():
            write_table(folder, name, _table(name, rows))
        write_table(folder, "example", pa.concat_tables([_table("example", ()), *examples]))
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise BundleError(f"export {path} cannot be read: {error!r}", _LIKE) from error
    return seal(folder, source.run)


def _opened(path: Path) -> Source:
    model, source = (_record(path / f"{name}.jsonl") for name in ("model", "source"))
    name = str(source.get("id", path.name))
    found = _SOURCE.fullmatch(name)
    if not found:
        raise BundleError(f"{path}: source {name[:80]!r} names no layer and set", _LIKE)
    features = sorted(records(path, "features"), key=lambda one: int(one["index"]))
    shares = {len(one.get("decoder_weights_dist") or ()) for one in features}
    if not features or shares == {0}:
        raise BundleError(
            f"{path} has no head shares", "only SAEs on the outputs of attention heads have them"
        )
    if [int(one["index"]) for one in features] != list(range(len(features))) or len(shares) > 1:
        raise BundleError(f"{path}: features are missing, or differ in heads", "fetch it again")
    return Source(model, source, int(found["layer"]), found["set"], tuple(features))


def _record(path: Path) -> Record:
    try:
        found: Record = json.loads(path.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"export {path.parent}: no {path.name}", _LIKE) from error
    return found


def records(path: Path, what: str) -> Iterator[Record]:
    """All records of one kind. Raises BundleError for a damaged file."""
    return chain.from_iterable(batches(path, what))


def batches(path: Path, what: str) -> Iterator[list[Record]]:
    """The records of one kind, file by file. Raises BundleError for a damaged file."""
    for batch in sorted((path / what).glob("batch-*.jsonl.gz"), key=_number):
        try:
            with gzip.open(batch, "rt", encoding="utf-8") as lines:
                yield [json.loads(line) for line in lines]
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise BundleError(f"file {batch} is damaged: {error}", "fetch it again") from error


def _number(batch: Path) -> int:
    digits = re.sub(r"\D", "", batch.name)
    return int(digits or 0)


def _table(name: str, rows: Sequence[Record]) -> pa.Table:
    """Rows as a bundle's table; columns that no row has are NULL."""
    columns = {}
    for column in TABLES[name]:
        of_names = pa.types.is_dictionary(column.type)
        kind = pa.string() if of_names else column.type
        array = pa.array([row.get(column.name) for row in rows], kind)
        columns[column.name] = array.dictionary_encode() if of_names else array
    return pa.table(columns)


def _write_no_weights(folder: Path) -> None:
    """A safetensors file that holds no tensor and says that it knows no SAE."""
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"__metadata__": {"k": "{}"}}).encode()
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
