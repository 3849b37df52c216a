"""The versioned schema of the evidence: numbered SQL files, applied in order to a draft."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from atlas.errors import StoreError


@dataclass(frozen=True, slots=True)
class Step:
    """One migration, such as `0001_first.sql`."""

    version: int
    name: str
    sql: str


def migrations_folder(kind: str) -> Path:
    """The folder of one kind of migrations (`evidence`, `notes`), in a wheel or in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations" / kind
    return installed if installed.is_dir() else package.parent / "migrations" / kind


def steps(folder: Path | None = None) -> tuple[Step, ...]:
    """All evidence migrations in order, their versions counting from 1 without a gap."""
    found = []
    for path in sorted((folder or migrations_folder("evidence")).glob("[0-9]*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Step(int(number), name, path.read_text(encoding="utf-8")))
    assert [step.version for step in found] == list(range(1, len(found) + 1)), found
    return tuple(found)


def version_of(cursor: duckdb.DuckDBPyConnection) -> int:
    """The schema version of an open database; 0 for an empty one."""
    known = cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE table_name = 'schema_version'"
    ).fetchall()
    if not known:
        return 0
    ((version,),) = cursor.execute("SELECT max(version) FROM schema_version").fetchall()
    return int(version or 0)


def check_version(version: int, latest: int, name: str) -> None:
    """Refuse a database that this program cannot read.

    Raises:
        StoreError: `version` is not `latest`; both are named.
    """
    if version > latest:
        raise StoreError(
            f"{name} has schema version {version}; this program knows up to {latest}",
            "upgrade feature-atlas",
        )
    if version < latest:
        raise StoreError(
            f"{name} has schema version {version}; this program reads {latest}",
            "run `atlas publish` once: it brings the newest snapshot up to date",
        )


def migrate(con: duckdb.DuckDBPyConnection, todo: tuple[Step, ...] | None = None) -> int:
    """Apply the pending migrations, each in one transaction with the record of itself.

    Args:
        con: a writable connection outside any transaction.
        todo: all known migrations; those that ship with the program by default.

    Returns:
        The number of migrations applied.

    Raises:
        StoreError: the database is newer than the last known migration.
    """
    known = steps() if todo is None else todo
    version, latest = version_of(con), known[-1].version
    if version > latest:
        check_version(version, latest, "the store")
    for step in known[version:]:
        _apply(con, step)
    return latest - version


def _apply(con: duckdb.DuckDBPyConnection, step: Step) -> None:
    con.execute("BEGIN")
    try:
        con.execute(
            "CREATE TABLE IF NOT EXISTS schema_version"
            " (version INTEGER, name VARCHAR, applied_at TIMESTAMP)"
        )
        con.execute(step.sql)
        con.execute(
            "INSERT INTO schema_version VALUES ($version, $name, $now)",
            {
                "version": step.version,
                "name": step.name,
                "now": datetime.now(UTC).replace(tzinfo=None),
            },
        )
        con.execute("COMMIT")
    except duckdb.Error:
        con.execute("ROLLBACK")
        raise
