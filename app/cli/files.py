"""Files in and out: bulk exports, other tools' formats, and whether a store is sound."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.base import HERE, KEEP, NotesUrl, Store, cli, out, publish_and_say


@cli.command(rich_help_panel=KEEP)
def check(store: Store = HERE, notes: NotesUrl = None) -> None:
    """Read every byte of a store and say what is not as it was written; then exit with 1."""
    from atlas.store.verify import verify

    wrong = 0
    for part in verify(store, notes):
        wrong += part.problem is not None
        out.print(f"{part.what}: {part.problem or 'sound'}", markup=False)
    if wrong:
        raise typer.Exit(1)


@cli.command(rich_help_panel=KEEP)
def export(
    sae: Annotated[str, typer.Argument(help="An SAE, such as gpt2/5-att.")],
    folder: Annotated[Path, typer.Argument(help="Where its folder is made.")],
    store: Store = HERE,
    form: Annotated[
        str, typer.Option("--format", help="parquet, jsonl or neuronpedia.")
    ] = "parquet",
) -> None:
    """Write everything about an SAE into files, of one snapshot."""
    from atlas.api import Atlas
    from atlas.exchange.tables import write_sae

    with Atlas.open(store) as atlas:
        out.print(str(write_sae(atlas, sae, folder, form)), markup=False)


@cli.command("export-sae", rich_help_panel=KEEP)
def export_sae(
    id: Annotated[str, typer.Argument(help="The SAE, such as gpt2/5-att.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    store: Store = HERE,
) -> None:
    """Write an SAE's weights as SAELens reads them."""
    from app.export_sae import export_sae as write
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        out.print(f"wrote {write(atlas, id, to)}", markup=False)


@cli.command("import-neuronpedia", rich_help_panel=KEEP)
def import_neuronpedia(
    source: Annotated[Path, typer.Argument(help="Folder MODEL/SOURCE of an export.")],
    store: Store = HERE,
) -> None:
    """Take a source of Neuronpedia's exports into the atlas, and publish it."""
    from atlas.exchange.from_neuronpedia import read_neuronpedia

    folder = store / "bundles" / f"neuronpedia-{source.absolute().parent.name}-{source.name}"
    bundle = read_neuronpedia(source, folder, datetime.now(UTC))
    publish_and_say(store, bundle.path)
