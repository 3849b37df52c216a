"""Token ids of every context, read straight from files: a page of examples needs sixty of them.

The table `context` has them too; it packs two thousand rows together, and to read one of them is to
unpack them all.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from atlas.errors import StoreError

FOLDER = "texts"
_ROWS = 50_000
_SIZES = """
SELECT count(*), coalesce(sum(len(tokens)), 0), coalesce(max(list_max(tokens)), 0) FROM context
"""
_TOKENS = "SELECT ctx, tokens FROM context ORDER BY ctx"


def build(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the files of an open database's contexts into a new folder.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir()
    ((rows, total, largest),) = con.execute(_SIZES).fetchall()
    kind = np.uint16 if largest < 2**16 else np.int32
    numbers, ends = np.zeros(rows, np.int64), np.zeros(rows + 1, np.int64)
    tokens = _new(folder / "tokens.npy", kind, int(total))
    at = 0
    for batch in con.execute(_TOKENS).to_arrow_reader(_ROWS):
        stop = at + batch.num_rows
        numbers[at:stop] = batch.column(0).to_numpy()
        lengths = batch.column(1).value_lengths().to_numpy(zero_copy_only=False)
        ends[at + 1 : stop + 1] = ends[at] + np.cumsum(lengths)
        tokens[ends[at] : ends[stop]] = batch.column(1).flatten().to_numpy()
        at = stop
    tokens.flush()
    np.save(folder / "contexts.npy", numbers)
    np.save(folder / "ends.npy", ends)


def _new(path: Path, kind: Any, size: int) -> np.memmap[Any, Any]:
    # A file cannot be mapped without a byte; the one too many is never read.
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(max(1, size),))


class Texts:
    """The opened files of one snapshot; safe to ask from many threads."""

    def __init__(self, folder: Path) -> None:
        """Open the files in `folder`. Raises StoreError when they are damaged."""
        try:
            self._numbers = np.load(folder / "contexts.npy")
            self._ends = np.load(folder / "ends.npy")
            self._tokens: npt.NDArray[Any] = np.load(folder / "tokens.npy", mmap_mode="r")
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the texts {folder} cannot be opened: {error}",
                "remove this snapshot and publish the bundles again",
            ) from error

    def tokens(self, context: int) -> list[int]:
        """Token ids of a context that is there."""
        at = int(np.searchsorted(self._numbers, context))
        found: list[int] = self._tokens[self._ends[at] : self._ends[at + 1]].tolist()
        return found
