"""What all commands share: options, consoles, and how errors and interruptions end them."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import requires
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from atlas.errors import AtlasError

HERE = Path("atlas-demo")
Store = Annotated[Path, typer.Option("--store", help="Folder of the atlas.", envvar="ATLAS_STORE")]
NotesUrl = Annotated[
    str | None, typer.Option("--notes", help="URL of the notes, where not in the store.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: --set sae.k=16")
]
MAKE, LOOK, WRITE, KEEP = "Make evidence", "Look", "Labels", "Serve and keep"
"""Panels of the help."""

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An atlas of attention heads and of the SAE features on their outputs.",
)
# Tables in a file or a pipe are not folded to the width of a terminal that is not there.
_WIDTH = None if sys.stdout.isatty() else 1000
out = Console(highlight=False, soft_wrap=True, width=_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; every AtlasError becomes one clear message and exit code 2."""
    # Threads that spin while they wait cost several times their share on a machine that is shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli()
    except AtlasError as error:
        _refuse(error.message, error.hint)
    except ModuleNotFoundError as error:
        extra = _extra_with(error.name or "")
        if extra is None:
            raise
        _refuse(
            f"this needs {error.name}, which is not installed here",
            f"pip install 'feature-atlas[{extra}]'",
        )


def _refuse(message: str, hint: str | None) -> NoReturn:
    err.print(f"error: {message}", style="red", markup=False)
    if hint:
        err.print(f"       {hint}", markup=False)
    sys.exit(2)


def _extra_with(module: str) -> str | None:
    """The extra of this distribution that brings in a module, as its metadata says.

    Of several `ingest`, which most commands need, is named first.
    """
    wanted = module.partition(".")[0].replace("_", "-")
    lines = "\n".join(requires("feature-atlas") or ())
    found = re.findall(rf"^{wanted}\b.*extra == ['\"](\w+)['\"]", lines, re.MULTILINE)
    return min(found, key=lambda extra: (extra != "ingest", extra), default=None)


@contextmanager
def resumable() -> Iterator[None]:
    """Work that goes on when it is asked for again: an interruption says so; exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("\nstopped; give the same command again to go on")
        raise typer.Exit(130) from None


def publish_and_say(store: Path, bundle: Path) -> None:
    """Publish one bundle and print the snapshot's name."""
    from atlas.store.publish import publish

    snapshot = publish(store, [bundle])
    out.print(f"published as snapshot {snapshot.name}", markup=False)


def print_as(thing: Any, as_json: bool, text: Callable[[], None]) -> None:
    """Print `thing` as JSON, or let `text` print it for people."""
    if not as_json:
        text()
        return
    from atlas.wire import plain

    sys.stdout.write(json.dumps(plain(thing), indent=1, ensure_ascii=False) + "\n")
