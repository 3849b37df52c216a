"""Published snapshots on disk: their names, which of them can be served, how they are opened.

Layout of a store: `snapshots/000001/` with `evidence.duckdb`, `search/`, `sizes.json` and
`sha256.json`;
`weights/` with one file per run, named by its hash; `bundles/` where runs write. A snapshot's name
is never used twice, because DuckDB keeps opened files by path inside a process.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import platformdirs

from atlas.bundle import sha256_file
from atlas.errors import StoreError
from atlas.store import schema
from atlas.types import Snapshot

DATABASE = "evidence.duckdb"
SEARCH = "search"
SIZES = "sizes.json"
"""Bytes of every file of a snapshot: DuckDB opens a file that has lost its end."""
HASHES = "sha256.json"
"""SHA-256 of every file of a snapshot: a byte that turns in the middle shows only when read."""
_NAME = re.compile(r"\d{6,}")
_AGAIN = "remove the folder and publish the bundles again"
_EMPTY = "run `atlas demo` or `atlas publish`"


@dataclass(frozen=True, slots=True)
class Refused:
    """A snapshot that is on disk and cannot be served."""

    name: str
    error: StoreError


def folder(store: Path) -> Path:
    """Where a store keeps its snapshots."""
    return store / "snapshots"


def numbers(store: Path) -> tuple[int, ...]:
    """Numbers of all snapshots on disk, newest first, readable or not."""
    try:
        names = os.listdir(folder(store))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted((int(name) for name in names if _NAME.fullmatch(name)), reverse=True))


def path_of(store: Path, number: int) -> Path:
    """The folder of a snapshot."""
    return folder(store) / f"{number:06d}"


def limits(spill: Path, *, threads: int | None = None) -> dict[str, Any]:
    """Settings of every DuckDB connection: memory, threads, and where sorts spill to.

    DuckDB's own default spills beside the database, which is a sealed folder. Few threads, because
    the queries of a page are small and several pages are asked for at once.
    """
    return {
        "memory_limit": "2GB",
        "threads": str(threads or max(1, min(4, (os.cpu_count() or 1) // 2))),
        "temp_directory": str(spill),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to a snapshot's database; the same settings for every caller.

    DuckDB refuses a second connection to one file with other settings.
    """
    spill = platformdirs.user_cache_path("feature-atlas") / f"spill-{os.getpid()}"
    return duckdb.connect(str(path / DATABASE), read_only=True, config=limits(spill))


def version_of(store: Path, number: int) -> int:
    """The schema version of a snapshot, whether or not this program can read it.

    Raises:
        StoreError: it is missing, damaged, or was written to after it was published.
    """
    ((version,),) = _peek(store, number, "SELECT max(version) FROM schema_version")
    return int(version)


def weights_of(store: Path, number: int) -> set[str]:
    """Hashes of the weights that a snapshot's SAEs have. Raises StoreError like `version_of`."""
    return {row[0] for row in _peek(store, number, "SELECT weights_sha256 FROM sae")}


def open_number(store: Path, number: int) -> tuple[Snapshot, duckdb.DuckDBPyConnection]:
    """Open one snapshot for reading.

    Raises:
        StoreError: it is missing, damaged, written to after it was published, or its schema is
            another than this program's.
    """
    path = path_of(store, number)
    _check_files(store, path)
    if has_hashes(store, number):
        # DuckDB checks each block that it reads; what reads the other files does not.
        verify(store, number, database=False)
    try:
        con = connect(path)
    except (duckdb.Error, OSError) as error:
        raise _damaged(path, error) from error
    try:
        version = schema.version_of(con)
        schema.check_version(version, schema.steps()[-1].version, f"snapshot {path.name}")
        found = con.execute("SELECT number, published_at FROM snapshot").fetchall()
    except duckdb.Error as error:
        con.close()
        raise _damaged(path, error) from error
    except StoreError:
        con.close()
        raise
    if [row[0] for row in found] != [number]:
        con.close()
        raise StoreError(f"snapshot {path.name} says that it is {found}", "publish again")
    return Snapshot(number, path, version, found[0][1].replace(tzinfo=UTC)), con


