"""Tokens, document and source of every context, read straight from files: a page needs sixty.

The table `context` has them too; it packs two thousand rows together, and to read one of them is to
unpack them all.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from atlas.errors import StoreError
from atlas.store.lists import new, opened

FOLDER = "texts"
_ROWS = 50_000
_SIZES = """
SELECT count(*), coalesce(sum(len(tokens)), 0), coalesce(max(list_max(tokens)), 0) FROM context
"""
_TOKENS = "SELECT ctx, tokens, doc, source, start FROM context ORDER BY ctx"
_PLACE = ("doc", "source", "start")


def build(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the files of an open database's contexts into a new folder.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir()
    ((rows, total, largest),) = con.execute(_SIZES).fetchall()
    kind = np.uint16 if largest < 2**16 else np.int32
    numbers, ends = np.zeros(rows, np.int64), np.zeros(rows + 1, np.int64)
    tokens = new(folder / "tokens.npy", kind, (int(total),))
    reader, at = con.execute(_TOKENS).to_arrow_reader(_ROWS), 0
    places = pa.schema([reader.schema.field(name) for name in _PLACE])
    with (
        pa.OSFile(str(folder / "places.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, places) as out,
    ):
        for batch in reader:
            stop = at + batch.num_rows
            numbers[at:stop] = batch.column(0).to_numpy()
            lengths = batch.column(1).value_lengths().to_numpy(zero_copy_only=False)
            ends[at + 1 : stop + 1] = ends[at] + np.cumsum(lengths)
            tokens[ends[at] : ends[stop]] = batch.column(1).flatten().to_numpy()
            out.write_batch(batch.select(list(_PLACE)))
            at = stop
    tokens.flush()
    np.save(folder / "contexts.npy", numbers)
    np.save(folder / "ends.npy", ends)


class Texts:
    """The opened files of one snapshot; safe to ask from many threads."""

    def __init__(self, folder: Path) -> None:
        """Open the files in `folder`. Raises StoreError when they are damaged."""
        try:
            self._numbers = np.load(folder / "contexts.npy")
            self._ends = np.load(folder / "ends.npy")
            self._tokens: npt.NDArray[Any] = opened(folder / "tokens.npy")
            with pa.memory_map(str(folder / "places.arrow")) as source:
                self._places = pa.ipc.open_file(source).read_all()
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            raise StoreError(
                f"the texts {folder} cannot be opened: {error}",
                "remove this snapshot and publish the bundles again",
            ) from error

    def of(self, context: int) -> dict[str, Any]:
        """Token ids, document, source and start of a context that is there."""
        at = int(np.searchsorted(self._numbers, context))
        (place,) = self._places.slice(at, 1).to_pylist()
        return {**place, "tokens": self._tokens[self._ends[at] : self._ends[at + 1]].tolist()}
