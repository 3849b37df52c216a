"""People's SQL over evidence and notes: one SELECT at a time, in a process that can be killed."""

import json
import queue
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from atlas.errors import Busy, QueryError
from atlas.store.sql_process import EVIDENCE, Broken, SqlLimits, Worker
from atlas.store.sql_reply import explained, python_rows, unpacked
from atlas.types import Snapshot, SqlResult

_BUSY = "try again in a moment"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

Parameters = Mapping[str, Any] | Sequence[Any]


class NotesTables(Protocol):
    """Where the notes' tables come from."""

    def stamp(self) -> int:
        """A number that changes whenever the notes do."""

    def as_tables(self) -> dict[str, pa.Table]:
        """The notes as Arrow tables by name."""


class SqlService:
    """Runs SELECT statements. It may be shared between threads; `close` ends its processes."""

    def __init__(self, notes: NotesTables | None = None, limits: SqlLimits | None = None) -> None:
        self.limits = limits or SqlLimits()
        self._notes = notes
        self._packed: tuple[int, dict[str, bytes]] = (-1, {})
        self._packing = threading.Lock()
        self._places = threading.BoundedSemaphore(self.limits.workers + self.limits.waiting)
        self._free: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(self.limits.workers):
            self._free.put(None)

    def close(self) -> None:
        """Stop the idle workers."""
        idle = [self._free.get() for _ in range(self._free.qsize())]
        for worker in idle:
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
            QueryError: the query is refused, wrong, too long in time or too large.
            Busy: too many others wait.
            StoreError: the snapshot is damaged.
        """
        request = self._request(query, parameters, limit, seconds)
        if not self._places.acquire(blocking=False):
            raise Busy("too many queries are waiting", _BUSY)
        try:
            return self._run(snapshot, query, request)
        finally:
            self._places.release()

    def _run(self, snapshot: Snapshot, query: str, request: dict[str, Any]) -> SqlResult:
        try:
            worker = self._free.get(timeout=self.limits.wait_seconds)
        except queue.Empty:
            raise Busy("all workers are busy with other queries", _BUSY) from None
        try:
            worker, header, rows = self._ask(worker, snapshot, request)
        finally:
            self._free.put(worker)
        if not header["ok"]:
            raise explained(header, query, request["seconds"])
        table = unpacked(rows)
        return SqlResult(
            tuple(table.column_names),
            tuple(header["types"]),
            python_rows(table),
            header["truncated"],
            header["seconds"],
            snapshot.name,
            query,
            rows,
        )

    def _ask(
        self, worker: Worker | None, snapshot: Snapshot, request: dict[str, Any]
    ) -> tuple[Worker, dict[str, Any], bytes]:
        """The worker that answered, and its reply. Where a used one breaks a fresh one is tried."""
        stamp, tables = self._tables()
        evidence = snapshot.path / EVIDENCE
        if worker is not None and worker.evidence != evidence:
            worker.stop()
        is_used = worker is not None and not worker.is_over
        if worker is None or worker.is_over:
            worker = Worker(evidence, self.limits)
        try:
            if worker.stamp != stamp:
                worker.load(stamp, tables)
            return worker, *worker.ask(request)
        except Broken:
            if is_used:
                return self._ask(None, snapshot, request)
            raise

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
