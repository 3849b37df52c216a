"""The strongest examples of every feature, read straight from a file: a list shows one per feature.

The table `example` has them too; it packs two thousand rows together, and to read one of them is to
unpack them all.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from atlas.errors import StoreError
from atlas.store.lists import Lists, new, opened

FOLDER = "bests"
RANKS = 4
"""Top examples of a feature that are kept: a pair's strongest example is seldom a weak one."""
_ROWS = 16_384
_SAES = "SELECT sae FROM sae ORDER BY model, layer, set_name"
_BEST = """
SELECT * FROM example WHERE sae = $sae AND kind = 'top' AND rank < $ranks ORDER BY feature, rank
"""
_BIAS = "SELECT bias FROM feature WHERE sae = $sae ORDER BY feature"


def build(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the files of an open database into a new folder.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir()
    schema = con.execute(_BEST, {"sae": -1, "ranks": RANKS}).to_arrow_reader(1).schema
    places: list[Any] = []
    biases: list[Any] = []
    at = 0
    with (
        pa.OSFile(str(folder / "examples.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, schema) as out,
    ):
        for (sae,) in con.execute(_SAES).fetchall():
            bias = con.execute(_BIAS, {"sae": sae}).fetchnumpy()["bias"]
            place = np.full((len(bias), RANKS), -1, np.int32)
            for batch in con.execute(_BEST, {"sae": sae, "ranks": RANKS}).to_arrow_reader(_ROWS):
                rows = tuple(batch.column(name).to_numpy() for name in ("feature", "rank"))
                place[rows] = np.arange(at, at + batch.num_rows)
                at += batch.num_rows
                out.write_batch(batch)
            places.append(place)
            biases.append(np.ma.filled(bias, np.nan).astype(np.float32))
    _save(folder / "places.npy", places, (RANKS,), np.int32)
    _save(folder / "biases.npy", biases, (), np.float32)


def _save(path: Path, parts: list[Any], width: tuple[int, ...], kind: Any) -> None:
    whole = np.concatenate([np.zeros((0, *width), kind), *parts])
    new(path, kind, whole.shape)[: len(whole)] = whole


class Bests:
    """The opened files of one snapshot; safe to ask from many threads."""

    def __init__(self, folder: Path, lists: Lists) -> None:
        """Open the files in `folder`. Raises StoreError when they are damaged."""
        self._lists = lists
        try:
            self._places, self._biases = (opened(folder / f"{n}.npy") for n in ("places", "biases"))
            with pa.memory_map(str(folder / "examples.arrow")) as source:
                self._examples = pa.ipc.open_file(source).read_all()
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            raise StoreError(
                f"the best examples {folder} cannot be opened: {error}",
                "remove this snapshot and publish the bundles again",
            ) from error

    def best(self, sae: int, feature: int, rank: int) -> dict[str, Any] | None:
        """Row of a feature's top example of a rank below RANKS; None where there is none."""
        place = int(self._places[self._lists.rows(sae, feature), rank])
        if place < 0:
            return None
        (found,) = self._examples.slice(place, 1).to_pylist()
        return dict(found)

    def bias(self, sae: int, feature: int) -> float:
        """Bias of a feature."""
        return float(self._biases[self._lists.rows(sae, feature)])
