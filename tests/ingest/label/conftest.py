"""A real endpoint in a process of its own, and a store to label."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[3]


class Endpoint:
    """The server of tests/ingest/label/endpoint.py as a test holds it."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.url = f"{self.base}/v1"

    def wait(self) -> None:
        """Return when it answers."""
        for _ in range(300):
            try:
                self.seen()
                return
            except URLError:
                time.sleep(0.1)

    def plan(self, *behaviours: str) -> None:
        """What the next requests meet; those after them are answered well."""
        request = Request(f"{self.base}/plan", json.dumps(behaviours).encode(), method="POST")
        urlopen(request, timeout=10).close()

    def seen(self) -> dict:
        """Requests since the last plan, and how many there were."""
        with urlopen(f"{self.base}/seen", timeout=10) as reply:
            return json.loads(reply.read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server():
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ingest.label.endpoint", str(port)], cwd=ROOT
    )
    found = Endpoint(port)
    found.wait()
    yield found
    process.kill()
    process.wait()


@pytest.fixture
def endpoint(server):
    """The server, well behaved until a test plans otherwise."""
    server.plan()
    return server
