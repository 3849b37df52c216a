"""People's SQL over evidence and notes: one SELECT at a time, in a process that can be killed."""

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

import pyarrow as pa

from atlas.errors import QueryError, StoreError
from atlas.store import sql_worker
from atlas.store.sql_worker import read_message, write_message
from atlas.types import Snapshot, SqlResult

EVIDENCE = "evidence.duckdb"
_KILL_AFTER = 1.0
"""Seconds after its time limit when a query's process is killed."""
_START_SECONDS = 60.0
_MAX_HEADER = 2**20
_PATH = re.compile(r"(?<![\w.-])(?:/[\w.+-]+){2,}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Any]


class NotesTables(Protocol):
    """Where the notes' tables come from."""

    def stamp(self) -> int:
        """A number that changes whenever the notes do."""

    def as_tables(self) -> dict[str, pa.Table]:
        """The notes as Arrow tables by name."""


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """What one query may take. A caller may ask for less, never for more."""

    seconds: float = 5.0
    """Time limit of a query; a second later its process is killed."""
    rows: int = 10_000
    """Most rows of a result."""
    reply_bytes: int = 16 * 2**20
    """Most bytes of a result."""
    memory_bytes: int = 2 * 2**30
    """Memory of a query, in address space; half of it for DuckDB's own accounting."""
    query_chars: int = 100_000
    """Longest query, and longest list of parameters as JSON."""
    workers: int = 1
    """Queries that run at once, each in a process of its own."""
    waiting: int = 16
    """Queries that may wait for a worker; more are refused as busy."""
    wait_seconds: float = 10.0
    """How long a query waits for a worker."""


class SqlService:
    """Runs SELECT statements. It may be shared between threads; `close` ends its processes."""

    def __init__(self, notes: NotesTables | None = None, limits: SqlLimits | None = None) -> None:
        self.limits = limits or SqlLimits()
        self._notes = notes
        self._packed: tuple[int, dict[str, bytes]] = (-1, {})
        self._packing = threading.Lock()
        self._places = threading.BoundedSemaphore(self.limits.workers + self.limits.waiting)
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.limits.workers):
            self._free.put(None)

    def close(self) -> None:
        """Stop the idle workers."""
        for _ in range(self._free.qsize()):
            worker = self._free.get()
            if worker is not None:
                worker.stop()
            self._free.put(None)

    def __enter__(self) -> "SqlService":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        snapshot: Snapshot,
        query: str,
        parameters: Parameters = (),
        *,
        limit: int = 1000,
        seconds: float | None = None,
    ) -> SqlResult:
        """Run one SELECT over a snapshot and the notes of this moment.

        Evidence tables and notes tables stand side by side under their own names.

        Args:
            parameters: values by name for `$name`, or in order for `?`.
            limit: most rows of the result; `truncated` says whether there were more.
            seconds: time limit, when less than the service's own.

        Raises:
            QueryError: the query is refused, wrong, too long in time or too large, or too many
                others wait.
            StoreError: the snapshot is damaged.
        """
        request = self._request(query, parameters, limit, seconds)
        if not self._places.acquire(blocking=False):
            raise QueryError("too many queries are waiting", _BUSY)
        try:
            return self._run(snapshot, query, request)
        finally:
            self._places.release()

    def _run(self, snapshot: Snapshot, query: str, request: dict[str, Any]) -> SqlResult:
        try:
            worker = self._free.get(timeout=self.limits.wait_seconds)
        except queue.Empty:
            raise QueryError("all workers are busy with other queries", _BUSY) from None
        try:
            worker = self._worker(worker, snapshot)
            header, rows = worker.ask(request)
            if header["spent"]:
                worker.stop()  # the query left its mark on it: the next one gets a fresh one
        finally:
            self._free.put(worker)
        if not header["ok"]:
            raise _error(header["kind"], header["text"], query, request["seconds"])
        table = _table(rows)
        return SqlResult(
            tuple(table.column_names),
            tuple(header["types"]),
            _rows(table),
            header["truncated"],
            header["seconds"],
            snapshot.name,
            query,
            rows,
        )

    def _worker(self, worker: "_Worker | None", snapshot: Snapshot) -> "_Worker":
        """A living worker on this snapshot that has the present notes."""
        evidence = snapshot.path / EVIDENCE
        if worker is not None and (worker.is_dead or worker.evidence != evidence):
            worker.stop()
            worker = None
        if worker is None:
            worker = _Worker(evidence, self.limits)
        stamp, tables = self._tables()
        if worker.stamp != stamp:
            worker.load(stamp, tables)
        return worker

    def _tables(self) -> tuple[int, dict[str, bytes]]:
        if self._notes is None:
            return self._packed
        with self._packing:
            stamp = self._notes.stamp()
            if stamp != self._packed[0]:
                tables = self._notes.as_tables()
                self._packed = (stamp, {name: _pack(table) for name, table in tables.items()})
            return self._packed

    def _request(
        self, query: str, parameters: Parameters, limit: int, seconds: float | None
    ) -> dict[str, Any]:
        if not query.strip():
            raise QueryError("the query is empty", "try: SELECT * FROM feature_card LIMIT 10")
        if len(query) > self.limits.query_chars:
            raise QueryError(f"the query has {len(query):,} characters", self._most("query_chars"))
        if limit < 1 or limit > self.limits.rows:
            raise QueryError(f"a limit of {limit:,} rows", f"give 1 to {self.limits.rows:,}")
        if seconds is not None and seconds <= 0:
            raise QueryError(f"a time limit of {seconds} s", "give more than 0")
        values = _plain_parameters(parameters)
        packed = json.dumps(values, ensure_ascii=False)
        if len(packed) > self.limits.query_chars:
            raise QueryError("the parameters are too long", self._most("query_chars"))
        if "\x00" in query or not _is_unicode(query + packed):
            raise QueryError("the query has signs that are no text", "leave them out")
        return {
            "do": "query",
            "query": query,
            "parameters": values,
            "rows": limit,
            "seconds": min(seconds or self.limits.seconds, self.limits.seconds),
            "bytes": self.limits.reply_bytes,
        }

    def _most(self, name: str) -> str:
        return f"{getattr(self.limits, name):,} are allowed"


