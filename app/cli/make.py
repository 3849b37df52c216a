"""Making evidence: demo, ingest, publish, runs, verify."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.base import (
    HERE,
    MAKE,
    AsJson,
    Changes,
    Store,
    cli,
    err,
    out,
    print_as,
    resumable,
)
from atlas.errors import QueryError


@cli.command(rich_help_panel=MAKE)
def demo(
    store: Store = HERE,
    changes: Changes = None,
) -> None:
    """Make an atlas of a real model: train, mine, label and publish; then say what to look at."""
    from app.terminal.demo import show_highlights

    _ingest("demo", store, changes or [])
    show_highlights(out, store)


@cli.command(rich_help_panel=MAKE)
def ingest(
    job: Annotated[str, typer.Argument(help="A TOML file, or a preset such as demo or gpt2.")],
    store: Store = HERE,
    changes: Changes = None,
    publish_it: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Publish the bundle when it is done.")
    ] = True,
    engine: Annotated[
        str | None, typer.Option(help="Who mines: local, or dask. Short for --set engine.kind=")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler; else processes started here.")
    ] = None,
    log: Annotated[str, typer.Option(help="text, or json for one object a line.")] = "text",
) -> None:
    """Run a job. Stopped at any moment, the same command goes on where it was."""
    short = {"engine.kind": engine, "engine.scheduler": scheduler}
    more = [f"{name}={value}" for name, value in short.items() if value is not None]
    _ingest(job, store, [*(changes or []), *more], publish_it, log)


def _ingest(
    job: str, store: Path, changes: list[str], publish_it: bool = True, log: str = "text"
) -> None:
    from app.terminal.evaluation import show_joint
    from app.terminal.progress import JsonLines, ProgressLines
    from atlas.api import Atlas
    from atlas.store.publish import publish as publish_bundles
    from ingest.config import load_job
    from ingest.job import run_id, run_job

    if log not in ("text", "json"):
        raise QueryError(f"log {log!r} is not known", "known: text, json")
    settings = load_job(job, changes)
    say = err if log == "json" else out  # standard output is then for the objects alone
    say.print(f"run {run_id(settings)} in {store}", markup=False)
    with resumable():
        if log == "json":
            bundle = run_job(settings, store, JsonLines(_write_line))
        else:
            with ProgressLines(out) as lines:
                bundle = run_job(settings, store, lines)
    say.print(f"bundle {bundle.path}", markup=False)
    if publish_it:
        snapshot = publish_bundles(store, [bundle.path])
        say.print(f"published as snapshot {snapshot.name}", markup=False)
        with Atlas.open(store) as atlas:
            show_joint(say, atlas.run(bundle.run))


def _write_line(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


@cli.command(rich_help_panel=MAKE)
def publish(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(help="Bundle folders; none only brings the newest snapshot up to date."),
    ] = None,
    store: Store = HERE,
) -> None:
    """Load bundles into the next snapshot. The same bundle twice changes nothing."""
    from atlas.store.publish import publish as publish_bundles

    snapshot = publish_bundles(store, bundles or [])
    out.print(f"snapshot {snapshot.name}", markup=False)


@cli.command(rich_help_panel=MAKE)
def runs(store: Store = HERE, as_json: AsJson = False) -> None:
    """Runs of this store: going on, finished, failed or stopped, with rate and time left."""
    from app.terminal.progress import show_runs
    from atlas.progress import read_all

    found = read_all(store)
    print_as(found, as_json, lambda: show_runs(out, found))


@cli.command(rich_help_panel=MAKE)
def verify(
    store: Store = HERE,
    rows: Annotated[
        int, typer.Option(min=1, help="Examples, features and pairs to draw, per model.")
    ] = 50,
    seed: Annotated[int, typer.Option(help="Which ones are drawn.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Recompute randomly chosen rows from the model and the weights; exit code 1 if one differs."""
    from app.terminal.checks import show_checks
    from atlas.api import Atlas
    from ingest.verify.verify import verify as verify_atlas

    with Atlas.open(store) as atlas:
        checks = verify_atlas(atlas, rows, seed, device)
        if as_json:
            found = list(checks)
            print_as(found, as_json, lambda: None)
            holds = not any(one.differences for one in found)
        else:
            holds = show_checks(out, err, checks)
    if not holds:
        raise typer.Exit(1)
