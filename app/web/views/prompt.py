"""Prompt: a text of one's own, what fires on it, what made a feature fire, what wrote that."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from app.web.url import AtFeature, AtPrompt
from app.web.widgets import here
from app.web.widgets.explorer import explorer
from app.web.widgets.fields import choice, form
from app.web.widgets.frame import empty
from app.web.widgets.hits import name_of, rows_of
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.table import Column, table
from app.web.widgets.text import exact, fixed, percent, visible
from app.web.widgets.tokens import opacity
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId
from atlas.prompt_types import Features, Firing, LayerFeatures, Piece, Prompt, Step, Trace
from atlas.types import FeatureRow

_EXAMPLE = "When Mary and John went to the store, John gave a drink to"
_STRONGEST, _PIECES = 30, 15


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
    model = place.feature.sae.model if place.feature else place.model or models[0]
    opened = explorer(atlas, model)
    if place.feature is None:
        _show_features(atlas, place, opened.features(place.text))
        return
    trace = opened.trace(place.text, place.feature, place.pos)
    place = replace(place, pos=trace.pos)
    step = None
    if place.src is not None:
        step = opened.step(place.text, trace.feature, trace.pos, place.src, _PIECES)
    _show_trace(atlas, place, trace, step)


def _form(place: AtPrompt, models: Sequence[str], snapshot: str) -> Markup:
    of = choice(
        "model", "model ", {m: m for m in models}, place.model or models[0], unset=models[0]
    )
    return form(
        AtPrompt(feature=place.feature),
        snapshot,
        "sql",
        html('<h1 class="pagetop">Prompt</h1>{}', _asked(place, snapshot)),
        html(
            '<textarea data-name="text" rows="{}" aria-label="Your text" placeholder="{}">{}'
            "</textarea>",
            max(2, min(12, place.text.count("\n") + 2)),
            "A text of your own",
            place.text,
        ),
        html(
            '<div class="row">{}<button class="first">See what fires</button>'
            '<span class="tiny soft">Ctrl+Enter</span></div>',
            of if len(models) > 1 else "",
        ),
    )


def _asked(place: AtPrompt, snapshot: str) -> Markup:
    if place.feature is None or place.text:
        return Markup("")
    return html('<p class="small">What makes {} fire?</p>', a_id(place.feature, snapshot))


# What fires


def _show_features(atlas: Atlas, place: AtPrompt, found: Features) -> None:
    snapshot, prompt = atlas.snapshot.name, found.prompt
    firings = [one for layer in found.layers for one in layer.firings]
    rows = rows_of(atlas, (one.feature for one in firings))
    show(
        _tokens(place, prompt, {}, {}, snapshot),
        _missing(found),
        _strongest(place, prompt, firings, rows, snapshot)
        if place.pos is None
        else _at(place, prompt, found.layers, rows, snapshot),
        html("<h2>How well the SAEs see this text</h2>{}", _layers(found.layers, snapshot)),
    )


def _missing(found: Features) -> Markup:
    lines = join(html("<p>{}</p>", why) for why in found.missing)
    return html('<div class="notice">{}</div>', lines) if found.missing else Markup("")


def _tokens(
    place: AtPrompt,
    prompt: Prompt,
    acts: Mapping[int, float],
    given: Mapping[int, float],
    snapshot: str,
) -> Markup:
    """The text token by token; a token leads to its position, or under a trace to its source."""
    top_act = max(acts.values(), default=0.0)
    top_dfa = max(map(abs, given.values()), default=0.0)
    parts = []
    for pos, token in enumerate(prompt.tokens):
        kinds, style, words = [], [], [f"{exact(token)}, position {pos}"]
        if acts.get(pos):
            kinds.append("a here")
            style.append(f"--a:{opacity(acts[pos], top_act):.2f}")
            words.append(f"activation {fixed(acts[pos], 4)}")
        if given.get(pos):
            kinds.append("s minus" if given[pos] < 0 else "s")
            style.append(f"--s:{opacity(given[pos], top_dfa):.2f}")
            words.append(f"gives {fixed(given[pos], 4)}")
        chosen = place.src if place.feature else place.pos
        kinds.append("from" if pos == chosen else "")
        to = replace(place, src=pos) if place.feature else replace(place, pos=pos)
        inner = a(to, visible(token), snapshot)
        parts.append(
            html(
                '<span class="{}" style="{}" title="{}">{}</span>',
                " ".join(kinds),
                ";".join(style),
                "\n".join(words),
                inner,
            )
        )
    return html('<div class="ex prompt"><div class="text">{}</div></div>', join(parts))


def _strongest(
    place: AtPrompt,
    prompt: Prompt,
    firings: Sequence[Firing],
    rows: Mapping[FeatureId, FeatureRow],
    snapshot: str,
) -> Markup:
    """The features that come nearest to their own maximum, each where it is strongest."""
    best: dict[FeatureId, Firing] = {}
    for one in firings:
        if prompt.bos and one.pos == 0:
            continue
        if one.feature not in best or one.act > best[one.feature].act:
            best[one.feature] = one
    known = [one for one in best.values() if one.feature in rows]
    known.sort(key=lambda one: -_share(one, rows))
    return html(
        '<h2>Strongest features</h2><p class="small soft">Each at its strongest token, ordered by'
        " the share of its own maximum. Choose a token above to see all that fires there.</p>{}",
        table(
            _FIRINGS,
            (_firing(place, prompt, one, rows, snapshot) for one in known[:_STRONGEST]),
        ),
    )


_FIRINGS = (
    Column("feature", width="16%"),
    Column("title"),
    Column("on", width="14%"),
    Column("activation", True, width="7%"),
    Column("of its maximum", True, "share of the largest activation while mining", "8%"),
    Column("", width="12%"),
    Column("", True, width="11%"),
)


def _firing(
    place: AtPrompt,
    prompt: Prompt,
    one: Firing,
    rows: Mapping[FeatureId, FeatureRow],
    snapshot: str,
) -> tuple[object, ...]:
    share = _share(one, rows)
    traced = replace(place, feature=one.feature, pos=one.pos, src=None)
    return (
        a(AtFeature(one.feature), str(one.feature), snapshot, "id"),
        name_of(rows[one.feature]) if one.feature in rows else "",
        _where(prompt, one.pos),
        fixed(one.act),
        percent(share),
        html('<span class="bar act"><i style="width:{:.1f}%"></i></span>', 100 * min(1.0, share)),
        a(traced, "what made it fire", snapshot),
    )


def _where(prompt: Prompt, pos: int) -> Markup:
    token = visible(prompt.tokens[pos])
    return html('<span class="tok">{}</span> <span class="soft">{}</span>', token, pos)


def _share(one: Firing, rows: Mapping[FeatureId, FeatureRow]) -> float:
    row = rows.get(one.feature)
    return one.act / row.max_act if row and row.max_act else 0.0


def _at(
    place: AtPrompt,
    prompt: Prompt,
    layers: Sequence[LayerFeatures],
    rows: Mapping[FeatureId, FeatureRow],
    snapshot: str,
) -> Markup:
    pos = place.pos or 0
    if pos >= len(prompt.tokens):
        raise NotFound(f"no position {pos}", f"this text has 0 to {len(prompt.tokens) - 1}")
    parts = []
    for layer in layers:
        here_ = [one for one in layer.firings if one.pos == pos]
        lines = (_firing(place, prompt, one, rows, snapshot) for one in here_)
        some = f"{len(here_)} strongest of {layer.l0[pos]}"
        parts.append(
            html("<h3>{}, {}</h3>{}", a_id(layer.sae, snapshot), some, table(_FIRINGS, lines))
        )
    return html(
        '<h2>On <span class="tok">{}</span>, position {} <span class="small">{}</span></h2>{}',
        visible(prompt.tokens[pos]),
        pos,
        a(replace(place, pos=None), "back to the whole text", snapshot),
        join(parts),
    )


def _layers(layers: Sequence[LayerFeatures], snapshot: str) -> Markup:
    columns = (
        Column("SAE"),
        Column("features per token", True),
        Column(
            "variance left out", True, "share of z's variance over the text that the SAE misses"
        ),
    )
    return table(
        columns,
        (
            (a_id(one.sae, snapshot), fixed(sum(one.l0) / len(one.l0), 1), percent(one.fvu))
            for one in layers
        ),
    )


# What made a feature fire


def _show_trace(atlas: Atlas, place: AtPrompt, trace: Trace, step: Step | None) -> None:
    snapshot = atlas.snapshot.name
    row = rows_of(atlas, [trace.feature])[trace.feature]
    given = {one.pos: one.dfa for one in trace.sources}
    show(
        html(
            '<div class="row far"><h2>{} <span class="small">{}</span></h2>'
            '<span class="small">{}</span></div>'
            '<p class="small soft">Activation {} on <span class="tok">{}</span>, position {}.'
            " Orange: where it fires. Blue: what each token gives to it; a dashed line takes away."
            " Choose a token to see what wrote it.</p>",
            name_of(row),
            a_id(trace.feature, snapshot),
            a(replace(place, feature=None, pos=None, src=None), "back to the whole text", snapshot),
            fixed(trace.act, 4) if trace.act > 0 else "0 (it does not fire)",
            visible(trace.prompt.tokens[trace.pos]),
            trace.pos,
        ),
        _tokens(place, trace.prompt, {trace.pos: trace.act or trace.pre}, given, snapshot),
        html('<div class="two"><div><h3>By token</h3>{}</div><div><h3>By head</h3>{}</div></div>',
             _sources(trace), _heads(trace, snapshot)),
        _sum(trace),
        _step(atlas, place, step) if step else Markup(""),
    )  # fmt: skip


_SIGNED = (Column("", width="9em"), Column("gives", True, width="6em"), Column(""))


def _signed(value: float, most: float) -> tuple[str, Markup]:
    kind = "minus" if value < 0 else ""
    width = 100 * min(1.0, abs(value) / most) if most else 0.0
    return fixed(value, 4), html(
        '<span class="bar {}"><i style="width:{:.1f}%"></i></span>', kind, width
    )


def _sources(trace: Trace) -> Markup:
    strongest = sorted(trace.sources, key=lambda one: -abs(one.dfa))[:_PIECES]
    most = max((abs(one.dfa) for one in strongest), default=0.0)
    lines = (
        (
            _where(trace.prompt, one.pos),
            *_signed(one.dfa, most),
        )
        for one in strongest
    )
    return table(_SIGNED, lines)


def _heads(trace: Trace, snapshot: str) -> Markup:
    of = trace.feature.sae
    most = max(map(abs, trace.heads), default=0.0)
    lines = (
        (
            a_id(HeadId(of.model, of.layer, head), snapshot, f"L{of.layer}H{head}"),
            *_signed(value, most),
        )
        for head, value in enumerate(trace.heads)
    )
    return table(_SIGNED, lines)


def _sum(trace: Trace) -> Markup:
    return html(
        '<p class="small soft">Heads {} + bias {} = pre-activation {}, residual {}.'
        " Held fixed: {}.</p>",
        fixed(sum(trace.heads), 4),
        fixed(trace.bias, 4),
        fixed(trace.pre, 4),
        f"{trace.residual:.1e}",
        ", ".join(trace.frozen),
    )


def _step(atlas: Atlas, place: AtPrompt, step: Step) -> Markup:
    snapshot, prompt = atlas.snapshot.name, step.prompt
    rows = rows_of(atlas, (one.feature for one in step.pieces if one.feature))
    most = max((abs(one.value) for one in step.pieces), default=0.0)
    lines = (
        (*_piece(place, one, rows, snapshot), *_signed(one.value, most)) for one in step.pieces
    )
    columns = (Column("what", width="16%"), Column("title"), *_SIGNED[1:])
    return html(
        '<h2>What wrote <span class="tok">{}</span>, position {}</h2>'
        '<p class="small soft">It gives {}, of which {} by fixed biases. SAE errors make {} of what'
        " is listed. Held fixed: {}.</p>{}",
        visible(prompt.tokens[step.src]),
        step.src,
        fixed(step.total, 4),
        fixed(step.const, 4),
        percent(step.share_error),
        ", ".join(step.frozen),
        table(columns, lines),
    )


def _piece(
    place: AtPrompt, piece: Piece, rows: Mapping[FeatureId, FeatureRow], snapshot: str
) -> tuple[object, object]:
    if piece.feature is None:
        where = "" if piece.layer is None else f" of layer {piece.layer}"
        return f"{piece.kind}{where}", ""
    traced = replace(place, feature=piece.feature, pos=piece.pos, src=None)
    title = name_of(rows[piece.feature]) if piece.feature in rows else ""
    more = a(traced, "what made it fire", snapshot, "tiny")
    return a_id(piece.feature, snapshot), html("{} {}", title, more)
