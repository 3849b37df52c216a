"""Serving the web app and the query API."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.base import HERE, KEEP, NotesUrl, Store, cli, out


@cli.command(rich_help_panel=KEEP)
def serve(
    store: Store = HERE,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the web app.")] = 8501,
    api_port: Annotated[int, typer.Option(help="Port of the HTTP API.")] = 8502,
    notes: NotesUrl = None,
    tokens: Annotated[
        Path | None, typer.Option(help="File with a line per writer: TOKEN Name.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Take no notes.")] = False,
    origin: Annotated[
        list[str] | None, typer.Option(help="Web pages of this origin may read answers.")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Requests a client may make a minute.")] = None,
    prompts: Annotated[
        bool | None,
        typer.Option("--prompts/--no-prompts", help="Run prompts; by default on loopback only."),
    ] = None,
) -> None:
    """Serve the web app and the query API until stopped."""
    from app.http.settings import Settings, read_tokens
    from app.servers import serve_both

    settings = Settings(
        tokens=read_tokens(tokens) if tokens else None,
        read_only=read_only,
        origins=tuple(origin or ()),
        per_minute=rate,
        prompts=prompts,
    )
    serve_both(
        store, host, port, api_port, settings, notes, lambda line: out.print(line, markup=False)
    )
