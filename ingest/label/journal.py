"""Finished calls on disk, so that none is paid for twice, whatever ends the process.

One JSON line a call, synced before its answer is used; many that finish together share a sync.
A line that a crash cut short is dropped with its call, the only one that is asked again beside
those that were under way.
"""

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered."""

    text: str
    refusal: str | None
    cut: bool
    """Whether it ran out of tokens before it was done."""
    first: tuple[tuple[str, float], ...]
    """Alternatives for its first token, as (text, log-probability); empty where not given."""
    tokens_in: int
    tokens_out: int
    seconds: float


class Journal:
    """The calls of a run. Use from one event loop."""

    def __init__(self, folder: Path) -> None:
        """Open or begin the journal in `folder`, which must exist."""
        path = folder / FILE
        self._known: dict[str, Reply] = {}
        self.tokens_in = self.tokens_out = self.calls = 0
        self.seconds = 0.0
        whole = self._read(path)
        self._file = path.open("ab")
        self._file.truncate(whole)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    def _read(self, path: Path) -> int:
        """Take in what is there; gives the bytes up to the last whole line."""
        whole = 0
        if path.is_file():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self._take(json.loads(line))
                whole += len(line)
        return whole

    def _take(self, line: dict[str, Any]) -> None:
        if line.get("forget"):
            self._known.pop(line["key"], None)
            return
        reply = Reply(**{**line["reply"], "first": tuple(map(tuple, line["reply"]["first"]))})
        self._known[line["key"]] = reply
        self._count(reply)

    def _count(self, reply: Reply) -> None:
        self.calls += 1
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out
        self.seconds += reply.seconds

    def find(self, key: str) -> Reply | None:
        """The answer of a finished call."""
        return self._known.get(key)

    async def keep(self, key: str, reply: Reply) -> None:
        """Write a call; returns once it is on the disk."""
        self._count(reply)
        self._known[key] = reply
        await self._write({"key": key, "reply": asdict(reply)})

    async def forget(self, key: str) -> None:
        """An answer was of no use: the next run asks again."""
        if self._known.pop(key, None) is not None:
            await self._write({"key": key, "forget": True})

    async def _write(self, line: dict[str, Any]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._waiting.append((text.encode(), done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())
        await done

    async def _drain(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._sync, b"".join(line for line, _ in some))
            except OSError as error:
                _tell(some, error)
            else:
                _tell(some, None)

    def _sync(self, lines: bytes) -> None:
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _tell(some: list[tuple[bytes, asyncio.Future[None]]], error: OSError | None) -> None:
    for _, done in some:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