_BUSY = "try again in a moment"


class _Worker:
    """One child process on one snapshot. Used by one thread at a time."""

    def __init__(self, evidence: Path, limits: SqlLimits) -> None:
        if not evidence.is_file():
            raise StoreError(f"no snapshot at {evidence.parent}", "publish one")
        if evidence.with_name(f"{EVIDENCE}.wal").exists():
            raise StoreError(
                f"snapshot {evidence.parent.name} has a write-ahead log: it is damaged or was "
                "tampered with",
                "publish again",
            )
        self.evidence, self.stamp, self._killed = evidence, -1, False
        self._limits = limits
        settings = {
            "evidence": str(evidence.resolve()),
            "memory": limits.memory_bytes,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-S", "-P", sql_worker.__file__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve address space
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
            cwd="/",
            start_new_session=True,  # an interrupt from the keyboard is for the parent
        )
        try:
            self._within(_START_SECONDS, self._read)
        except EOFError:
            raise StoreError(
                f"snapshot {evidence.parent.name} does not open for SQL",
                "it may be damaged: publish again",
            ) from None

    def load(self, stamp: int, tables: Mapping[str, bytes]) -> None:
        """Give the worker these notes tables in place of the ones it has."""

        def send() -> None:
            self._write({"do": "notes", "names": list(tables)}, *tables.values())
            self._read()

        try:
            self._within(_START_SECONDS, send)
        except (EOFError, BrokenPipeError):
            raise QueryError("the notes do not fit into the SQL worker", _MEMORY) from None
        self.stamp = stamp

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply to a query: header and Arrow stream. Raises QueryError when the worker died."""

        def exchange() -> tuple[dict[str, Any], bytes]:
            self._write(request)
            return self._read(), read_message(self._replies, self._limits.reply_bytes)

        try:
            return self._within(request["seconds"] + _KILL_AFTER, exchange)
        except (EOFError, BrokenPipeError):
            if self._killed:
                raise _too_slow(request["seconds"]) from None
            raise QueryError("the query broke its worker process", _MEMORY) from None

    def stop(self) -> None:
        """Kill the process and wait for its end."""
        self._kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # a request it never read

    @property
    def is_dead(self) -> bool:
        """Whether it was killed or went away."""
        return self._killed or self._process.poll() is not None

    def _kill(self) -> None:
        self._killed = True
        self._process.kill()

    def _within(self, seconds: float, action: Callable[[], T]) -> T:
        """Exchange messages with the process, which is killed when that takes too long.

        Nor does it outlive an exchange that ended in any other way than by its reply.
        """
        timer = threading.Timer(seconds, self._kill)
        timer.start()
        try:
            reply = action()
        except BaseException:
            timer.cancel()
            timer.join()
            timed_out = self._killed
            self.stop()
            self._killed = timed_out
            raise
        timer.cancel()
        timer.join()
        return reply

    @property
    def _replies(self) -> BinaryIO:
        return cast("BinaryIO", self._process.stdout)

    def _write(self, header: dict[str, Any], *bodies: bytes) -> None:
        for body in (json.dumps(header).encode(), *bodies):
            write_message(cast("BinaryIO", self._process.stdin), body)

    def _read(self) -> dict[str, Any]:
        header: dict[str, Any] = json.loads(read_message(self._replies, _MAX_HEADER))
        return header


_MEMORY = "it may need too much memory: select fewer rows or columns, or aggregate earlier"


def _too_slow(seconds: float) -> QueryError:
    return QueryError(
        f"the query ran longer than {seconds:g} s", "filter by sae, use LIMIT, or split the query"
    )


def _error(kind: str, text: str, query: str, seconds: float) -> QueryError:
    """What a user is told; server paths stay out of it."""
    if kind == "InterruptException":
        return _too_slow(seconds)
    if kind in ("OutOfMemoryException", "MemoryError"):
        return QueryError("the query needs more memory than it may have", _MEMORY)
    if kind == "TooLarge":
        return QueryError(text, _MEMORY)
    if kind == "Refused":
        return QueryError(text, "one SELECT over evidence and notes; values go in as parameters")
    text = _PATH.sub(lambda found: found[0] if found[0] in query else "…", text)
    return QueryError(text.strip()[:2000].rstrip("."))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _plain_parameters(parameters: Parameters) -> dict[str, Any] | list[Any]:
    if isinstance(parameters, Mapping):
        for name in parameters:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise QueryError(f"not a parameter name: {name!r:.80}", "use letters, digits and _")
        return {name: _plain_parameter(name, value) for name, value in parameters.items()}
    return [_plain_parameter(str(n + 1), value) for n, value in enumerate(parameters)]


def _plain_parameter(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain_parameter(name, part) for part in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise QueryError(
        f"parameter {name} is a {type(value).__name__}",
        "give text, a number, true, false, null or a list of these",
    )


def _pack(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def _table(rows: bytes) -> pa.Table:
    try:
        table = pa.ipc.open_stream(rows).read_all()
        table.validate(full=True)  # the process that wrote it ran somebody's query
    except pa.ArrowException as error:
        raise QueryError(f"the query's reply cannot be read: {error}") from error
    return table


def _rows(table: pa.Table) -> tuple[tuple[Any, ...], ...]:
    columns = [_values(column) for column in table.columns]
    return tuple(zip(*columns, strict=True)) if columns else ()


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError):  # dates that Python has no value for
        values = _as_text(column)
    return [_whole(value) for value in values] if "decimal" in str(column.type) else values


def _as_text(column: pa.ChunkedArray) -> list[Any]:
    try:
        return list(column.cast(pa.string()).to_pylist())
    except pa.ArrowException as error:
        raise QueryError(
            f"the result holds dates out of range: {error}", "cast them to VARCHAR"
        ) from error


def _whole(value: Any) -> Any:
    """Decimals without digits after the point as integers: so come DuckDB's sums."""
    match value:
        case Decimal():
            return int(value) if value.as_tuple().exponent == 0 else value
        case list() | tuple():
            return [_whole(part) for part in value]
        case dict():
            return {key: _whole(part) for key, part in value.items()}
        case _:
            return value
