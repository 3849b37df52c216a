"""Starts the query API and the web app together, and stops both together."""

import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from app.http.serve import checked
from app.http.serve import serve as serve_api
from app.http.settings import Settings
from app.web.serve import command as web_command
from atlas.api import Atlas
from atlas.errors import StoreError

STOP_SECONDS = 10.0


def serve_both(
    store: Path,
    host: str,
    port: int,
    api_port: int,
    settings: Settings,
    notes: str | None,
    tell: Callable[[str], None],
) -> None:
    """Serve until a signal ends it; the web app runs in a process of its own.

    Whoever reaches the web app could write notes under any name, so where tokens are asked for,
    its pages only show them.

    Raises:
        StoreError: the store has no snapshot to serve, or a port is taken.
        ConfigError: everybody on the network could write notes under any name.
    """
    settings = checked(host, settings)
    with Atlas.open(store, notes=notes) as atlas:
        tell(f"snapshot {atlas.snapshot.name} of {store}")
        for reason in atlas.refused:
            tell(f"not served: {reason}")
    _check_free(host, port, "--port")
    _check_free(host, api_port, "--api-port")
    api = f"http://{host}:{api_port}"
    shut = settings.read_only or settings.tokens is not None
    web = subprocess.Popen(web_command(store, host, port, notes, api, read_only=shut))
    tell(f"web app    http://{host}:{port}")
    tell(f"query API  {api}/docs")
    previous = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        with suppress(KeyboardInterrupt):
            serve_api(store, host, api_port, settings, notes)
    finally:
        signal.signal(signal.SIGTERM, previous)
        web.terminate()
        with suppress(subprocess.TimeoutExpired):
            web.wait(STOP_SECONDS)
        web.kill()


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _check_free(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StoreError(
                f"cannot listen on {host}:{port}: {error.strerror}", f"choose another with {option}"
            ) from error
