"""Notes on a SQLite file and, where its programs are found, on a real PostgreSQL server."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atlas.store.notes import Notes


class Clock:
    """A clock that goes one second on with every look."""

    def __init__(self, start: datetime = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)) -> None:
        self.time = start

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


def _programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The socket folder of a PostgreSQL server that lives as long as the tests."""
    programs = _programs()
    if programs is None:
        pytest.skip("no initdb: PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    user = "nobody" if os.getuid() == 0 else None  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="atlas-pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(command, user=user, check=True, capture_output=True, cwd=folder, timeout=60)

    data = str(folder / "data")
    run(f"{programs}/initdb", "-D", data, "-U", "atlas", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=60"
    log = str(folder / "log")
    try:
        run(f"{programs}/pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        yield str(folder)
    finally:
        run(f"{programs}/pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


_numbers = itertools.count()


def empty_database(server: str, name: str) -> str:
    """The URL of a database of that name with nothing in it."""
    import psycopg

    def connect(database: str) -> psycopg.Connection:
        return psycopg.connect(f"host={server} user=atlas dbname={database}", autocommit=True)

    with connect("postgres") as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            with connect(name) as database:
                database.execute("DROP SCHEMA public CASCADE")
                database.execute("CREATE SCHEMA public")
        else:
            admin.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://atlas@/{name}?host={server}"


@pytest.fixture(params=["sqlite", "postgresql"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes places for empty stores: paths of files, or URLs of databases."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"notes-{next(_numbers)}.sqlite")
    server, names = request.getfixturevalue("server"), iter("abc")
    return lambda: empty_database(server, next(names))


@pytest.fixture
def place(new_place: Callable[[], str]) -> str:
    """The place of one empty store."""
    return new_place()


@pytest.fixture
def notes(place: str) -> Iterator[Notes]:
    """An empty store with a clock that ticks once a look."""
    with Notes.open(place, now=Clock()) as opened:
        yield opened


@pytest.fixture
def other(new_place: Callable[[], str]) -> Iterator[Notes]:
    """A second store on the same engine."""
    with Notes.open(new_place(), now=Clock(datetime(2026, 6, 1, tzinfo=UTC))) as opened:
        yield opened
