"""Search: words, filters with counts, and the features that match."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, cast, get_args, get_type_hints

import streamlit as st
from markupsafe import Markup

from app.web.url import AtSearch, link
from app.web.widgets import here
from app.web.widgets.bars import Spread, sparkline, top_head
from app.web.widgets.fields import box, choice, form, search_box
from app.web.widgets.frame import empty
from app.web.widgets.hits import card, name_of, pick
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.queries import place_of
from app.web.widgets.roles import role_name
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, density, percent, sig
from app.web.widgets.write import attempt, author, key
from app.web.widgets.written import every
from atlas.api import Atlas
from atlas.ids import parse_head
from atlas.note_types import SavedQuery
from atlas.types import FeatureRow, Page, Query, SearchBy, Sort

SORTS: dict[Sort, str] = {
    "relevance": "best match",
    "support": "support of the title",
    "score": "score of the title",
    "density": "density",
    "max_act": "largest activation",
    "mean_act": "mean activation",
    "head_share": "share of the top head",
    "disagreement": "weights against measurement",
    "id": "id",
}
_FACETS = {
    "layer": "layer",
    "head": "top head",
    "family": "family",
    "role": "role of the top head",
    "tag": "tag",
    "method": "title by",
    "score": "score of the title",
    "sae": "SAE",
    "model": "model",
}
_SHOWN, _FEW = 8, 3
_DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(Query)}
_FILTERS = [
    name for name in _DEFAULTS if name not in ("text", "by", "sort", "descending", "limit", "after")
]


def render(atlas: Atlas) -> None:
    """The search page."""
    query = here.place(AtSearch)
    page = atlas.search(query)
    snapshot = page.snapshot
    results = html("{}{}", _hits(atlas, query, page), _pages(query, page))
    with st.container(horizontal=True, vertical_alignment="center", key="searchbar"):
        show(_bar(query, snapshot))
        _save(atlas, query)
    show(
        html(
            '<div class="side"><aside>{}{}{}</aside><div>{}{}</div></div>',
            _facets(query, page),
            _filters(query, snapshot),
            _saved(atlas, snapshot),
            _summary(query, page),
            results if page.hits else _nothing(query, snapshot),
        ),
    )


def _hits(atlas: Atlas, query: AtSearch, page: Page) -> Markup:
    names = [hit.row.id for hit in page.hits]
    spreads = atlas.histograms(names)
    if query.view == "table":
        return _table([hit.row for hit in page.hits], page.snapshot, spreads)
    best = atlas.strongest(names)
    return join(
        card(hit.row, page.snapshot, best.get(hit.row.id), hit.reasons, spreads)
        for hit in page.hits
    )


_SCORE = Column("score", True, "mean balanced accuracy of the title")
_COLUMNS = (
    Column(""),
    Column("feature"),
    Column("title"),
    Column("support", True, "held-back examples that the title's own rule explains"),
    _SCORE,
    Column("top head", width="22%"),
    Column("density", True, "share of tokens it fires on"),
    Column("activations", hint="all firings by activation, log axis"),
    Column("max", True, "largest activation"),
)


def _table(rows: Sequence[FeatureRow], snapshot: str, spreads: Spread) -> Markup:
    """A line a feature; scores have a column where there are any."""
    left_out = () if any(row.title_score is not None for row in rows) else (_SCORE,)
    shown = [n for n, column in enumerate(_COLUMNS) if column not in left_out]
    lines = (_line(row, snapshot, spreads) for row in rows)
    return table([_COLUMNS[n] for n in shown], ([line[n] for n in shown] for line in lines))


def _line(row: FeatureRow, snapshot: str, spreads: Spread) -> tuple[object, ...]:
    return (
        pick(row),
        a_id(row.id, snapshot, f"{row.id.sae.layer}-{row.id.sae.set}/{row.id.index}"),
        a_id(row.id, snapshot, name_of(row), "title"),
        percent(row.title_support),
        percent(row.title_score),
        top_head(row, snapshot),
        density(row.density),
        sparkline(row, spreads),
        sig(row.max_act),
    )


def _saved(atlas: Atlas, snapshot: str) -> Markup:
    """Searches that people keep."""
    kept = [note for note in every(atlas, SavedQuery) if note.content.form == "search"]
    if not kept:
        return Markup("")
    lines = (
        html(
            "<li>{}</li>",
            a(
                place_of(note.content),
                note.content.name,
                snapshot,
                title=f"{note.content.description} ({note.author})".strip(),
            ),
        )
        for note in kept
    )
    return html('<div class="facet"><h3>saved searches</h3><ul>{}</ul></div>', join(lines))


def _save(atlas: Atlas, query: AtSearch) -> None:
    with st.popover("Save"):
        name, form_key = author(), key("search")
        title = st.text_input("Its name", key=f"{form_key}-name")
        about = st.text_area("What it finds", key=f"{form_key}-about", height=68)
        if st.button("Save", type="primary", key=f"{form_key}-send"):
            kept = {one.name: getattr(query, one.name) for one in fields(Query)}
            text = link(replace(Query(**kept), after=""))
            saved = SavedQuery(title, text, "search", description=about)
            attempt("search", name, lambda: atlas.notes.add(saved, name))


def _bar(query: Query, snapshot: str) -> Markup:
    arrow, hint = ("↓", "largest first") if query.descending else ("↑", "smallest first")
    turned = replace(query, descending=not query.descending, after="")
    placeholder = 'a word, a phrase in quotes, start*, token:" the"'
    return form(
        replace(query, after=""),
        snapshot,
        "row searchbox",
        search_box("text", "Search features", query.text, placeholder),
        Markup('<button class="first">Search</button>'),
        html(
            '<span class="row small soft">{}</span>',
            choice("sort", "sorted by ", SORTS, query.sort, unset="relevance", now=True),
        ),
        a(turned, arrow, snapshot, "button", hint),
    )


def _summary(query: AtSearch, page: Page) -> Markup:
    chips = [_chip(query, name, page.snapshot) for name in _FILTERS if _is_set(query, name)]
    what = "feature" if page.total == 1 else "features"
    ways = join(
        a(replace(query, view=way), way, page.snapshot, "chip on" if way == query.view else "chip")
        for way in get_args(get_type_hints(AtSearch)["view"])
    )
    return html(
        '<div class="row far"><span class="row"><b>{} {}</b>{}</span><span class="row small">{}{}'
        '</span></div><p class="tiny soft keys">{}</p>',
        count(page.total),
        what,
        join(chips),
        Markup("<button data-pick-all>choose all here</button>") if page.hits else "",
        ways,
        _KEYS,
    )


_KEYS = Markup(
    "keys: <kbd>/</kbd> search <kbd>j</kbd> <kbd>k</kbd> down and up <kbd>Enter</kbd> open"
    " <kbd>x</kbd> choose <kbd>]</kbd> next page"
)


def _is_set(query: Query, name: str) -> bool:
    return bool(getattr(query, name) != _DEFAULTS[name])


def _chip(query: Query, name: str, snapshot: str) -> Markup:
    value = getattr(query, name)
    said = ("yes" if value else "no") if isinstance(value, bool) else value
    wider = replace(query, after="", **{name: _DEFAULTS[name]})
    words = f"{name.replace('_', ' ')}: {said} ✕"
    return a(wider, words, snapshot, "chip on", "remove this filter")


def _facets(query: Query, page: Page) -> Markup:
    lists = [(name, page.facets.get(name, ())) for name in _FACETS]
    return join(_facet(query, name, values, page.snapshot) for name, values in lists if values)


def _facet(query: Query, name: str, values: Sequence[tuple[str, int]], snapshot: str) -> Markup:
    if name == "layer":
        values = sorted(values, key=lambda pair: int(pair[0]))
    lines = [
        html(
            '<li>{}<span class="n">{}</span></li>',
            a(_narrowed(query, name, value), _short(name, value), snapshot, title=value),
            count(n),
        )
        for value, n in values
    ]
    shown = _SHOWN if len(lines) > _SHOWN + _FEW else len(lines)
    rest = html(
        "<details><summary>{} more</summary><ul>{}</ul></details>",
        len(lines) - shown,
        join(lines[shown:]),
    )
    return html(
        '<div class="facet"><h3>{}</h3><ul>{}</ul>{}</div>',
        _FACETS[name],
        join(lines[:shown]),
        rest if len(lines) > shown else "",
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
        case "score":
            return replace(query, score_min=float(value))
        case _:
            return replace(query, **cast("dict[str, Any]", {name: value}))


def _short(name: str, value: str) -> str:
    if name == "head":
        return value.split("/")[-1]
    return role_name(value) if name in ("family", "role") else value


_MATCH: dict[SearchBy, str] = {"both": "words and meaning", "words": "words", "meaning": "meaning"}
_BY = {"measured": "measured", "weights": "by weights"}
_DISAGREE = {"": "any", "true": "disagree", "false": "agree"}
_DEAD = {"": "left out", "true": "shown"}


def _filters(query: Query, snapshot: str) -> Markup:
    disagree = {None: "", True: "true", False: "false"}[query.disagree]
    of_head = [
        choice("head_by", "head's share", _BY, query.head_by, unset="measured"),
        box("head_min", "head gives at least", query.head_min),
    ]
    return form(
        replace(query, after=""),
        snapshot,
        "facet",
        Markup("<h3>filters</h3>"),
        choice("by", "words match by", _MATCH, query.by, unset="both"),
        *(of_head if query.head is not None else ()),
        box("support_min", "support at least", query.support_min, "0 to 1"),
        box("density_min", "density at least", query.density_min, "0.001"),
        box("density_max", "density at most", query.density_max, "0.1"),
        box("tag", "tag", query.tag),
        choice("disagree", "weights and measurement", _DISAGREE, disagree, unset=""),
        choice("dead", "features that never fired", _DEAD, "true" if query.dead else "", unset=""),
        Markup("<button>Apply</button>"),
    )


def _pages(query: Query, page: Page) -> Markup:
    links = []
    if query.after:
        links.append(a(replace(query, after=""), "← first page", page.snapshot, "button"))
    if page.after:
        following = replace(query, after=page.after)
        links.append(a(following, "next page →", page.snapshot, "button"))
    return html('<div class="row pages">{}</div>', join(links))


def _nothing(query: Query, snapshot: str) -> Markup:
    if query.after:
        first = a(replace(query, after=""), "Back to the first page.", snapshot)
        return empty("No further features.", first)
    if any(_is_set(query, name) for name in _FILTERS):
        wider = replace(query, **{name: _DEFAULTS[name] for name in _FILTERS})
        return empty("Nothing matches.", a(wider, "Search without the filters.", snapshot))
    words = 'Try fewer words, the start of one with a star (memb*), or a token: token:" the".'
    return empty("Nothing matches.", words)