def open_named(store: Path, name: str) -> tuple[Snapshot, duckdb.DuckDBPyConnection]:
    """Open one snapshot by its folder's name, such as `000003`. Raises StoreError."""
    if not _NAME.fullmatch(name):
        raise StoreError(f"not a snapshot name: {name[:40]!r}", "a name looks like 000003")
    return open_number(store, int(name))


def open_newest(
    store: Path, bad: Mapping[int, StoreError] = MappingProxyType({})
) -> tuple[Snapshot, duckdb.DuckDBPyConnection, tuple[Refused, ...]]:
    """Open the newest snapshot that can be served, and name the newer ones that cannot.

    Args:
        store: the store's folder.
        bad: snapshots by number that were found damaged, with what was found.

    Raises:
        StoreError: there is no snapshot, or none that can be served; every reason is named.
    """
    refused: list[Refused] = []
    for number in numbers(store):
        try:
            if number in bad:
                raise bad[number]
            snapshot, con = open_number(store, number)
        except StoreError as error:
            refused.append(Refused(f"{number:06d}", error))
        else:
            return snapshot, con, tuple(refused)
    if not refused:
        raise StoreError(f"no atlas at {store}", _EMPTY)
    reasons = "; ".join(one.error.message for one in refused)
    raise StoreError(f"no snapshot of {store} can be served: {reasons}", refused[0].error.hint)


def _peek(store: Path, number: int, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query that holds for every version of the schema."""
    path = path_of(store, number)
    _check_files(store, path)
    try:
        with closing(connect(path)) as con:
            return con.execute(sql).fetchall()
    except (duckdb.Error, OSError) as error:
        raise _damaged(path, error) from error


def _check_files(store: Path, path: Path) -> None:
    if not path.is_dir():
        known = ", ".join(f"{number:06d}" for number in numbers(store))
        hint = f"this store has {known}" if known else _EMPTY
        raise StoreError(f"no snapshot {path.name} at {store}", hint)
    if (path / f"{DATABASE}.wal").exists():
        raise StoreError(
            f"snapshot {path.name} has a {DATABASE}.wal beside it: it was written to after it was"
            " published",
            _AGAIN,
        )
    try:
        sizes: dict[str, int] = json.loads((path / SIZES).read_text())
        wrong = [name for name, size in sizes.items() if (path / name).stat().st_size != size]
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if wrong:
        raise StoreError(
            f"snapshot {path.name}: {wrong[0]} has not the size that was published",
            _AGAIN,
        )


def has_hashes(store: Path, number: int) -> bool:
    """Whether a snapshot was published with checksums: the first ones were not."""
    return (path_of(store, number) / HASHES).exists()


def verify(store: Path, number: int, *, database: bool = True) -> None:
    """Read every byte of a snapshot and compare it with what was published.

    Args:
        store: the store's folder.
        number: of the snapshot.
        database: whether the database is read too, which is most of it.

    Raises:
        StoreError: names the first file that is another, or a snapshot that has no checksums.
    """
    path = path_of(store, number)
    _check_files(store, path)
    try:
        hashes: dict[str, str] = json.loads((path / HASHES).read_text())
        wrong = [
            name
            for name, known in hashes.items()
            if (database or name != DATABASE) and sha256_file(path / name) != known
        ]
    except FileNotFoundError as error:
        raise StoreError(
            f"snapshot {path.name} was published without checksums", "publish once more"
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if wrong:
        raise StoreError(
            f"snapshot {path.name}: {wrong[0]} has other bytes than were published", _AGAIN
        )


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"snapshot {path.name} cannot be opened: {str(error).splitlines()[0]}",
        _AGAIN,
    )
