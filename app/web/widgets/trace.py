"""A feature on a prompt: what each token and head gave to it, and what wrote one of the tokens."""

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from app.web.trail import Stop, Trail
from app.web.url import AtPrompt, link
from app.web.widgets.hits import name_of
from app.web.widgets.html import a, a_id, html, join
from app.web.widgets.pieces import Seen, pieces_table, short, signed
from app.web.widgets.strip import strip, token_at
from app.web.widgets.table import Column, table
from app.web.widgets.text import fixed, percent, visible
from atlas.ids import FeatureId, HeadId
from atlas.prompt_types import Prompt, Step, Trace

_SHOWN, _FIRES = 12, 12


def stop_of(place: AtPrompt) -> Stop:
    """The trace that is shown, as a stop of a trail."""
    assert place.feature is not None
    assert place.pos is not None
    return Stop(place.feature, place.pos, place.src)


def trail(place: AtPrompt, prompt: Prompt, snapshot: str) -> Markup:
    """The way here; each stop leads back to it."""
    whole = AtPrompt(place.text, place.other, place.model)
    parts = [a(whole, "whole text", snapshot)]
    for n, stop in enumerate(place.trail.stops):
        back = AtPrompt(
            place.text, place.other, place.model, stop.pos, stop.feature, stop.src,
            depth=place.depth, top=place.top, trail=Trail(place.trail.stops[:n]),
        )  # fmt: skip
        parts.append(a(back, _stop(stop.feature, stop.pos, prompt), snapshot))
    if place.feature is not None and place.pos is not None:
        parts.append(html("<b>{}</b>", _stop(place.feature, place.pos, prompt)))
    return html('<div class="crumbs trail">{}</div>', join(parts, " ← "))


def _stop(feature: FeatureId, pos: int, prompt: Prompt) -> str:
    on = visible(prompt.tokens[pos]).strip() if pos < len(prompt.tokens) else ""
    return f"{short(feature)} on “{on}” {pos}"


def traced(seen: Seen, trace: Trace, acts: Sequence[float]) -> Markup:
    """What made a feature fire at one position."""
    place, snapshot = seen.place, seen.snapshot
    row = seen.rows.get(trace.feature)
    firing = {pos: act for pos, act in enumerate(acts) if act > 0}
    firing.setdefault(trace.pos, trace.pre)
    given = {one.pos: one.dfa for one in trace.sources}
    does = fixed(trace.act, 4) if trace.act > 0 else "0 (it does not fire)"
    return html(
        '<h2>{} <span class="small">{}</span></h2>'
        '<p class="small soft">Activation <b>{}</b> on <span class="tok">{}</span>, position {}.'
        " Orange: where it fires. Blue: what each token gives to it there; a dashed line takes"
        " away. Choose a token to see what wrote it.</p>{}{}"
        '<div class="two"><div><h3>By token</h3>{}</div><div><h3>By head</h3>{}</div></div>{}',
        name_of(row) if row else "",
        a_id(trace.feature, snapshot),
        does,
        visible(trace.prompt.tokens[trace.pos]),
        trace.pos,
        strip(
            trace.prompt,
            snapshot,
            lambda pos: replace(place, src=pos, head=None),
            acts=firing,
            given=given,
            here=trace.pos,
            chosen=place.src,
        ),
        _elsewhere(seen, trace, acts),
        _sources(seen, trace),
        _heads(seen, trace),
        _sum(trace),
    )


def _elsewhere(seen: Seen, trace: Trace, acts: Sequence[float]) -> Markup:
    """The positions where the feature fires: links to its trace there."""
    firing = sorted((pos for pos, act in enumerate(acts) if act > 0), key=lambda pos: -acts[pos])
    others = [pos for pos in firing if pos != trace.pos]
    if not others:
        return Markup("")
    chips = join(
        a(
            replace(seen.place, pos=pos, src=None, head=None),
            f"{visible(trace.prompt.tokens[pos]).strip() or '␣'} {pos}: {fixed(acts[pos], 2)}",
            seen.snapshot,
            "chip",
        )
        for pos in others[:_FIRES]
    )
    more = len(others) - _FIRES
    rest = html('<span class="tiny soft">and at {} more</span>', more) if more > 0 else ""
    return html(
        '<div class="row small"><span class="soft">It also fires on</span>{}{}</div>', chips, rest
    )


_COLUMNS = (Column("", width="9em"), Column("gives", True, width="6em"), Column(""))


def _sources(seen: Seen, trace: Trace) -> Markup:
    strongest = sorted(trace.sources, key=lambda one: -abs(one.dfa))[:_SHOWN]
    most = max((abs(one.dfa) for one in strongest), default=0.0)
    lines = (
        (
            html(
                '<a href="{}">{}</a>',
                link(replace(seen.place, src=one.pos, head=None), seen.snapshot),
                token_at(trace.prompt, one.pos),
            ),
            *signed(one.dfa, most),
        )
        for one in strongest
    )
    return table(_COLUMNS, lines)


def _heads(seen: Seen, trace: Trace) -> Markup:
    of = trace.feature.sae
    most = max(map(abs, trace.heads), default=0.0)
    order = sorted(range(len(trace.heads)), key=lambda head: -abs(trace.heads[head]))[:_SHOWN]
    lines = (
        (
            a_id(HeadId(of.model, of.layer, head), seen.snapshot, f"L{of.layer}H{head}"),
            *signed(trace.heads[head], most),
        )
        for head in order
    )
    return table(_COLUMNS, lines)


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


def stepped(seen: Seen, step: Step) -> Markup:
    """What wrote one source position, as the feature reads it."""
    return html(
        '<h2>What wrote <span class="tok">{}</span>, position {}</h2>'
        '<p class="small soft">It gives {}, of which {} by fixed biases. SAE errors make {} of all'
        " contributions by size. Held fixed: {}.</p>{}",
        visible(step.prompt.tokens[step.src]),
        step.src,
        fixed(step.total, 4),
        fixed(step.const, 4),
        percent(step.share_error),
        ", ".join(step.frozen),
        pieces_table(seen, step.pieces),
    )
