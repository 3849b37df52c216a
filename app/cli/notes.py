"""What people wrote, as a whole: export, import, upgrade."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.base import HERE, KEEP, NotesUrl, Store, cli, out
from atlas.errors import NotesError, StoreError

if TYPE_CHECKING:
    from atlas.store.notes import Notes

notes_cli = typer.Typer(no_args_is_help=True, help="What people wrote: export, import, upgrade.")
cli.add_typer(notes_cli, name="notes", rich_help_panel=KEEP)


@notes_cli.command("export")
def export_notes(store: Store = HERE, notes: NotesUrl = None) -> None:
    """Write all notes with their history to standard output, one note a line."""
    sys.stdout.write(_notes(store, notes).export())


@notes_cli.command("import")
def import_notes(
    file: Annotated[Path, typer.Argument(help="What `atlas notes export` wrote.")],
    store: Store = HERE,
    notes: NotesUrl = None,
) -> None:
    """Take in an export. The same one twice changes nothing; conflicts keep both sides."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotesError(f"{file} cannot be read: {error}") from error
    done = _notes(store, notes).import_(text)
    out.print(", ".join(f"{name} {getattr(done, name)}" for name in done.__slots__), markup=False)


@notes_cli.command("upgrade")
def upgrade_notes(store: Store = HERE, notes: NotesUrl = None) -> None:
    """Bring the notes' database to the version of this program."""
    _notes(store, notes, upgrade=True)
    out.print("the notes are up to date")


def _notes(store: Path, url: str | None, *, upgrade: bool = False) -> "Notes":
    from atlas.store.notes import Notes

    if url is None and not store.is_dir():
        raise StoreError(f"no store {store}", "name one with --store")
    return Notes.open(url or store / "notes.sqlite", upgrade=upgrade)
