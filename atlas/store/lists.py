"""What lists of features are filtered, sorted, counted and shown by, read straight from files.

A row per feature, SAE by SAE in the order of their ids, so that the row of a feature is its index
behind its SAE's first row. A search then costs what it looks at: a column is one array on disk.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from atlas.errors import StoreError

Rows = slice | npt.NDArray[np.int64]
"""Features as ascending rows; a slice stands for all of some SAEs."""
FOLDER = "lists"
CHANCE = 0.65
"""Balanced accuracy below which a label says little; guessing gives 0.5."""
SUPPORT = 0.5
"""Support below which a rule speaks of the minority of the examples."""
FIRINGS = 20
"""Firings below which there is too little to explain and to judge by."""
SHARES = ("dfa_share", "weight_share")
"""What a head gives to a feature, by measurement and by weights."""
DISAGREE, WEAK, CONTRADICTED, FAILED, UNSCORED = (1 << bit for bit in range(5))
"""Bits of `calls`: why a feature calls for a person."""
_BATCH = 65_536
_SAES = "SELECT sae, model, d_sae FROM sae ORDER BY model, layer, set_name"
_NAMES = {
    "family": "SELECT DISTINCT family FROM feature WHERE family IS NOT NULL ORDER BY ALL",
    "method": "SELECT DISTINCT method FROM title WHERE method IS NOT NULL ORDER BY ALL",
}
_ROWS = """
SELECT f.feature, f.firings::BIGINT AS firings, f.density, f.max_act, f.mean_act,
  coalesce(list_position($family::VARCHAR[], f.family) - 1, -1)::SMALLINT AS family,
  coalesce(list_position($method::VARCHAR[], t.method) - 1, -1)::SMALLINT AS method,
  coalesce(f.weight_head, -1)::SMALLINT AS weight_head,
  coalesce(f.dfa_head, -1)::SMALLINT AS dfa_head,
  f.weight_share, f.dfa_share, f.disagreement, t.support, t.score,
  coalesce(f.disagree::UTINYINT, 2) AS disagree,
  CASE WHEN f.firings >= $firings THEN
    1 * coalesce(f.disagree, false)::UTINYINT
    + 2 * coalesce(t.score < $chance, t.method = 'tokens' AND t.support < $support, false)::UTINYINT
    + 4 * (c.feature IS NOT NULL)::UTINYINT + 8 * (x.feature IS NOT NULL)::UTINYINT
    + 16 * coalesce(t.method = 'llm' AND t.score IS NULL, false)::UTINYINT
    ELSE 0 END::UTINYINT AS calls,
  coalesce(k.kept, 0)::SMALLINT AS kept, f.histogram, t.text AS title
FROM feature f LEFT JOIN title t ON t.sae = f.sae AND t.feature = f.feature
  LEFT JOIN (SELECT DISTINCT feature FROM label
             WHERE sae = $sae AND side = 'fetches' AND support_high < $support) c
    ON c.feature = f.feature
  LEFT JOIN (SELECT DISTINCT feature FROM label_failure WHERE sae = $sae) x
    ON x.feature = f.feature
  LEFT JOIN (SELECT feature, count(*) AS kept FROM example
             WHERE sae = $sae AND kind = 'top' GROUP BY feature) k ON k.feature = f.feature
WHERE f.sae = $sae ORDER BY f.feature
"""
_BINS = "SELECT coalesce(max(len(histogram)), 0) FROM feature"
_GIVEN = """
SELECT feature, head, dfa_share, weight_share FROM feature_head WHERE sae = $sae
"""
_KINDS: Mapping[str, Any] = {
    "place": np.int16, "firings": np.int64, "density": np.float64, "max_act": np.float32,
    "mean_act": np.float32, "family": np.int16, "method": np.int16, "weight_head": np.int16,
    "dfa_head": np.int16, "weight_share": np.float32, "dfa_share": np.float32,
    "disagreement": np.float32, "support": np.float32, "score": np.float32,
    "disagree": np.uint8, "calls": np.uint8, "kept": np.int16,
}  # fmt: skip
_TITLES = pa.schema([("title", pa.string())])


def build(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the files of an open database into a new folder.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir()
    saes = con.execute(_SAES).fetchall()
    names = {key: [row[0] for row in con.execute(sql).fetchall()] for key, sql in _NAMES.items()}
    (folder / "names.json").write_text(json.dumps(names))
    starts = np.concatenate([[0], np.cumsum([size for _, _, size in saes])]).astype(np.int64)
    np.save(folder / "saes.npy", np.array([number for number, _, _ in saes], np.int64))
    np.save(folder / "starts.npy", starts)
    ((heads,),) = con.execute("SELECT coalesce(max(n_heads), 0) FROM model").fetchall()
    rows = int(starts[-1])
    columns = {name: new(folder / f"{name}.npy", kind, (rows,)) for name, kind in _KINDS.items()}
    ((bins,),) = con.execute(_BINS).fetchall()
    histograms = new(folder / "histograms.npy", np.int32, (rows, bins))
    shares = {name: new(folder / f"by_{name}.npy", np.float32, (heads, rows)) for name in SHARES}
    with (
        pa.OSFile(str(folder / "titles.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, _TITLES) as titles,
    ):
        for place, (number, _, _) in enumerate(saes):
            at = slice(starts[place], starts[place + 1])
            columns["place"][at] = place
            values = {"sae": number, **names, "chance": CHANCE, "support": SUPPORT}
            for batch in _sae(con, values | {"firings": FIRINGS}):
                _fill(columns, starts[place], batch)
                _fill_histograms(histograms, int(starts[place]), batch)
                titles.write_batch(batch.select(["title"]))
            for name in SHARES:
                shares[name][:, at] = np.nan
            _fill_shares(con, number, shares, int(starts[place]))
    for array in (*columns.values(), *shares.values(), histograms):
        array.flush()


def _sae(con: duckdb.DuckDBPyConnection, values: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    yield from con.execute(_ROWS, values).to_arrow_reader(_BATCH)


def _fill(columns: Mapping[str, npt.NDArray[Any]], start: int, batch: pa.RecordBatch) -> None:
    rows = start + batch.column("feature").to_numpy()
    for name, column in columns.items():
        if name != "place":
            column[rows] = batch.column(name).to_numpy(zero_copy_only=False)


def _fill_histograms(histograms: npt.NDArray[Any], start: int, batch: pa.RecordBatch) -> None:
    counts = batch.column("histogram")
    known = counts.value_lengths().fill_null(0).to_numpy(zero_copy_only=False) > 0
    rows = start + batch.column("feature").to_numpy()[known]
    histograms[rows] = counts.flatten().to_numpy().reshape(len(rows), -1)


def _fill_shares(
    con: duckdb.DuckDBPyConnection, sae: int, shares: Mapping[str, npt.NDArray[Any]], start: int
) -> None:
    for batch in con.execute(_GIVEN, {"sae": sae}).to_arrow_reader(_BATCH):
        rows, head = start + batch.column("feature").to_numpy(), batch.column("head").to_numpy()
        for name, share in shares.items():
            share[head, rows] = batch.column(name).to_numpy(zero_copy_only=False)


def new(path: Path, kind: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new array in a file; one row longer than asked for where that would be nothing."""
    # A file cannot be mapped without a byte; the one too many is never read.
    shape = shape if all(shape) else tuple(max(1, size) for size in shape)
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)


