"""What a run leaves on disk: Parquet tables, the SAEs' weights, and `manifest.json` last.

A folder without a manifest is not a bundle yet; a folder whose files do not match the manifest's
hashes is damaged. Both are refused by name. What tables hold: atlas/tables.py.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas.errors import BundleError
from atlas.tables import TABLES

VERSION = 1
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a bundle as its manifest lists it."""

    sha256: str
    rows: int
    """Rows of a table; 0 for the weights."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A complete bundle on disk."""

    path: Path
    run: str
    files: Mapping[str, File] = field(default_factory=dict)
    """File name to hash and rows."""

    @property
    def sha256(self) -> str:
        """Fingerprint of the whole: of the sorted file names and their hashes."""
        lines = "".join(f"{name} {file.sha256}\n" for name, file in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """Rows per table."""
        return {
            name.removesuffix(".parquet"): file.rows
            for name, file in sorted(self.files.items())
            if name.endswith(".parquet")
        }

    def table_path(self, table: str) -> Path | None:
        """The Parquet file of `table`, or None when this bundle has none."""
        name = f"{table}.parquet"
        return self.path / name if name in self.files else None

    def read(self, table: str) -> pa.Table:
        """All rows of `table`; an empty table when this bundle has none."""
        path = self.table_path(table)
        return pq.read_table(path) if path else TABLES[table].empty_table()


def write_table(folder: Path, name: str, rows: pa.Table | Mapping[str, Any]) -> Path:
    """Write one table of a bundle whole or not at all (temporary name, sync, rename).

    Args:
        folder: the bundle's folder, made when missing.
        name: a key of TABLES.
        rows: a table, or columns by name; cast to the table's schema.

    Raises:
        BundleError: a column is missing, unknown or of another type.
    """
    growing = GrowingTable(folder, name)
    growing.add(rows)
    return growing.close()


class GrowingTable:
    """A table of a bundle that is written part by part, so that no more than one is in memory.

    There is no file of its name before `close`; one that is never closed leaves a draft, which the
    next one replaces.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._target = folder / f"{name}.parquet"
        self._draft = self._target.with_suffix(".partial")
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table | Mapping[str, Any]) -> None:
        """Write some rows, as `write_table` takes them.

        Raises:
            BundleError: a column is missing, unknown or of another type.
        """
        table = _fitting(self._name, rows)
        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._draft, table.schema, compression="zstd")
        self._writer.write_table(table, row_group_size=122_880)

    def close(self) -> Path:
        """Give the file its name; something must have been added."""
        assert self._writer is not None
        self._writer.close()
        sync_and_rename(self._draft, self._target)
        return self._target


def _fitting(name: str, rows: pa.Table | Mapping[str, Any]) -> pa.Table:
    """Rows cast to the schema of a table."""
    schema = TABLES[name]
    try:
        table = rows if isinstance(rows, pa.Table) else pa.table(dict(rows))
        table = table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BundleError(f"table {name} does not fit its schema: {error}") from error
    extra = set(rows.column_names if isinstance(rows, pa.Table) else rows) - set(schema.names)
    if extra:
        raise BundleError(f"table {name} has unknown columns: {', '.join(sorted(extra))}")
    return table


def sync_and_rename(draft: Path, target: Path) -> None:
    """Give a finished file its name, so that a crash leaves the old state or the new one."""
    with draft.open("rb+") as handle:
        os.fsync(handle.fileno())
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def seal(folder: Path, run: str) -> Bundle:
    """Write the manifest of a folder whose tables are all there, and give the bundle back."""
    files = {}
    for path in sorted([*folder.glob("*.parquet"), *folder.glob(WEIGHTS)]):
        rows = pq.ParquetFile(path).metadata.num_rows if path.suffix == ".parquet" else 0
        files[path.name] = File(sha256_file(path), rows)
    manifest = {
        "version": VERSION,
        "run": run,
        "files": {name: asdict(file) for name, file in files.items()},
    }
    draft = folder / "manifest.partial"
    draft.write_text(json.dumps(manifest, indent=1, sort_keys=True))
    sync_and_rename(draft, folder / MANIFEST)
    return Bundle(folder, run, files)


def open_bundle(path: Path, *, check: bool = True) -> Bundle:
    """The bundle in a folder, its files compared with the manifest's hashes when `check`.

    Raises:
        BundleError: no folder, no manifest, a newer version, or a file that is missing or changed.
    """
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}", "give the folder that `atlas ingest` printed")
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise BundleError(
            f"bundle {path} is incomplete: it has no {MANIFEST}",
            "run the same `atlas ingest` again: it goes on where it stopped",
        )
    try:
        content = json.loads(manifest.read_text())
        version, run = int(content["version"]), str(content["run"])
        files = {str(name): File(**file) for name, file in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"bundle {path}: {MANIFEST} is damaged ({error})", "restore the folder or ingest again"
        ) from error
    if version > VERSION:
        raise BundleError(
            f"bundle {path} has version {version}; this program reads up to {VERSION}",
            "upgrade feature-atlas",
        )
    bundle = Bundle(path, run, files)
    if check:
        _check_files(bundle)
    return bundle


def _check_files(bundle: Bundle) -> None:
    for name, file in bundle.files.items():
        path = bundle.path / name
        if not path.is_file():
            raise BundleError(
                f"bundle {bundle.path}: {name} is missing", "restore the folder or ingest again"
            )
        if sha256_file(path) != file.sha256:
            raise BundleError(
                f"bundle {bundle.path}: {name} is not the file that was written",
                "restore the folder or ingest again",
            )
        table = name.removesuffix(".parquet")
        if name.endswith(".parquet") and table not in TABLES:
            raise BundleError(f"bundle {bundle.path}: unknown table {table}")
