"""Basket: what a reader chose, to compare, tag or put into a collection at once."""

from collections.abc import Sequence
from itertools import combinations

import streamlit as st
from markupsafe import Markup

from app.web.url import AtBasket, AtCompare
from app.web.widgets import here
from app.web.widgets.frame import empty
from app.web.widgets.hits import card, rows_of
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.notes import put_in
from app.web.widgets.write import attempt, author, key
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId, Id
from atlas.note_types import Member, Tag

_COMPARED = 5


def render(atlas: Atlas) -> None:
    """What the URL names, and what can be done with all of it."""
    chosen, snapshot = here.place(AtBasket).ids.names, atlas.snapshot.name
    unknown = [str(one) for one in chosen if not atlas.has(one)]
    if unknown:
        raise NotFound(f"no {unknown[0]} in this snapshot", "take it out of the basket")
    show(html('<h1 class="pagetop">Basket</h1>{}', _cards(atlas, chosen)))
    if not chosen:
        return
    show(_comparisons(chosen, snapshot))
    show(Markup("<h2>Do with all of them</h2>"))
    with st.container(width=280):
        name = author()
    tags, collections = st.columns(2, gap="large")
    with tags:
        _tag_form(atlas, chosen, name)
    with collections:
        put_in(atlas, [Member(str(one)) for one in chosen], name)


def _cards(atlas: Atlas, chosen: Sequence[Id]) -> Markup:
    if not chosen:
        return empty("Nothing chosen.", "Tick features in a search; they gather here.")
    snapshot = atlas.snapshot.name
    features = [one for one in chosen if isinstance(one, FeatureId)]
    rows, best = rows_of(atlas, features), atlas.strongest(features)
    spreads = atlas.histograms(features)
    others = [one for one in chosen if not isinstance(one, FeatureId)]
    return html(
        '{}<div class="row">{}</div>',
        join(card(rows[one], snapshot, best.get(one), spreads=spreads) for one in features),
        join(a_id(one, snapshot) for one in others),
    )


def _comparisons(chosen: Sequence[Id], snapshot: str) -> Markup:
    """Every pair of a few things of one kind."""
    links = [
        a(AtCompare(str(one), str(other)), f"{_short(one)} and {_short(other)}", snapshot, "chip")
        for kind in (FeatureId, HeadId)
        for one, other in combinations([n for n in chosen if isinstance(n, kind)][:_COMPARED], 2)
    ]
    if not links:
        return Markup("")
    return html('<h2>Compare</h2><div class="row">{}</div>', join(links))


def _short(name: Id) -> str:
    return str(name).split("/", 1)[-1]


def _tag_form(atlas: Atlas, chosen: Sequence[Id], name: str) -> None:
    form = key("tags")
    with st.form(form, border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("Tag for all", key=f"{form}-text", max_chars=200)
        sent = st.form_submit_button("Tag them")
    if sent:
        attempt("tags", name, lambda: _tag(atlas, chosen, text, name))


def _tag(atlas: Atlas, chosen: Sequence[Id], text: str, name: str) -> None:
    """Tag those that do not have the tag yet."""
    for one in chosen:
        if text not in {note.content.name for note in atlas.notes.on(str(one)).tags}:
            atlas.notes.add(Tag(str(one), text), name)
