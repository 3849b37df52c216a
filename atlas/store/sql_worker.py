"""The child process that runs people's SQL: it can read one snapshot and the notes, nothing else.

It is started by file name with a bare environment and imports nothing of this project. It opens
the evidence read-only beside an in-memory database with the notes, switches external access off,
locks the configuration, limits itself through the operating system, and then answers one request
after the other. What still runs away is killed from outside.

A message is a length of eight bytes and that many bytes. Requests and replies start with a JSON
message; tables follow as Arrow streams.
"""

import contextlib
import json
import os
import queue
import re
import resource
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

_CONFIG: dict[str, str | int | float | list[str]] = {
    "threads": 1,
    "temp_directory": "",
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
}
_GRACE = 2.0
"""Seconds after its time limit when a query is killed even if the parent is gone."""
_AS_TEXT = re.compile(
    r"\b(UHUGEINT|BIT|BIGNUM|INTERVAL|TIME_NS|TIME WITH TIME ZONE|TIMESTAMP_NS|UNION|VARIANT)\b"
)
"""Types that Arrow cannot carry faithfully: they travel as text."""


class _WithoutPandas:
    """DuckDB and Arrow import pandas when they find it; here it costs 0.4 s and serves nothing."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


class Refused(Exception):
    """A query that is not run, with the reason."""


class TooLarge(Exception):
    """A result that is not sent."""


def read_message(pipe: BinaryIO) -> bytes:
    """The next message; EOFError at the end of the pipe."""
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    return pipe.read(int(struct.unpack(">Q", head)[0]))


def write_message(pipe: BinaryIO, body: bytes) -> None:
    """Send one message."""
    pipe.write(struct.pack(">Q", len(body)))
    pipe.write(body)
    pipe.flush()


class Watchdog:
    """Interrupts queries at their time limit. One thread, made while there is memory for it."""

    def __init__(self) -> None:
        self._queries: queue.SimpleQueue[tuple[Any, float, threading.Event]] = queue.SimpleQueue()
        threading.Thread(target=self._watch, daemon=True).start()

    def watch(self, cursor: duckdb.DuckDBPyConnection, seconds: float) -> threading.Event:
        """Interrupt `cursor` in `seconds`, unless the event that comes back is set before."""
        done = threading.Event()
        self._queries.put((cursor, seconds, done))
        return done

    def _watch(self) -> None:
        while True:
            cursor, seconds, done = self._queries.get()
            if not done.wait(seconds):
                with contextlib.suppress(duckdb.Error):  # closed just now: there is nothing to end
                    cursor.interrupt()


def open_database(evidence: str, memory: int) -> duckdb.DuckDBPyConnection:
    """The in-memory database with the evidence attached read-only, closed to everything else."""
    database = duckdb.connect(":memory:", config={**_CONFIG, "memory_limit": f"{memory}B"})
    quoted = evidence.replace("'", "''")
    database.execute(f"ATTACH '{quoted}' AS evidence (READ_ONLY)")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def limit_process(memory: int) -> None:
    """Let this process take `memory` more bytes, write no file, open few, leave no core dump."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    pages = Path("/proc/self/statm")
    if pages.exists():  # what is mapped already is libraries: not the query's doing
        mapped = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))


def load_notes(database: duckdb.DuckDBPyConnection, pipe: BinaryIO, names: list[str]) -> None:
    """Replace the notes tables by those that follow on the pipe."""
    for name in names:
        table = pa.ipc.open_stream(read_message(pipe)).read_all()
        database.register("incoming", table)
        database.execute(f'CREATE OR REPLACE TABLE memory.main."{name}" AS FROM incoming')
        database.unregister("incoming")


def answer(
    database: duckdb.DuckDBPyConnection, watchdog: Watchdog, request: dict[str, Any]
) -> tuple[Any, bytes]:
    """Run one query: the reply's header and its rows as an Arrow stream."""
    started = time.perf_counter()
    wrapped = one_select(database, request["query"], request["parameters"], request["rows"] + 1)
    cursor = database.cursor()
    done = watchdog.watch(cursor, request["seconds"])
    try:
        cursor.execute("SET search_path = 'evidence.main,memory.main'")
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        result = cursor.sql(wrapped, params=request["parameters"] or None)
        types = [str(kind) for kind in result.types]
        table = _sound(_carried(result, types).to_arrow_table())
    finally:
        done.set()
        cursor.close()
    header = {
        "ok": True,
        "types": types,
        "truncated": table.num_rows > request["rows"],
        "seconds": time.perf_counter() - started,
    }
    return header, _packed(table.slice(0, request["rows"]), request["bytes"])


