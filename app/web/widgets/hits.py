"""Features in lists: cards with title, heads, numbers and the strongest example."""

import re
from collections.abc import Sequence

from markupsafe import Markup

from app.web.widgets.bars import top_head
from app.web.widgets.html import a_id, html, join
from app.web.widgets.text import percent, sig
from app.web.widgets.tokens import snippet
from atlas.types import Example, FeatureRow

_MATCH = re.compile("«(.*?)»", re.DOTALL)


def title(row: FeatureRow) -> Markup:
    """A feature's title, or that it has none."""
    if row.title is not None:
        return html("{}", row.title)
    none = "never fired" if row.firings == 0 else "no title"
    return html('<span class="soft">{}</span>', none)


def support(row: FeatureRow) -> Markup:
    """Who wrote the title and how far it holds."""
    if row.title_support is not None:
        return html(
            '<span class="chip" title="share of held-back examples that the title explains">'
            "{} · support {}</span>",
            row.title_method,
            percent(row.title_support),
        )
    return (
        html('<span class="chip">{}</span>', row.title_method) if row.title_method else Markup("")
    )


def card(
    row: FeatureRow, snapshot: str, best: Example | None, reasons: Sequence[str] = ()
) -> Markup:
    """One search result."""
    why = [html('<div class="why">{}</div>', _marked(reason)) for reason in reasons]
    family = html('<span class="chip good">{}</span>', row.family) if row.family else ""
    return html(
        '<div class="hit"><div><div class="row"><span class="title">{}</span>{}{}</div>'
        '{}{}</div><div>{}</div><div class="nums">{}</div></div>',
        a_id(row.id, snapshot, row.title or "no title", "title"),
        support(row),
        family,
        join(why),
        snippet(best) if best else "",
        top_head(row, snapshot),
        html(
            '{}<br><b title="density: share of tokens it fires on">{}</b><br>max <b>{}</b>',
            a_id(row.id, snapshot, kind="id tiny"),
            percent(row.density),
            sig(row.max_act),
        ),
    )


def _marked(reason: str) -> Markup:
    """A reason with its matches marked; what stands between is escaped."""
    parts, end = [], 0
    for found in _MATCH.finditer(reason):
        parts += [html("{}", reason[end : found.start()]), html("<mark>{}</mark>", found[1])]
        end = found.end()
    return join([*parts, html("{}", reason[end:])])
