"""The child process as its parent sees it: started, spoken to, killed when it takes too long."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from atlas.errors import QueryError, StoreError
from atlas.store import sql_worker
from atlas.store.sql_reply import SMALLER, too_slow
from atlas.store.sql_worker import read_message, write_message

EVIDENCE = "evidence.duckdb"
_KILL_AFTER = 1.0
"""Seconds after its time limit when a query's process is killed."""
_START_SECONDS = 60.0
_MAX_HEADER = 2**20
_GONE = (EOFError, BrokenPipeError)
"""What a pipe to a process that ended raises."""
_MORE_MEMORY = "raise the service's memory_bytes"

T = TypeVar("T")


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


class Worker:
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
        self.evidence, self.stamp, self.is_fresh = evidence, -1, True
        self._limits, self._is_over, self._timed_out = limits, False, False
        settings = {"evidence": str(evidence.resolve()), "memory": limits.memory_bytes}
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-S", "-P", sql_worker.__file__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve address space,
                "MALLOC_ARENA_MAX": "2",  # as malloc does for every thread
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
            cwd="/",
            start_new_session=True,  # an interrupt from the keyboard is for the parent
        )
        try:
            self._within(_START_SECONDS, self._read)
        except _GONE:
            raise StoreError(
                f"snapshot {evidence.parent.name} does not open for SQL",
                "it may be damaged: publish again",
            ) from None

    def load(self, stamp: int, tables: Mapping[str, bytes]) -> None:
        """Give the worker these notes tables in place of the ones it has."""
        request = {"do": "notes", "names": list(tables)}
        try:
            self._within(_START_SECONDS, lambda: self._exchange(request, *tables.values()))
        except _GONE:
            raise QueryError("the notes do not fit into the SQL worker", _MORE_MEMORY) from None
        self.stamp = stamp

    def is_well(self) -> bool:
        """Whether it lives and is as it was before the queries it answered."""
        if self._is_over:
            return False
        try:
            return bool(self._within(_START_SECONDS, lambda: self._exchange({"do": "well"}))["ok"])
        except _GONE:
            return False

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply to a query: header and Arrow stream. Raises QueryError when the worker died."""

        def exchange() -> tuple[dict[str, Any], bytes]:
            header = self._exchange(request)
            return header, read_message(self._replies, self._limits.reply_bytes)

        self.is_fresh = False
        try:
            return self._within(request["seconds"] + _KILL_AFTER, exchange)
        except _GONE:
            if self._timed_out:
                raise too_slow(request["seconds"]) from None
            raise QueryError("the query broke its worker process", SMALLER) from None

    def stop(self) -> None:
        """Kill the process and wait for its end."""
        self._is_over = True
        self._process.kill()
        self._process.wait()
        self._replies.close()
        with contextlib.suppress(BrokenPipeError):  # a request it never read
            self._requests.close()

    def _within(self, seconds: float, action: Callable[[], T]) -> T:
        """Exchange messages with the process, which is killed when that takes too long.

        Nor does it outlive an exchange that ended in any other way than by its reply.
        """
        timer = threading.Timer(seconds, self._time_out)
        timer.start()
        is_answered = False
        try:
            reply = action()
            is_answered = True
        finally:
            timer.cancel()
            timer.join()
            if self._timed_out or not is_answered:
                self.stop()
        return reply

    def _time_out(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _exchange(self, request: dict[str, Any], *bodies: bytes) -> dict[str, Any]:
        for body in (json.dumps(request).encode(), *bodies):
            write_message(self._requests, body)
        return self._read()

    def _read(self) -> dict[str, Any]:
        header: dict[str, Any] = json.loads(read_message(self._replies, _MAX_HEADER))
        return header

    @property
    def _requests(self) -> BinaryIO:
        return cast("BinaryIO", self._process.stdin)

    @property
    def _replies(self) -> BinaryIO:
        return cast("BinaryIO", self._process.stdout)
