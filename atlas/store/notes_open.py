"""Opening the notes: SQLite or PostgreSQL, pragmas, migrations, and what can go wrong there."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from atlas.bundle import sync_and_rename
from atlas.errors import Busy, StoreError

BUSY_SECONDS = 30
"""How long a writer waits for its turn."""
_MIGRATION_LOCK = 4_179_630  # any number, the same in every program that migrates notes
_BUSY = ("database is locked", "lock timeout", "LockNotAvailable")
_DAMAGED = ("malformed", "not a database", "quick_check")


def migrations() -> Path:
    """The Alembic folder: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "migrations" / "notes"
    return inside if inside.is_dir() else package.parent / "migrations" / "notes"


def open_engine(where: str | Path, *, upgrade: bool = False, scripts: Path | None = None) -> Engine:
    """An engine on notes of this program's revision.

    A SQLite file is made when missing and upgraded when old, after a copy of it was put aside. A
    PostgreSQL database is filled when empty; an old one is upgraded only when asked for, since
    other people's programs use it.

    Args:
        where: path of a SQLite file, or a URL such as postgresql+psycopg://host/name.
        upgrade: whether an old PostgreSQL database is brought up to date.
        scripts: the Alembic folder, when not this program's own.

    Raises:
        StoreError: the notes are damaged, of another revision, or cannot be reached.
    """
    url = _url(where)
    is_file = url.get_backend_name() == "sqlite"
    with translated(url):
        _bring_to_head(url, scripts or migrations(), upgrade=upgrade or is_file)
    return _engine(url)


def reader(engine: Engine) -> Engine:
    """The engine for reading: one consistent state per transaction, no locks."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writer(engine: Engine) -> Engine:
    """The engine for writing: on SQLite a transaction takes the write lock when it begins."""
    return engine.execution_options(writes=True)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn what a database driver raises into what a user can act on.

    Raises:
        Busy: other writers held the notes too long.
        StoreError: the notes are damaged or cannot be used.
    """
    name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string()
    try:
        yield
    except IntegrityError:
        raise  # a mistake of this program: never dressed up as the user's
    except (DBAPIError, sqlite3.Error) as error:
        raw = getattr(error, "orig", None) or error
        reason = f"{type(raw).__name__}: {str(raw).splitlines()[0] if str(raw) else ''}"
        if any(word in reason for word in _BUSY):
            raise Busy(f"the notes are busy ({reason})", "try again in a moment") from error
        if any(word in reason for word in _DAMAGED):
            raise StoreError(f"the notes at {name} are damaged ({reason})", _RESTORE) from error
        raise StoreError(f"the notes at {name} cannot be used ({reason})") from error


_RESTORE = "move the file away and restore a backup, or import an export into a new one"


def _url(where: str | Path) -> URL:
    if isinstance(where, Path) or "://" not in where:
        path = Path(where).absolute()
        if not path.parent.is_dir():
            raise StoreError(f"no folder {path.parent}", "the notes file belongs in a store folder")
        return URL.create("sqlite", database=str(path))
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise StoreError("the notes' URL does not parse", _URL_FORM) from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"notes cannot live in {url.get_backend_name()}", _URL_FORM)
    return url


_URL_FORM = "give a path, or a URL such as postgresql+psycopg://user@host/atlas"


def _engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, foreign_keys=foreign_keys)
    options = f"-c lock_timeout={BUSY_SECONDS}s"
    try:
        return create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": 10, "options": options}
        )
    except (ImportError, NoSuchModuleError) as error:
        raise StoreError(
            f"no driver for {url.drivername}", "pip install 'feature-atlas[postgres]'"
        ) from error


def _sqlite(url: URL, *, foreign_keys: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours: see below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _bring_to_head(url: URL, scripts: Path, *, upgrade: bool) -> None:
    """Check the notes' revision and migrate them when needed, all or nothing."""
    head = ScriptDirectory(str(scripts)).get_current_head()
    engine = _engine(url, foreign_keys=False)  # a migration may rebuild a table others point to
    try:
        with engine.begin() as connection:
            _check_whole(connection)
            if _revision(connection) == head:
                return
        with writer(engine).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            revision = _revision(connection)
            if revision != head:
                _refuse_strange(connection, url, revision, scripts, upgrade=upgrade)
                if revision and url.get_backend_name() == "sqlite":
                    _put_aside(Path(str(url.database)), str(head))
                _migrate(connection, scripts)
    finally:
        engine.dispose()


def _check_whole(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise sqlite3.DatabaseError(f"quick_check: {found}")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_strange(
    connection: Connection, url: URL, revision: str | None, scripts: Path, *, upgrade: bool
) -> None:
    name = url.render_as_string()
    if revision is None:
        if inspect(connection).get_table_names():
            raise StoreError(f"{name} holds something else than notes", "give another place")
        return
    known = {script.revision for script in ScriptDirectory(str(scripts)).walk_revisions()}
    if revision not in known:
        raise StoreError(
            f"the notes at {name} are of a newer version ({revision})", "upgrade feature-atlas"
        )
    if not upgrade:
        raise StoreError(
            f"the notes at {name} are of an older version ({revision})",
            "make a backup, then run `atlas notes upgrade`",
        )


def _migrate(connection: Connection, scripts: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _put_aside(path: Path, revision: str) -> Path:
    """Copy a SQLite file to `<name>.before-<revision>`, or to a free name made from that."""
    wanted = path.with_name(f"{path.name}.before-{revision}")
    names = [wanted, *(wanted.with_name(f"{wanted.name}-{n}") for n in range(2, 100))]
    target = next((name for name in names if not name.exists()), names[-1])
    draft = target.with_name(f"{target.name}.partial")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as copy:
        source.backup(copy)
    sync_and_rename(draft, target)
    return target
