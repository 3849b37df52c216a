"""The paper's studies, own hypotheses, and the check against published head roles."""

from typing import Annotated

import typer

from app.cli.base import HERE, MAKE, AsJson, Changes, Store, cli, err, out, print_as, resumable


@cli.command(rich_help_panel=MAKE)
def study(
    name: Annotated[str | None, typer.Argument(help="Name of a study; none lists them.")] = None,
    store: Store = HERE,
    model: Annotated[str | None, typer.Option(help="Model, where the atlas has several.")] = None,
    changes: Changes = None,
    rows: Annotated[int, typer.Option(help="Rows of each table to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Run one of the paper's studies on the newest snapshot, publish and print its results."""
    from app.terminal import studies
    from app.terminal.progress import ProgressLines
    from atlas.api import Atlas
    from atlas.store.publish import publish as publish_bundles
    from ingest.studies.names import STUDIES, kind_of
    from ingest.studies.study import run_study

    if name is None:
        with Atlas.open(store) as atlas:
            done = atlas.studies()
        known = {one: kind.about for one, kind in sorted(STUDIES.items())}
        print_as(done, as_json, lambda: studies.show_names(out, known, done))
        return
    with resumable(), ProgressLines(err) as lines:
        bundle = run_study(name, kind_of(name), store, model, changes or [], lines)
    publish_bundles(store, [bundle.path])
    with Atlas.open(store) as atlas:
        page = atlas.study(bundle.run, limit=rows)
    print_as(page, as_json, lambda: studies.show_study(out, page))


@cli.command("test", rich_help_panel=MAKE)
def try_hypothesis(
    hypothesis: Annotated[
        str | None, typer.Argument(help="A file, the name of a saved one, or the statement itself.")
    ] = None,
    store: Store = HERE,
    feature: Annotated[str | None, typer.Option(help="Test it on this feature.")] = None,
    head: Annotated[str | None, typer.Option(help="Or on the features this head leads.")] = None,
    sae: Annotated[str | None, typer.Option(help="Or on the features of this SAE.")] = None,
    seed: Annotated[int, typer.Option(help="Of the features and places that are drawn.")] = 0,
    save: Annotated[str | None, typer.Option(help="Save it under this name.")] = None,
    author: Annotated[str, typer.Option(help="Who saves it.", envvar="USER")] = "",
    as_json: AsJson = False,
) -> None:
    """Test a hypothesis about firings. Without one, every saved hypothesis is tested again."""
    from app.terminal import trials
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        asked = trials.asked(atlas, hypothesis, (feature, head, sae), seed)
        found = tuple(atlas.test(*one) for one in asked)
        if save is not None:
            trials.save(atlas, asked, save, author)
    print_as(found, as_json, lambda: trials.show_trials(out, found))


@cli.command("check-roles", rich_help_panel=MAKE)
def check_roles(
    model: Annotated[str, typer.Argument(help="GPT-2 small: a hub name or a folder.")] = "gpt2",
) -> None:
    """Look for the published head roles of GPT-2 small; says so when its weights are not here."""
    from atlas.errors import ModelError
    from atlas.model import load
    from ingest.studies.known_roles import check

    try:
        loaded = load(model, dtype="float32")
    except ModelError as error:
        out.print(f"skipped: {error}", markup=False)
        return
    for one in check(loaded):
        told = "found" if one.found else "NOT found"
        place = f"{one.layer}.{one.head}"
        rank = f"rank {one.rank} of {one.of} by {one.role.measure} {one.value:.3f}"
        out.print(f"{told:>9}  {one.role.name:<24} {place:>5}  {rank}  ({one.role.reference})")
