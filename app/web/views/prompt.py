"""Prompt: a text of one's own, what fires on it, what made a feature fire, what a change does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from app.web.url import AtPrompt
from app.web.widgets import here
from app.web.widgets.attention import looks, show_pattern, why
from app.web.widgets.change import change_form, changed, edit_of
from app.web.widgets.explorer import explorer
from app.web.widgets.fields import choice, form
from app.web.widgets.firings import firing_map, firing_table, strongest
from app.web.widgets.frame import empty
from app.web.widgets.graph import show_graph
from app.web.widgets.hits import rows_of
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.pieces import Seen, pieces_table, see
from app.web.widgets.table import Column, table
from app.web.widgets.text import exact, fixed, percent, visible
from app.web.widgets.trace import stepped, stop_of, traced, trail
from app.web.widgets.versus import versus
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId
from atlas.prompt_types import Features, LayerFeatures, Logit, Piece, Trace

if TYPE_CHECKING:
    from atlas.prompt import Explorer

_EXAMPLE = "When Mary and John went to the store, John gave a drink to"
_STRONGEST, _PIECES, _HEADS = 30, 15, 3


def render(atlas: Atlas) -> None:
    """The prompt that the URL holds, seen through the SAEs."""
    place, snapshot = here.place(AtPrompt), atlas.snapshot.name
    models = sorted({sae.id.model for sae in atlas.saes()})
    if not models:
        raise NotFound("this atlas has no SAEs", "make some with `atlas ingest`")
    show(_form(place, models, snapshot))
    if not place.text.strip():
        example = replace(place, text=_EXAMPLE)
        show(empty("No text yet.", a(example, f"Try “{_EXAMPLE}”.", snapshot)))
        return
    opened = explorer(atlas, _model(place, models))
    if place.feature is not None:
        _show_feature(atlas, opened, place, place.feature)
    elif place.head is not None:
        _show_head(atlas, opened, place, place.head)
    else:
        _show_text(atlas, opened, place)


def _model(place: AtPrompt, models: Sequence[str]) -> str:
    if place.feature:
        return place.feature.sae.model
    return place.head.model if place.head else place.model or models[0]


def _form(place: AtPrompt, models: Sequence[str], snapshot: str) -> Markup:
    of = choice(
        "model", "model ", {m: m for m in models}, place.model or models[0], unset=models[0]
    )
    return form(
        AtPrompt(feature=place.feature, head=place.head),
        snapshot,
        "sql",
        html('<h1 class="pagetop">Prompt</h1>{}', _asked(place, snapshot)),
        _text("text", "Your text", place.text, "A text of your own"),
        html(
            "<details{}><summary>Compare with a second text, such as a corrupted one</summary>{}"
            "</details>",
            Markup(" open") if place.other else "",
            _text("other", "Second text", place.other, "The same text with one thing changed"),
        ),
        html(
            '<div class="row">{}<button class="first">See what fires</button>'
            '<span class="tiny soft">Ctrl+Enter</span></div>',
            of if len(models) > 1 else "",
        ),
    )


def _text(name: str, words: str, value: str, placeholder: str) -> Markup:
    return html(
        '<textarea data-name="{}" rows="{}" aria-label="{}" placeholder="{}">{}</textarea>',
        name,
        max(2, min(12, value.count("\n") + 2)),
        words,
        placeholder,
        value,
    )


def _asked(place: AtPrompt, snapshot: str) -> Markup:
    if place.text:
        return Markup("")
    if place.feature:
        return html('<p class="small">What makes {} fire?</p>', a_id(place.feature, snapshot))
    if place.head:
        return html('<p class="small">Where does {} look?</p>', a_id(place.head, snapshot))
    return Markup("")


# What fires on the whole text


def _show_text(atlas: Atlas, opened: "Explorer", place: AtPrompt) -> None:
    snapshot = atlas.snapshot.name
    found = opened.features(place.text)
    prompt = found.prompt
    firings = [one for layer in found.layers for one in layer.firings]
    rows = rows_of(atlas, (one.feature for one in firings))
    show(firing_map(place, found, rows, snapshot), _missing(found))
    if place.pos is not None:
        logit = opened.logit(place.text, place.pos, top=_PIECES)
        show(_at(atlas, place, found, logit))
    elif place.other.strip():
        compared = opened.compare(place.text, place.other)
        differing = rows_of(atlas, (one.feature for one in compared.features))
        show(versus(place, compared, differing, snapshot))
    else:
        best = strongest(prompt, firings, rows, _STRONGEST)
        show(
            html(
                '<h2>Strongest features</h2><p class="small soft">Each at its strongest token,'
                " ordered by the share of its own maximum. Choose a token above to see all that"
                " fires there.</p>{}",
                firing_table(place, prompt, best, rows, snapshot),
            )
        )
    show(html("<h2>How well the SAEs see this text</h2>{}", _layers(found.layers, snapshot)))


def _missing(found: Features) -> Markup:
    lines = join(html("<p>{}</p>", why) for why in found.missing)
    return html('<div class="notice">{}</div>', lines) if found.missing else Markup("")


def _at(atlas: Atlas, place: AtPrompt, found: Features, logit: Logit) -> Markup:
    """Everything at one token: what fires there by layer, and what the model predicts from it."""
    snapshot, prompt, pos = atlas.snapshot.name, found.prompt, logit.pos
    rows = rows_of(
        atlas, (o.feature for layer in found.layers for o in layer.firings if o.pos == pos)
    )
    parts = []
    for layer in found.layers:
        own = [one for one in layer.firings if one.pos == pos]
        some = f"{len(own)} strongest of {layer.l0[pos]}"
        lines = firing_table(place, prompt, own, rows, snapshot)
        parts.append(html("<h3>{}, {}</h3>{}", a_id(layer.sae, snapshot), some, lines))
    return html(
        '<h2>On <span class="tok">{}</span>, position {} <span class="small">{}</span></h2>{}{}',
        visible(prompt.tokens[pos]),
        pos,
        a(replace(place, pos=None), "back to the whole text", snapshot),
        join(parts),
        _predicted(see(atlas, place, prompt, logit.pieces, place.trail), logit),
    )


def _predicted(seen: Seen, logit: Logit) -> Markup:
    return html(
        '<h2>What predicts <span class="tok" data-tip="{}">{}</span> next</h2>'
        '<p class="small soft">The most likely next token has logit {}. Direct contributions,'
        " of which fixed biases make {}; SAE errors make {} by size. Held fixed: {}.</p>{}",
        exact(logit.text),
        visible(logit.text),
        fixed(logit.value, 4),
        fixed(logit.const, 4),
        percent(logit.share_error),
        ", ".join(logit.frozen),
        pieces_table(seen, logit.pieces),
    )


def _layers(layers: Sequence[LayerFeatures], snapshot: str) -> Markup:
    columns = (
        Column("SAE"),
        Column("features per token", True),
        Column(
            "variance left out", True, "share of z's variance over the text that the SAE misses"
        ),
    )
    lines = (
        (a_id(one.sae, snapshot), fixed(sum(one.l0) / len(one.l0), 1), percent(one.fvu))
        for one in layers
    )
    return table(columns, lines)


# One feature


def _show_feature(atlas: Atlas, opened: "Explorer", place: AtPrompt, feature: FeatureId) -> None:
    trace = opened.trace(place.text, feature, place.pos)
    place = replace(place, pos=trace.pos)
    step = graph = None
    if place.src is not None:
        step = opened.step(place.text, feature, trace.pos, place.src, _PIECES)
    graph = opened.graph(place.text, feature, trace.pos, place.depth, place.top)
    onward = place.trail.then(stop_of(place))
    pieces = [*(step.pieces if step else ()), *(node.piece for node in graph.nodes)]
    seen = see(atlas, place, trace.prompt, pieces, onward)
    show(
        trail(place, trace.prompt, seen.snapshot),
        traced(seen, trace, opened.acts(place.text, feature)),
    )
    if step:
        show(stepped(seen, step))
    show_graph(seen, graph)
    _show_looks(opened, seen, _concerned(place, trace), _given(trace))
    if place.src is not None:
        _show_why(atlas, opened, place, place.head or _reader(trace, place.src))
    _show_change(atlas, opened, seen, feature)


def _given(trace: Trace) -> dict[HeadId, float]:
    of = trace.feature.sae
    return {HeadId(of.model, of.layer, head): gives for head, gives in enumerate(trace.heads)}


def _concerned(place: AtPrompt, trace: Trace) -> list[HeadId]:
    """The heads that give most, and the one that the URL names."""
    given = _given(trace)
    most = sorted(given, key=lambda head: -abs(given[head]))[:_HEADS]
    return most if place.head is None or place.head in most else [*most, place.head]


def _reader(trace: Trace, src: int) -> HeadId:
    """The head by which most was read from a source."""
    heads = trace.sources[src].heads
    best = max(range(len(heads)), key=lambda head: abs(heads[head]))
    return HeadId(trace.feature.sae.model, trace.feature.sae.layer, best)


# One head


def _show_head(atlas: Atlas, opened: "Explorer", place: AtPrompt, head: HeadId) -> None:
    pattern = opened.pattern(place.text, head)
    pos = len(pattern.rows) - 1 if place.pos is None else place.pos
    if pos >= len(pattern.rows):
        raise NotFound(f"no position {pos}", f"this text has 0 to {len(pattern.rows) - 1}")
    place = replace(place, pos=pos)
    seen = see(atlas, place, pattern.prompt, (), place.trail)
    whole = replace(place, head=None, pos=None, src=None)
    show(html('<div class="crumbs trail">{}</div>', a(whole, "whole text", seen.snapshot)))
    _show_looks(opened, seen, [head], {})
    if place.src is not None:
        _show_why(atlas, opened, place, head)
    _show_change(atlas, opened, seen, head)


def _show_looks(
    opened: "Explorer", seen: Seen, heads: Sequence[HeadId], given: dict[HeadId, float]
) -> None:
    patterns = [opened.pattern(seen.place.text, head) for head in heads]
    show(looks(seen, patterns, given))
    chosen = next((one for one in patterns if one.head == seen.place.head), None)
    if chosen is not None:
        show_pattern(seen, chosen)


def _show_why(atlas: Atlas, opened: "Explorer", place: AtPrompt, head: HeadId) -> None:
    assert place.pos is not None
    assert place.src is not None
    score = opened.qk(place.text, head.layer, head.head, place.pos, place.src)
    pairs: list[Piece] = [side for one in score.pairs for side in (one.query, one.key)]
    onward = place.trail.then(stop_of(place)) if place.feature else place.trail
    pieces = [*pairs, *score.standing_out, *score.key]
    show(why(see(atlas, place, score.prompt, pieces, onward), score))


def _show_change(atlas: Atlas, opened: "Explorer", seen: Seen, target: FeatureId | HeadId) -> None:
    place = seen.place
    show(change_form(place, target, seen.snapshot))
    if not place.how:
        return
    done = opened.ablate(place.text, [edit_of(atlas, place, target)])
    shown = seen._replace(rows=rows_of(atlas, (one.feature for one in done.downstream)))
    show(changed(shown, done))
