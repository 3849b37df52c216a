"""Search: words, filters with counts, and the features that match."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import get_args

from markupsafe import Markup

from app.web.url import link
from app.web.widgets import here
from app.web.widgets.frame import empty
from app.web.widgets.hits import card
from app.web.widgets.html import a, html, join, show
from app.web.widgets.text import count
from atlas.api import Atlas
from atlas.ids import parse_head
from atlas.types import Page, Query, Sort

_SORTS: dict[Sort, str] = {
    "relevance": "best match",
    "support": "support of the title",
    "density": "density",
    "max_act": "maximum activation",
    "mean_act": "mean activation",
    "head_share": "share of the top head",
    "disagreement": "weights against measurement",
    "id": "id",
}
_FACETS = ("layer", "head", "family", "sae", "model")
_SHOWN = 8


def render(atlas: Atlas) -> None:
    """The search page."""
    query = here.place(Query)
    page = atlas.search(query)
    best = atlas.strongest(hit.row.id for hit in page.hits)
    cards = [card(hit.row, page.snapshot, best.get(hit.row.id), hit.reasons) for hit in page.hits]
    results = html("{}{}{}", _summary(query, page), join(cards), _pages(query, page))
    show(
        _box(query, page.snapshot),
        html(
            '<div class="side"><aside>{}{}</aside><div>{}</div></div>',
            _facets(query, page),
            _filters(query, page.snapshot),
            results if page.hits else _nothing(query, page.snapshot),
        ),
    )


def _box(query: Query, snapshot: str) -> Markup:
    options = join(
        html(
            '<option value="{}"{}>{}</option>',
            name,
            Markup(" selected") if name == query.sort else "",
            words,
        )
        for name, words in _SORTS.items()
    )
    return html(
        '<form class="row searchbox" action="{}"><input class="grow" data-name="text" type="search"'
        ' value="{}" aria-label="Search features" placeholder="a word, a phrase in quotes,'
        ' start*, token:&quot; the&quot;"><button class="first">Search</button>'
        '<label class="small soft">sorted by <select data-name="sort" data-unset="relevance"'
        ' data-now="1">{}</select></label>{}</form>',
        link(replace(query, after=""), snapshot),
        query.text,
        options,
        a(
            replace(query, descending=not query.descending, after=""),
            "↓" if query.descending else "↑",
            snapshot,
            "button",
            "largest first" if query.descending else "smallest first",
        ),
    )


def _summary(query: Query, page: Page) -> Markup:
    set_ = [
        (one.name, getattr(query, one.name))
        for one in fields(query)
        if one.name not in ("text", "sort", "descending", "limit", "after")
        and getattr(query, one.name) != one.default
    ]
    chips = [
        a(
            replace(query, after="", **{name: _default(name)}),
            f"{name.replace('_', ' ')}: {_said(value)} ✕",
            page.snapshot,
            "chip",
            "remove this filter",
        )
        for name, value in set_
    ]
    what = "feature" if page.total == 1 else "features"
    return html('<div class="row"><b>{} {}</b>{}</div>', count(page.total), what, join(chips))


def _default(name: str) -> object:
    return next(one.default for one in fields(Query) if one.name == name)


def _said(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _facets(query: Query, page: Page) -> Markup:
    return join(
        _facet(query, name, page.facets[name], page.snapshot)
        for name in _FACETS
        if len(page.facets.get(name, ())) > 1
    )


def _facet(query: Query, name: str, values: Sequence[tuple[str, int]], snapshot: str) -> Markup:
    lines = [
        html(
            '<li>{}<span class="n">{}</span></li>',
            a(_narrowed(query, name, value), _short(name, value), snapshot, title=value),
            count(n),
        )
        for value, n in values
    ]
    rest = ""
    if len(lines) > _SHOWN:
        more = f"{len(lines) - _SHOWN} more"
        rest = html(
            "<details><summary>{}</summary><ul>{}</ul></details>", more, join(lines[_SHOWN:])
        )
    title = "top head" if name == "head" else name
    return html(
        '<div class="facet"><h3>{}</h3><ul>{}</ul>{}</div>', title, join(lines[:_SHOWN]), rest
    )


def _narrowed(query: Query, name: str, value: str) -> Query:
    query = replace(query, after="")
    match name:
        case "layer":
            return replace(query, layer=int(value))
        case "head":
            head = parse_head(value)
            return replace(query, model=head.model, layer=head.layer, head=head.head)
        case "sae":
            return replace(query, sae=value)
        case "model":
            return replace(query, model=value)
        case _:
            return replace(query, family=value)


def _short(name: str, value: str) -> str:
    return value.split("/")[-1] if name == "head" else value


def _filters(query: Query, snapshot: str) -> Markup:
    def number(name: str, words: str) -> Markup:
        value = getattr(query, name)
        shown = "" if value is None or value == _default(name) else value
        return html(
            '<label>{}</label><input data-name="{}" value="{}" inputmode="decimal" placeholder="{}">',
            words,
            name,
            shown,
            "" if _default(name) is None else str(_default(name)),
        )

    def choice(name: str, words: str, values: Sequence[tuple[str, str]], now: str) -> Markup:
        options = join(
            html(
                '<option value="{}"{}>{}</option>',
                value,
                Markup(" selected") if value == now else "",
                text,
            )
            for value, text in values
        )
        return html('<label>{}</label><select data-name="{}">{}</select>', words, name, options)

    yes_no = {None: "", True: "yes", False: "no"}
    return html(
        '<form class="facet" action="{}"><h3>filters</h3>{}{}{}{}{}{}{}{}'
        '<div style="margin-top:8px"><button>Apply</button></div></form>',
        link(replace(query, after=""), snapshot),
        html('<label>tag</label><input data-name="tag" value="{}">', query.tag or ""),
        number("support_min", "support at least"),
        number("density_min", "density at least"),
        number("density_max", "density at most"),
        choice(
            "head_by",
            "head share",
            (("", "measured"), ("weights", "by weights")),
            "" if query.head_by == "measured" else query.head_by,
        ),
        number("head_min", "head gives at least") if query.head is not None else "",
        choice(
            "disagree",
            "weights and measurement",
            (("", "any"), ("yes", "disagree"), ("no", "agree")),
            yes_no[query.disagree],
        ),
        choice(
            "dead",
            "features that never fired",
            (("", "left out"), ("yes", "shown")),
            "yes" if query.dead else "",
        ),
    )


def _pages(query: Query, page: Page) -> Markup:
    links = []
    if query.after:
        links.append(a(replace(query, after=""), "← first page", page.snapshot, "button"))
    if page.after:
        links.append(a(replace(query, after=page.after), "next page →", page.snapshot, "button"))
    return html('<div class="row pages">{}</div>', join(links))


def _nothing(query: Query, snapshot: str) -> Markup:
    if query.after:
        return empty(
            "No further features.", a(replace(query, after=""), "Back to the first page.", snapshot)
        )
    if query != Query(query.text, sort=query.sort, descending=query.descending):
        wider = Query(query.text, sort=query.sort, descending=query.descending)
        return empty("Nothing matches.", html("Try {}.", a(wider, "without the filters", snapshot)))
    return empty(
        "Nothing matches.",
        'Try fewer words, the start of one with a star (memb*), or a token: token:" the".',
    )


assert set(_SORTS) == set(get_args(Sort))
