"""SQL over evidence and notes, and the saved queries."""

import json
import sys
from typing import Annotated, Any

import typer

from app.cli.base import HERE, LOOK, Store, cli, out
from atlas.errors import QueryError


@cli.command(rich_help_panel=LOOK)
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT, or the name of a saved query.")],
    store: Store = HERE,
    parameters: Annotated[
        list[str] | None, typer.Option("--param", help="A value for $name: --param layer=5")
    ] = None,
    limit: Annotated[int, typer.Option(help="Most rows.")] = 100,
    form: Annotated[
        str, typer.Option("--format", help="table, json, ndjson, csv, parquet or arrow.")
    ] = "table",
) -> None:
    """Run one SELECT over evidence and notes. Without a query of your own, try a saved one."""
    from app.terminal.sql import show_rows
    from atlas.api import Atlas
    from atlas.store.sql_formats import FORMATS

    if form not in ("table", *FORMATS):
        raise QueryError(f"format {form!r} is not known", f"known: table, {', '.join(FORMATS)}")
    values = _parameters(parameters or [])
    with Atlas.open(store) as atlas:
        recipe = atlas.cookbook().get(query)
        if recipe is not None:
            query, values = recipe.sql, recipe.values(**values)
        result = atlas.sql(query, values, limit=limit)
    if form == "table":
        show_rows(out, result)
        return
    write, _ = FORMATS[form]  # type: ignore[index]
    written = write(result)
    sys.stdout.buffer.write(written if isinstance(written, bytes) else written.encode())


def _parameters(given: list[str]) -> dict[str, Any]:
    """`name=value` pairs; a value that reads as JSON is taken as that, else as text."""
    values: dict[str, Any] = {}
    for one in given:
        name, found, text = one.partition("=")
        if not found:
            raise QueryError(f"--param {one!r} has no '='", "write --param layer=5")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


@cli.command(rich_help_panel=LOOK)
def cookbook(store: Store = HERE) -> None:
    """List the saved queries that `atlas sql NAME` runs."""
    from app.terminal.sql import show_cookbook
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        show_cookbook(out, atlas.cookbook())
