"""Token pairs: features that fire on one token because of another one."""

from dataclasses import replace

from markupsafe import Markup

from app.web.widgets import here
from app.web.widgets.bars import Spread, sparkline, top_head
from app.web.widgets.fields import box, form
from app.web.widgets.frame import empty
from app.web.widgets.hits import name_of, pick
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.text import count
from app.web.widgets.tokens import snippet
from atlas.api import Atlas
from atlas.types import PairHit, PairPage, PairQuery


def render(atlas: Atlas) -> None:
    """The page of the pair search."""
    query, snapshot = here.place(PairQuery), atlas.snapshot.name
    show(_form(query, snapshot))
    if query == PairQuery():
        show(_how(snapshot))
        return
    page = atlas.pairs(query)
    if page.hits:
        show(_found(query, page, atlas.histograms(hit.row.id for hit in page.hits)))
    else:
        show(empty("No kept example has this pair.", "Drop the head, or widen the distance."))


def _form(query: PairQuery, snapshot: str) -> Markup:
    return html(
        '<h1 class="pagetop">Token pairs</h1><p class="small soft">Among the strongest examples:'
        " which features fire on one token, and were made to by another?</p>{}",
        form(
            replace(query, after=""),
            snapshot,
            "row bottom pairs",
            box("dst", "fires on", query.dst, '" the"'),
            box("src", "reads from", query.src, "any"),
            box("distance_min", "at least … before", query.distance_min, "0"),
            box("distance_max", "at most … before", query.distance_max, "any"),
            box("layer", "layer", query.layer, "any"),
            box("head", "through head", query.head, "any"),
            Markup('<button class="first">Find</button>'),
        ),
    )


def _how(snapshot: str) -> Markup:
    return empty(
        "Give a token, a distance or a head.",
        html(
            "Tokens are exact: most words begin with a space, so write <code>▁the</code> or"
            ' <code>" the"</code>; a line break is <code>\\n</code>. For example {}.',
            a(
                PairQuery(distance_min=1, distance_max=1),
                "features that read the token before",
                snapshot,
            ),
        ),
    )


def _found(query: PairQuery, page: PairPage, spreads: Spread) -> Markup:
    following = replace(query, after=page.after)
    more = a(following, "next page →", page.snapshot, "button") if page.after else ""
    words = "feature" if page.total == 1 else "features"
    return html(
        '<p><b>{} {}</b></p>{}<div class="row pages">{}</div>',
        count(page.total),
        words,
        join(_card(hit, spreads, page.snapshot) for hit in page.hits),
        more,
    )


def _card(hit: PairHit, spreads: Spread, snapshot: str) -> Markup:
    return html(
        '<div class="hit">{}<div><div class="row"><span class="title">{}</span>{}</div>{}</div>'
        '<div>{}<div class="nums">{}<span><b>{}</b> of {} strongest</span></div></div></div>',
        pick(hit.row),
        a_id(hit.row.id, snapshot, name_of(hit.row), "title"),
        a_id(hit.row.id, snapshot, kind="id small"),
        snippet(hit.example),
        top_head(hit.row, snapshot),
        sparkline(hit.row, spreads),
        hit.matches,
        hit.kept,
    )