def one_select(database: duckdb.DuckDBPyConnection, query: str, parameters: Any, rows: int) -> str:
    """The query cut off at `rows`. Raises Refused when it is not one SELECT with its parameters."""
    statements = database.extract_statements(query)
    if len(statements) != 1:
        raise Refused(f"one SELECT statement is allowed, this is {len(statements)} statements")
    statement = statements[0]
    if statement.type != duckdb.StatementType.SELECT:
        raise Refused(f"only SELECT is allowed, this is {statement.type.name}")
    named = isinstance(parameters, dict)
    given = set(parameters) if named else {str(n + 1) for n in range(len(parameters))}
    if missing := sorted(statement.named_parameters - given):
        raise Refused(f"parameters without a value: {', '.join(missing)}")
    if extra := sorted(given - statement.named_parameters):
        raise Refused(f"parameters that the query does not have: {', '.join(extra)}")
    wrapped = f"SELECT * FROM (\n{_without_semicolon(query)}\n) LIMIT {rows}"
    try:
        kinds = [found.type for found in database.extract_statements(wrapped)]
    except duckdb.ParserException:
        kinds = []
    if kinds != [duckdb.StatementType.SELECT]:
        raise Refused("only a SELECT that can stand in brackets is allowed")
    return wrapped


def _without_semicolon(query: str) -> str:
    """The query up to the semicolons that end it; comments after them go too."""
    text = query.encode()
    offsets = [offset for offset, _ in duckdb.tokenize(query)]
    while offsets and text[offsets[-1] : offsets[-1] + 1] == b";":
        text = text[: offsets.pop()]
    return text.decode()


def _carried(result: duckdb.DuckDBPyRelation, types: list[str]) -> duckdb.DuckDBPyRelation:
    """The result with what Arrow cannot carry turned into text."""
    if not any(_AS_TEXT.search(kind) for kind in types):
        return result
    columns = []
    for name, kind in zip(result.columns, types, strict=True):
        quoted = '"' + name.replace('"', '""') + '"'
        odd = _AS_TEXT.search(kind)
        columns.append(f"CAST({quoted} AS VARCHAR) AS {quoted}" if odd else quoted)
    return result.project(", ".join(columns))


def _sound(table: pa.Table) -> pa.Table:
    """The table with columns of integers beyond 38 digits, which Arrow cannot hold, as text."""
    for at, name in enumerate(table.column_names):
        try:
            table.column(at).validate(full=True)
        except pa.ArrowInvalid:
            values = [None if v is None else str(v) for v in table.column(at).to_pylist()]
            table = table.set_column(at, name, pa.array(values, pa.string()))
    return table


def _packed(table: pa.Table, limit: int) -> bytes:
    sink = pa.BufferOutputStream()
    if table.nbytes <= limit:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    if table.nbytes > limit or sink.tell() > limit:
        raise TooLarge(f"the result is larger than {limit:,} bytes")
    return bytes(sink.getvalue())


def fingerprint(database: duckdb.DuckDBPyConnection) -> str:
    """All settings in one text; a text of its own when the database no longer answers.

    A few table functions change the whole database from inside a SELECT, whatever is locked:
    `FROM enable_logging()` would show one person's queries to the next.
    """
    try:
        found = database.execute(
            "SELECT md5(string_agg(concat(name, '=', value), ';' ORDER BY name)) "
            "FROM duckdb_settings()"
        ).fetchone()
    except duckdb.Error:
        return "broken"
    return str(found)


def serve(
    database: duckdb.DuckDBPyConnection,
    watchdog: Watchdog,
    requests: BinaryIO,
    replies: BinaryIO,
) -> None:
    """Answer requests until the pipe ends.

    Settings are compared after a reply is sent, so that nobody waits for it. Once they differ no
    more queries are answered.
    """
    clean, is_spoiled = fingerprint(database), False
    while True:
        request = json.loads(read_message(requests))
        if request["do"] == "notes":
            load_notes(database, requests, request["names"])
            write_message(replies, json.dumps({"ok": True}).encode())
            continue
        if is_spoiled:
            header, rows = {"ok": False, "kind": "Spoiled"}, b""
        else:
            header, rows = answer_or_explain(database, watchdog, request)
        write_message(replies, json.dumps(header).encode())
        write_message(replies, rows)
        is_spoiled = fingerprint(database) != clean


def answer_or_explain(
    database: duckdb.DuckDBPyConnection, watchdog: Watchdog, request: dict[str, Any]
) -> tuple[dict[str, Any], bytes]:
    """The answer to a query, or what went wrong with it. Its process dies when it never ends."""
    signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _GRACE)
    try:
        return answer(database, watchdog, request)
    except (
        Refused,
        TooLarge,
        duckdb.Error,
        pa.ArrowException,
        MemoryError,
        OverflowError,
        RecursionError,
        RuntimeError,
        ValueError,
    ) as error:
        kind = type(error).__name__
        no_memory = kind in ("OutOfMemoryException", "MemoryError")
        text = str(error)[:5000]
        return {"ok": False, "kind": kind, "text": text, "no_memory": no_memory}, b""
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Serve on standard input and output until the parent goes away."""
    sys.meta_path.insert(0, _WithoutPandas)
    settings = json.loads(sys.argv[1])
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no reply
    database = open_database(settings["evidence"], settings["memory"] // 2)
    database.execute("SELECT $x, $y", {"x": 1, "y": ["warm"]}).to_arrow_table()
    watchdog = Watchdog()
    limit_process(settings["memory"])
    write_message(replies, json.dumps({"ok": True}).encode())
    try:
        serve(database, watchdog, sys.stdin.buffer, replies)
    except (EOFError, BrokenPipeError):
        os._exit(0)


if __name__ == "__main__":
    main()
