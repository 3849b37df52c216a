"""A few tokens of an example inside a list, coloured as on the feature's page."""

import math

from markupsafe import Markup

from app.web.widgets.html import html, join
from app.web.widgets.text import exact, sig, visible
from atlas.types import Example

FLOOR = 0.05
"""Least opacity of a coloured token; examples.js has the same."""


def opacity(value: float, scale: float) -> float:
    """Opacity of a value, logarithmic: 1 at `scale`, at least FLOOR."""
    return max(FLOOR, math.log10(1 + 9 * min(1.0, abs(value) / scale))) if scale else FLOOR


def snippet(example: Example, before: int = 12, after: int = 5) -> Markup:
    """The tokens around where the feature fires, with the strongest source."""
    first, last = max(0, example.pos - before), min(len(example.tokens), example.pos + after + 1)
    acts = dict(example.acts)
    sources = {source.pos: source.dfa for source in example.sources if source.dfa > 0}
    top_act, top_dfa = max(acts.values(), default=0.0), max(sources.values(), default=0.0)
    parts = [Markup("…")] if first else []
    strongest = max(sources, key=lambda pos: sources[pos], default=example.pos)
    if strongest < first:
        parts = [
            _token(example.tokens[strongest], 0, 0, sources[strongest], top_dfa),
            Markup(" … "),
        ]
    for pos in range(first, last):
        parts.append(
            _token(example.tokens[pos], acts.get(pos, 0), top_act, sources.get(pos, 0), top_dfa)
        )
    return html('<div class="ex"><div class="text">{}</div></div>', join(parts))


def _token(token: str, act: float, top_act: float, dfa: float, top_dfa: float) -> Markup:
    if not act and not dfa:
        return html("<span>{}</span>", visible(token))
    kinds, style, words = [], [], [exact(token)]
    if act:
        kinds.append("a")
        style.append(f"--a:{opacity(act, top_act):.2f}")
        words.append(f"activation {sig(act)}")
    if dfa:
        kinds.append("s")
        style.append(f"--s:{opacity(dfa, top_dfa):.2f}")
        words.append(f"gives {sig(dfa)}")
    return html(
        '<span class="{}" style="{}" data-tip="{}">{}</span>',
        " ".join(kinds),
        ";".join(style),
        ", ".join(words),
        visible(token),
    )
