"""A feature on a prompt: what each token and head gave to it, and what wrote one of the tokens."""

from collections.abc import Mapping
from dataclasses import replace

from markupsafe import Markup

from app.web.url import AtPrompt
from app.web.widgets.hits import name_of, rows_of
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.table import Column, table
from app.web.widgets.text import exact, fixed, percent, visible
from app.web.widgets.tokens import opacity
from atlas.api import Atlas
from atlas.ids import FeatureId, HeadId
from atlas.prompt_types import Piece, Prompt, Step, Trace
from atlas.types import FeatureRow

_SHOWN = 15


def prompt_tokens(
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


def token_at(prompt: Prompt, pos: int) -> Markup:
    """A token of a prompt with its position."""
    token = visible(prompt.tokens[pos])
    return html('<span class="tok">{}</span> <span class="soft">{}</span>', token, pos)


def show_trace(atlas: Atlas, place: AtPrompt, trace: Trace, step: Step | None) -> None:
    """What made a feature fire, and where a source was chosen what wrote that."""
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
        prompt_tokens(place, trace.prompt, {trace.pos: trace.act or trace.pre}, given, snapshot),
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
    strongest = sorted(trace.sources, key=lambda one: -abs(one.dfa))[:_SHOWN]
    most = max((abs(one.dfa) for one in strongest), default=0.0)
    lines = (
        (
            token_at(trace.prompt, one.pos),
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
    gives, bars = _SIGNED[1], Column("", width="30%")
    columns = (Column("what", width="16%"), Column("title"), gives, bars)
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
