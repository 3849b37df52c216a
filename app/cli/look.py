"""Looking at an atlas: search, show, pairs, prompt, review."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.base import HERE, LOOK, AsJson, Store, cli, out, print_as
from atlas.errors import QueryError

if TYPE_CHECKING:
    from atlas.api import Atlas
    from atlas.head_types import HeadComposition, HeadRoles
    from atlas.ids import HeadId
    from atlas.study_types import HeadStudies


@cli.command(rich_help_panel=LOOK)
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
    from app.terminal.hits import show_page
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
    print_as(page, as_json, lambda: show_page(out, page))


@cli.command(rich_help_panel=LOOK)
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
    from app.terminal import studies
    from app.terminal.evaluation import show_joint
    from app.terminal.names import look_up
    from app.terminal.things import show_thing
    from atlas.api import Atlas
    from atlas.types import EXAMPLE_KINDS, Head, Sae

    if kind not in ("all", *EXAMPLE_KINDS):
        raise QueryError(f"kind {kind!r} is not known", f"known: {', '.join(EXAMPLE_KINDS)}, all")
    with Atlas.open(store) as atlas:
        thing = look_up(atlas, id)
        run = atlas.run(thing.run) if isinstance(thing, Sae) else None
        found = _studied(atlas, thing.id) if isinstance(thing, Head) else None

    def text() -> None:
        show_thing(out, thing, examples, kind)
        if run is not None:
            show_joint(out, run)
        if found is not None:
            studies.show_head(out, *found)

    print_as(thing, as_json, text)


def _studied(atlas: "Atlas", head: "HeadId") -> "tuple[HeadStudies, HeadRoles, HeadComposition]":
    return atlas.head_studies(head), atlas.machine_roles(head), atlas.composition(head)


@cli.command(rich_help_panel=LOOK)
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
    from app.terminal.hits import show_pairs
    from atlas.api import Atlas
    from atlas.types import PairQuery

    asked = PairQuery(
        dst, src, distance_min, distance_max, model, sae, layer, head, family, limit, after
    )
    with Atlas.open(store) as atlas:
        page = atlas.pairs(asked)
    print_as(page, as_json, lambda: show_pairs(out, page))


@cli.command(rich_help_panel=LOOK)
def prompt(
    text: Annotated[str, typer.Argument(help="The prompt.")],
    store: Store = HERE,
    model: Annotated[str | None, typer.Option(help="Model, where the atlas has several.")] = None,
    feature: Annotated[
        str | None, typer.Option(help="Trace this feature to heads and sources.")
    ] = None,
    pos: Annotated[
        int | None, typer.Option(help="Where; by default where it is strongest beyond position 0.")
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
    from app.terminal import prompt as explain
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
            print_as(ranked, as_json, lambda: explain.show_ranked(out, ranked))
        elif known is None:
            found = explorer.features(text, top=top)
            print_as(found, as_json, lambda: explain.show_features(out, found, titles))
        elif ablate:
            done = explorer.ablate(text, [Edit(known, "zero")])
            print_as(done, as_json, lambda: explain.show_ablation(out, done, titles))
        elif recurse:
            graph = explorer.graph(text, known, pos, depth, top, skip_start=skip_start)
            print_as(graph, as_json, lambda: explain.show_graph(out, graph, titles))
        else:
            trace = explorer.trace(text, known, pos)
            print_as(trace, as_json, lambda: explain.show_trace(out, trace, titles, top))


@cli.command(rich_help_panel=LOOK)
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
    from app.terminal.labels import show_review
    from atlas.api import Atlas

    with Atlas.open(store) as atlas:
        queue = atlas.review_queue(limit, sae, reason)  # type: ignore[arg-type]
    print_as(queue, as_json, lambda: show_review(out, queue))
