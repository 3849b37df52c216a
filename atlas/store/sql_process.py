"""The child process as its parent sees it: started, spoken to, killed when it takes too long."""

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from atlas.errors import QueryError, StoreError
from atlas.store import sql_worker
from atlas.store.sql_reply import SMALLER, too_slow

EVIDENCE = "evidence.duckdb"
_KILL_AFTER = 1.0
"""Seconds after its time limit when a query's process is killed."""
_START_SECONDS = 60.0
_MAX_HEADER = 2**20
_CHUNK = 2**16


class Broken(QueryError):
    """The process died, ran out of memory or is no longer as it was: a fresh one may do better."""


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
    """One child process on one snapshot. Used by one thread at a time.

    Whatever does not end in a reply ends the process.
    """

    def __init__(self, evidence: Path, limits: SqlLimits) -> None:
        if not evidence.is_file():
            raise StoreError(f"no snapshot at {evidence.parent}", "publish one")
        if evidence.with_name(f"{EVIDENCE}.wal").exists():
            raise StoreError(
                f"snapshot {evidence.parent.name} has a write-ahead log: it is damaged or was "
                "tampered with",
                "publish again",
            )
        self.evidence, self.stamp, self.is_over = evidence, -1, False
        self._limits = limits
        self._process = _start(evidence, limits)
        try:
            self._exchange(_START_SECONDS)
        except (EOFError, TimeoutError):
            raise StoreError(
                f"snapshot {evidence.parent.name} does not open for SQL",
                "it may be damaged: publish again",
            ) from None

    def load(self, stamp: int, tables: Mapping[str, bytes]) -> None:
        """Give the worker these notes tables in place of its own. Raises Broken when it cannot."""
        request = _packed({"do": "notes", "names": list(tables)})
        try:
            self._exchange(_START_SECONDS, request, *tables.values())
        except (EOFError, TimeoutError):
            message = "the notes do not fit into the SQL worker"
            raise Broken(message, "raise the service's memory_bytes") from None
        self.stamp = stamp

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply to a query: header and Arrow stream.

        Raises:
            Broken: the process died over it or had no memory for it, or is not to be trusted.
            QueryError: the process was killed since the query ran too long.
        """
        seconds = request["seconds"]
        try:
            header, rows = self._exchange(seconds + _KILL_AFTER, _packed(request), with_rows=True)
        except TimeoutError:
            raise too_slow(seconds) from None
        except EOFError:
            raise Broken("the query broke its worker process", SMALLER) from None
        if header.get("no_memory"):
            self.stop()
            raise Broken("the query needs more memory than it may have", SMALLER)
        if header.get("kind") == "Spoiled":
            self.stop()
            raise Broken("the worker is not as it was")
        return header, rows

    def stop(self) -> None:
        """Kill the process and wait for its end."""
        self.is_over = True
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", pipe).close()

    def _exchange(
        self, seconds: float, *messages: bytes, with_rows: bool = False
    ) -> tuple[dict[str, Any], bytes]:
        """Send messages and take the reply, all within `seconds`.

        Raises:
            EOFError: the process ended, or replied more than it may.
            TimeoutError: it did not reply in time.
        """
        until = time.monotonic() + seconds
        with contextlib.ExitStack() as otherwise:
            otherwise.callback(self.stop)
            for message in messages:
                self._send(struct.pack(">Q", len(message)) + message, until)
            header = json.loads(self._receive(_MAX_HEADER, until))
            rows = self._receive(self._limits.reply_bytes, until) if with_rows else b""
            otherwise.pop_all()
        return header, rows

    def _send(self, data: bytes, until: float) -> None:
        pipe = cast("IO[bytes]", self._process.stdin).fileno()
        rest = memoryview(data)
        while rest:
            _wait(pipe, select.POLLOUT, until)
            try:
                rest = rest[os.write(pipe, rest[:_CHUNK]) :]
            except BrokenPipeError:
                raise EOFError from None

    def _receive(self, limit: int, until: float) -> bytes:
        (size,) = struct.unpack(">Q", self._read(8, until))
        if size > limit:
            raise EOFError
        return self._read(size, until)

    def _read(self, size: int, until: float) -> bytes:
        pipe = cast("IO[bytes]", self._process.stdout).fileno()
        data = bytearray()
        while len(data) < size:
            _wait(pipe, select.POLLIN, until)
            part = os.read(pipe, min(size - len(data), 2**20))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


def _start(evidence: Path, limits: SqlLimits) -> "subprocess.Popen[bytes]":
    settings = {"evidence": str(evidence.resolve()), "memory": limits.memory_bytes}
    process = subprocess.Popen(
        [sys.executable, "-s", "-S", "-P", sql_worker.__file__, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve address space,
            "MALLOC_ARENA_MAX": "2",  # as malloc does for every thread
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        cwd="/",
        start_new_session=True,  # an interrupt from the keyboard is for the parent
    )
    os.set_blocking(cast("IO[bytes]", process.stdin).fileno(), False)
    return process


def _packed(request: dict[str, Any]) -> bytes:
    return json.dumps(request).encode()


def _wait(pipe: int, event: int, until: float) -> None:
    """Wait for a pipe. Raises TimeoutError when nothing happens until then."""
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError
