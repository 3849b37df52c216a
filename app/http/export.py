"""The addresses that give an SAE away in bulk: its tables, streamed."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import pyarrow.parquet as pq
from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from app.http.answer import OfEvidence
from app.http.document import answers
from atlas.api import Atlas
from atlas.exchange.neuronpedia import write_neuronpedia
from atlas.exchange.tables import lines
from atlas.ids import SaeId
from atlas.store.export import Rows, Table

router = APIRouter()
Form = Literal["parquet", "jsonl"]
_MEDIA: dict[Form, str] = {
    "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/x-ndjson",
}
_TAR = "application/x-tar"
_WHOLE = ("weights", "export/neuronpedia")


@dataclass(frozen=True, slots=True)
class Exports:
    """What can be had of an SAE in bulk."""

    sae: SaeId
    tables: dict[str, str]
    """Table to its address; add format=jsonl for lines of JSON in place of Parquet."""
    weights: str
    """Address of the safetensors file."""
    neuronpedia: str
    """Address of a tar file in the layout of Neuronpedia's public exports."""


@router.get("/saes/{model}/{sae}/export", responses=answers(Exports))
def exports(model: str, sae: str, asked: OfEvidence) -> Response:
    """What can be had of an SAE in bulk; all of it on one snapshot."""
    found = asked.atlas.sae(f"{model}/{sae}").id
    held = f"?snapshot={asked.atlas.snapshot.name}"
    tables = {name: f"/saes/{found}/export/{name}{held}" for name in get_args(Table)}
    weights, source = (f"/saes/{found}/{name}{held}" for name in _WHOLE)
    return asked.answer(Exports(found, tables, weights, source))


@router.get("/saes/{model}/{sae}/export/neuronpedia", responses=answers(_TAR))
def export_neuronpedia(model: str, sae: str, asked: OfEvidence) -> Response:
    """The SAE in the layout of Neuronpedia's public exports, as a tar file."""
    name = str(asked.atlas.sae(f"{model}/{sae}").id)
    headers = asked.headers | {"Content-Encoding": "identity"}  # its files are compressed already
    headers["Content-Disposition"] = f'attachment; filename="{name.replace("/", "_")}.tar"'
    return StreamingResponse(_tar(asked.atlas, name), 200, headers, _TAR)


def _tar(atlas: Atlas, sae: str) -> Iterator[bytes]:
    """A tar file in pieces, file by file; what it is made from goes with it."""
    with TemporaryDirectory(prefix="atlas-export-") as folder:
        source, out = write_neuronpedia(atlas, sae, FilePath(folder)), _Pieces()
        with tarfile.open(fileobj=out, mode="w|") as tar:
            for path in sorted(source.rglob("*")):
                tar.add(path, path.relative_to(folder).as_posix(), recursive=False)
                yield out.take()
        yield out.take()


@router.get(
    "/saes/{model}/{sae}/export/{table}",
    responses=answers(_MEDIA["parquet"], or_text=_MEDIA["jsonl"]),
)
def export_table(
    model: str, sae: str, table: Table, asked: OfEvidence, format: Form = "parquet"
) -> Response:
    """One table of an SAE, whole, with the columns of a bundle's table; sent as it is read."""
    rows = asked.atlas.export(f"{model}/{sae}", table)
    name = f"{model}_{sae}_{table}.{format}"
    headers = asked.headers | {"Content-Disposition": f'attachment; filename="{name}"'}
    if format == "jsonl":
        return StreamingResponse(_lines(rows), 200, headers, _MEDIA[format])
    packed = {"Content-Encoding": "identity"}  # its columns are compressed already
    return StreamingResponse(_parquet(rows), 200, headers | packed, _MEDIA[format])


def _lines(rows: Rows) -> Iterator[bytes]:
    for batch in rows.batches:
        yield "".join(lines(iter([batch]))).encode()


def _parquet(rows: Rows) -> Iterator[bytes]:
    """A Parquet file in pieces: each batch as it is written, the footer at the end."""
    out = _Pieces()
    with pq.ParquetWriter(out, rows.schema, compression="zstd") as writer:
        for batch in rows.batches:
            writer.write_batch(batch)
            yield out.take()
    yield out.take()


class _Pieces(io.RawIOBase):
    """A file that is only written to; what was written is taken away piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._held, self._at = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self._held += piece
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        """What was written since the last time."""
        piece, self._held = bytes(self._held), bytearray()
        return piece
