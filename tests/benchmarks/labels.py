"""Calls per second against a fast local endpoint: `python -m tests.benchmarks.labels [CALLS]`.

The endpoint answers at once and runs in a process of its own; every call is counted against a
budget, journalled and synced before it counts as answered, as in a run. A raw client that does
nothing else is timed beside it.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from openai import AsyncOpenAI

from ingest.label.budget import Purse
from ingest.label.client import Client
from ingest.label.count import TokenCounter
from ingest.label.journal import Journal
from ingest.label.manner import Ask
from ingest.label.settings import Budget, Endpoint
from tests.ingest.label.conftest import ROOT, free_port
from tests.ingest.label.conftest import Endpoint as Server

CONCURRENCY = (1, 8, 32)
TEXT = "EXAMPLES\n" + "\n".join(f"{n}. the cat sat on «the» mat and so on" for n in range(40))


def asks(count: int, what: str) -> list[Ask]:
    """Requests that differ, each of about 500 tokens."""
    return [Ask((("user", f"{what} {n}\n{TEXT}"),), 100) for n in range(count)]


async def ours(url: str, folder: Path, concurrency: int, count: int) -> float:
    """Seconds for `count` calls through the labelling client, and for the same from the journal."""
    journal = Journal(folder)
    endpoint = Endpoint(url=url, model="m", concurrency=concurrency)
    counter = TokenCounter(["the", " cat", " sat", " on", " mat"])
    client = Client(endpoint, "none", 0.0, journal, Purse(Budget()), counter)
    begun = time.perf_counter()
    await asyncio.gather(*(client.ask(ask) for ask in asks(count, f"at {concurrency}")))
    seconds = time.perf_counter() - begun
    await client.close()
    journal.close()
    return seconds


async def raw(url: str, concurrency: int, count: int) -> float:
    """Seconds for `count` calls through the bare `openai` client."""
    client, room = AsyncOpenAI(base_url=url, api_key="none"), asyncio.Semaphore(concurrency)

    async def one(ask: Ask) -> None:
        async with room:
            await client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": ask.messages[0][1]}],
                max_tokens=100,
            )

    begun = time.perf_counter()
    await asyncio.gather(*(one(ask) for ask in asks(count, f"raw {concurrency}")))
    await client.close()
    return time.perf_counter() - begun


def main() -> None:
    """Print calls per second."""
    count, port = int(sys.argv[1]) if len(sys.argv) > 1 else 400, free_port()
    command = [sys.executable, "-m", "tests.ingest.label.endpoint", str(port)]
    process = subprocess.Popen(command, cwd=ROOT)
    server = Server(port)
    server.wait()
    print(f"{count} calls each; calls per second, labelling client (bare client)")
    with tempfile.TemporaryDirectory() as folder:
        for concurrency in CONCURRENCY:
            bare = asyncio.run(raw(server.url, concurrency, count))
            mine = asyncio.run(ours(server.url, Path(folder), concurrency, count))
            print(f"  {concurrency:>3} at a time: {count / mine:,.0f} ({count / bare:,.0f})")
        begun = time.perf_counter()
        asyncio.run(ours(server.url, Path(folder), CONCURRENCY[-1], count))
        print(f"  from the journal: {count / (time.perf_counter() - begun):,.0f}")
    process.kill()
    process.wait()


if __name__ == "__main__":
    main()
