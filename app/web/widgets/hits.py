"""Features in lists: cards with title, heads, numbers and the strongest example."""

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from app.web.widgets.bars import Spread, sparkline, top_head
from app.web.widgets.html import a_id, html, join
from app.web.widgets.roles import role_name
from app.web.widgets.text import density, percent, sig
from app.web.widgets.tokens import snippet
from atlas.api import Atlas
from atlas.ids import FeatureId
from atlas.types import Example, FeatureRow

_NO_SPREAD: Spread = {}
_SAID_BY_TITLE = ("title: ", "label: ")
_MATCH = re.compile("«(.*?)»", re.DOTALL)


def name_of(row: FeatureRow) -> str:
    """A feature's title, or why it has none."""
    return row.title or ("a feature that never fired" if row.firings == 0 else "without a title")


def title(row: FeatureRow) -> Markup:
    """A feature's title, pale where it has none."""
    return html('<span class="{}">{}</span>', "" if row.title else "soft", name_of(row))


def rows_of(atlas: Atlas, names: Iterable[FeatureId]) -> dict[FeatureId, FeatureRow]:
    """The rows of those features that this snapshot has."""
    evidence = atlas.evidence
    keys = [evidence.key(name) for name in dict.fromkeys(names) if evidence.has(name)]
    return {row.id: row for row in evidence.rows_of(keys)}


def support(row: FeatureRow) -> Markup:
    """Who wrote the title and how far it holds."""
    if row.title_method is None:
        return Markup("")
    if row.title_support is None:
        return html('<span class="chip">by {}</span>', row.title_method)
    return html(
        '<span class="chip" data-tip="title by {}; share of the held-back examples that it'
        ' explains">support {}</span>',
        row.title_method,
        percent(row.title_support),
    )


def card(
    row: FeatureRow,
    snapshot: str,
    best: Example | None,
    reasons: Sequence[str] = (),
    spreads: Spread = _NO_SPREAD,
) -> Markup:
    """One search result, with what matched marked in the title and named below it.

    Args:
        row: the feature.
        snapshot: name of what is shown.
        best: its strongest example.
        reasons: what matched, in «» where it stands.
        spreads: histograms of the activations of all results of the list.
    """
    marked = _matched_title(row, reasons)
    others = [one for one in reasons if marked is None or not one.startswith(_SAID_BY_TITLE)]
    why = html('<div class="why">{}</div>', join(map(_marked, others), " · ")) if others else ""
    family = html('<span class="chip good">{}</span>', role_name(row.family)) if row.family else ""
    name = name_of(row) if marked is None else _marked(marked)
    return html(
        '<div class="hit">{}<div><div class="row"><span class="title">{}</span>{}{}{}</div>'
        '{}{}</div><div>{}<div class="nums">{}{}</div></div></div>',
        pick(row),
        a_id(row.id, snapshot, name, "title"),
        a_id(row.id, snapshot, kind="id small"),
        support(row),
        family,
        why,
        snippet(best) if best else "",
        top_head(row, snapshot),
        sparkline(row, spreads),
        html(
            '<span data-tip="share of tokens it fires on">fires on <b>{}</b></span>'
            '<span data-tip="largest activation">max <b>{}</b></span>',
            density(row.density),
            sig(row.max_act),
        ),
    )


def pick(row: FeatureRow) -> Markup:
    """A box to choose a feature for the basket."""
    words = f"choose {row.id}"
    return html(
        '<input type="checkbox" data-pick="{}" aria-label="{}" data-tip="{}">',
        str(row.id),
        words,
        "into the basket (x)",
    )


def _matched_title(row: FeatureRow, reasons: Sequence[str]) -> str | None:
    """The title with its matches in «», when a reason shows it whole."""
    texts = (one.removeprefix("title: ") for one in reasons if one.startswith("title: "))
    return next((text for text in texts if _MATCH.sub(r"\1", text) == row.title), None)


def _marked(reason: str) -> Markup:
    """A reason with its matches marked; what stands between is escaped."""
    parts, end = [], 0
    for found in _MATCH.finditer(reason):
        parts += [html("{}", reason[end : found.start()]), html("<mark>{}</mark>", found[1])]
        end = found.end()
    return join([*parts, html("{}", reason[end:])])