class Lists:
    """The opened files of one snapshot; safe to ask from many threads."""

    def __init__(self, folder: Path) -> None:
        """Open the files in `folder`. Raises StoreError when they are damaged."""
        try:
            names = json.loads((folder / "names.json").read_text())
            self.families: tuple[str, ...] = tuple(names["family"])
            self.methods: tuple[str, ...] = tuple(names["method"])
            self.saes: npt.NDArray[np.int64] = np.load(folder / "saes.npy")
            self.starts: npt.NDArray[np.int64] = np.load(folder / "starts.npy")
            self.size = int(self.starts[-1])
            self._columns = {name: opened(folder / f"{name}.npy") for name in _KINDS}
            self._histograms = opened(folder / "histograms.npy")
            self._shares = {name: opened(folder / f"by_{name}.npy") for name in SHARES}
            with pa.memory_map(str(folder / "titles.arrow")) as source:
                self._titles = pa.ipc.open_file(source).read_all().column("title")
        except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
            raise StoreError(
                f"the lists {folder} cannot be opened: {error}",
                "remove this snapshot and publish the bundles again",
            ) from error
        self._first = np.zeros(int(self.saes.max(initial=-1)) + 1, np.int64)
        self._first[self.saes] = self.starts[:-1]

    def column(self, name: str) -> npt.NDArray[Any]:
        """`[feature]`, one statistic of every feature; NaN or -1 where it is not known."""
        return self._columns[name][: self.size]

    def share(self, name: str, head: int) -> npt.NDArray[np.float32]:
        """`[feature]`, the share of one head in every feature, NaN where it is not known."""
        return self._shares[name][head, : self.size]

    def of(self, places: Iterable[int]) -> Rows:
        """All rows of the SAEs at some places in the order of their ids."""
        places = sorted(places)
        if not places:
            return slice(0, 0)
        if len(places) == places[-1] - places[0] + 1:
            return slice(int(self.starts[places[0]]), int(self.starts[places[-1] + 1]))
        return np.concatenate([np.arange(*self.starts[[one, one + 1]]) for one in places])

    def rows(self, sae: Any, feature: Any) -> Any:
        """Rows of features by SAE number and index, single or as arrays."""
        return self._first[sae] + feature

    def keys(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """SAE numbers and indices of rows."""
        places = np.searchsorted(self.starts, rows, side="right") - 1
        return self.saes[places], rows - self.starts[places]

    def title(self, row: int) -> str | None:
        """Title of a feature."""
        text: str | None = self._titles[row].as_py()
        return text

    def histogram(self, row: int) -> tuple[int, ...]:
        """How a feature's activations are spread; empty where none were counted."""
        counts = self._histograms[row]
        return tuple(counts.tolist()) if counts.any() else ()

    def values(self, row: int, names: Sequence[str]) -> dict[str, Any]:
        """Some statistics of one feature, None where one is not known."""
        found = {name: self._columns[name][row].item() for name in names}
        return {name: None if value != value else value for name, value in found.items()}


def opened(path: Path) -> npt.NDArray[Any]:
    """An array in a file, of which only what is looked at is read."""
    found: npt.NDArray[Any] = np.load(path, mmap_mode="r").view(np.ndarray)
    return found


def first(values: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Places of the `count` smallest values in order; of equal ones those that come first."""
    if count == 0:
        return np.zeros(0, np.int64)
    if count >= len(values):
        return np.argsort(values, kind="stable")
    last = np.partition(values, count - 1)[count - 1]
    below = np.flatnonzero(values < last)
    equal = np.flatnonzero(values == last)[: count - len(below)]
    found = np.sort(np.concatenate([below, equal]))
    return found[np.argsort(values[found], kind="stable")]
