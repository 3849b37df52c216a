"""Starts the query API."""

from dataclasses import replace
from pathlib import Path

import uvicorn

from app.http.api import make_app
from app.http.settings import LOOPBACK, Settings
from atlas.api import Atlas
from atlas.errors import ConfigError

PORT = 8502


def serve(
    store: Path | str,
    host: str = "127.0.0.1",
    port: int = PORT,
    settings: Settings | None = None,
    notes: str | None = None,
) -> None:
    """Serve a store until a signal ends it.

    Args:
        store: the store's folder.
        host: address to listen on; by default this machine alone.
        port: port to listen on.
        settings: how clients are treated.
        notes: URL of the notes' database; None for the store's own.

    Raises:
        StoreError: the store has no snapshot to serve.
        ConfigError: everybody on the network could write notes under any name.
    """
    settings = checked(host, settings or Settings())
    with Atlas.open(store, notes=notes) as atlas:
        atlas.verify()
        atlas.prepare()
        uvicorn.run(
            make_app(atlas, settings), host=host, port=port, log_level="warning", access_log=False,
            server_header=False,
        )  # fmt: skip


def checked(host: str, settings: Settings) -> Settings:
    """The settings for this address: beyond loopback, writing needs tokens and any name is heard.

    Raises:
        ConfigError: there are no tokens, and notes may be written.
    """
    if settings.prompts is None:
        settings = replace(settings, prompts=host in LOOPBACK)
    if host in LOOPBACK:
        return settings
    if settings.tokens is None and not settings.read_only:
        raise ConfigError(
            f"on {host} everybody could write notes under any name",
            "give a token file, or serve read-only",
        )
    return replace(settings, hosts=("*",)) if settings.hosts == LOOPBACK else settings
