"""Where heads look on a prompt, and why: patterns, and one score by pairs of pieces."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st
from markupsafe import Markup

from app.web.url import link
from app.web.widgets.html import a, a_id, html, join
from app.web.widgets.pieces import Seen, named, pieces_table, signed
from app.web.widgets.strip import strip
from app.web.widgets.table import Column, table
from app.web.widgets.text import exact, fixed, percent, visible
from atlas.ids import HeadId
from atlas.prompt_types import Pattern, Score

_COMPONENT = st.components.v2.component(
    "atlas_pattern", js=Path(__file__).with_name("pattern.js").read_text(), isolate_styles=False
)
_WINDOW = 64
_PAIRS, _OUT = 12, 6


def looks(seen: Seen, patterns: Sequence[Pattern], given: Mapping[HeadId, float]) -> Markup:
    """One line a head: where it looks from the position that the place names.

    Args:
        seen: the prompt; its place has `pos`.
        patterns: of the heads to show.
        given: what each head gave to the feature that is traced, where one is.
    """
    pos = seen.place.pos or 0
    lines = join(_line(seen, one, pos, given.get(one.head)) for one in patterns)
    return html(
        '<h2>Where its heads look <span class="small soft">from <span class="tok">{}</span>,'
        " position {}; choose a token to see why</span></h2>{}",
        visible(seen.prompt.tokens[pos]),
        pos,
        lines,
    )


def _line(seen: Seen, pattern: Pattern, pos: int, gives: float | None) -> Markup:
    head, snapshot = pattern.head, seen.snapshot
    words = "" if gives is None else f"gives {fixed(gives, 3)}"
    return html(
        '<div class="look"><div>{} <span class="tiny soft">{}</span><br>{}</div>{}</div>',
        a_id(head, snapshot, f"L{head.layer}H{head.head}"),
        words,
        a(replace(seen.place, head=head), "whole pattern", snapshot, "tiny"),
        strip(
            seen.prompt,
            snapshot,
            lambda src: replace(seen.place, head=head, src=min(src, pos)),
            given=dict(enumerate(pattern.rows[pos])),
            gives="attention",
            scale=max(pattern.rows[pos][1:], default=1.0),
            here=pos,
            chosen=seen.place.src if head == seen.place.head else None,
        ),
    )


def show_pattern(seen: Seen, pattern: Pattern) -> None:
    """The whole pattern of a head; a cell leads to why it looked there.

    The first position is pale and out of the scale: many heads rest there.
    """
    _COMPONENT(data=data_of(seen, pattern), key="pattern")


def data_of(seen: Seen, pattern: Pattern) -> dict[str, Any]:
    """What pattern.js draws: the window of positions that ends at the one looked from."""
    last = len(pattern.rows) - 1
    end = min(last, max(seen.place.pos or 0, _WINDOW - 1))
    begin = max(0, end - _WINDOW + 1)
    shown = range(begin, end + 1)
    return {
        "first": begin,
        "tokens": [visible(seen.prompt.tokens[pos]) for pos in shown],
        "exact": [exact(seen.prompt.tokens[pos]) for pos in shown],
        "rows": [[round(one, 4) for one in pattern.rows[pos][begin:]] for pos in shown],
        "scale": max((one for row in pattern.rows for one in row[1:]), default=1.0) or 1.0,
        "pos": seen.place.pos,
        "src": seen.place.src,
        "href": link(replace(seen.place, head=pattern.head, pos=None, src=None), seen.snapshot),
        "left": len(pattern.rows) - len(shown),
    }


def why(seen: Seen, score: Score) -> Markup:
    """One attention score taken apart into query-side and key-side pieces."""
    tokens = seen.prompt.tokens
    return html(
        '<h2>Why {} looks from <span class="tok">{}</span> {} to <span class="tok">{}</span> {}'
        "</h2>"
        '<div class="figures"><span data-tip="{}">score <b>{}</b></span>'
        "<span>attention <b>{}</b></span>"
        '<span data-tip="{}">above its average <b>{}</b></span>'
        '<span data-tip="{}">coverage <b>{}</b></span>'
        '<span data-tip="{}">from features <b>{}</b></span><span>residual <b>{}</b></span></div>'
        '<p class="small soft">Of all contributions by size, pairs of two features make the'
        " coverage; MLPs, embeddings and layers without an SAE make the rest. Held fixed: {}.</p>"
        '{}<div class="two"><div><h3 data-tip="{}">On the side that looks: what makes it stand out'
        "</h3>{}</div><div><h3>On the side looked at</h3>{}</div></div>",
        a_id(score.head, seen.snapshot, f"L{score.head.layer}H{score.head.head}"),
        visible(tokens[score.dst]),
        score.dst,
        visible(tokens[score.src]),
        score.src,
        "before softmax",
        fixed(score.score, 4),
        percent(score.pattern),
        "the score less the average that the pattern makes over all sources",
        fixed(score.contrast, 4),
        "of the absolute contributions, the part that pairs of two features make",
        percent(score.share_features),
        "what pairs of two features give to the score",
        fixed(score.from_features, 4),
        f"{score.residual:.1e}",
        ", ".join(score.frozen),
        _pairs(seen, score),
        "what each gives to the score above its average",
        pieces_table(seen, score.standing_out[:_OUT]),
        pieces_table(seen, score.key[:_OUT]),
    )


def _pairs(seen: Seen, score: Score) -> Markup:
    columns = (
        Column("looks with", width="35%"),
        Column("looked at for", width="35%"),
        Column("gives", True, width="6em"),
        Column(""),
    )
    pairs = score.pairs[:_PAIRS]
    most = max((abs(one.value) for one in pairs), default=0.0)
    lines = (
        (named(seen, one.query), named(seen, one.key), *signed(one.value, most)) for one in pairs
    )
    return table(columns, lines)
