"""Collections: named lists of features, heads and SAEs that people keep."""

import streamlit as st

from app.web.url import AtCollection
from app.web.widgets import here
from app.web.widgets.frame import empty
from app.web.widgets.hits import name_of, rows_of
from app.web.widgets.html import a, a_id, html, show
from app.web.widgets.notes import by
from app.web.widgets.table import Column, table
from app.web.widgets.write import attempt, author, key
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import FeatureId, parse
from atlas.note_types import Collection, Member, Note

_COLUMNS = (Column("collection"), Column("members", True), Column("what it is"), Column("by"))
_MEMBERS = (Column("member"), Column("title"), Column("why it is in"))


def render(atlas: Atlas) -> None:
    """All collections, or the one that the URL names."""
    name = here.place(AtCollection).id
    if name is None:
        _all(atlas)
        return
    note = atlas.notes.get(name)
    if not isinstance(note.content, Collection):
        raise NotFound(f"{name} is no collection", "collections lists all that there are")
    _one(atlas, note)


def _all(atlas: Atlas) -> None:
    snapshot = atlas.snapshot.name
    notes = atlas.notes.every(Collection)
    lines = (
        (
            a(AtCollection(note.id), note.content.name, snapshot),
            len(note.content.members),
            note.content.description,
            note.author,
        )
        for note in notes
    )
    none = empty("No collections yet.", "Make one here, or add a feature to one on its page.")
    show(html('<h1 class="pagetop">Collections</h1>{}', table(_COLUMNS, lines) if notes else none))
    name, form = author(), key("collection")
    with st.form(form):
        title = st.text_input("New collection", key=f"{form}-name")
        about = st.text_area("What it is", key=f"{form}-about", height=68)
        sent = st.form_submit_button("Make it")
    if sent:
        attempt("collection", name, lambda: atlas.notes.add(Collection(title, about), name))


def _one(atlas: Atlas, note: Note[Collection]) -> None:
    snapshot, collection = atlas.snapshot.name, note.content
    ids = [parse(member.target) for member in collection.members]
    rows = rows_of(atlas, (one for one in ids if isinstance(one, FeatureId)))
    titles = {one: name_of(row) for one, row in rows.items()}
    lines = (
        (
            a_id(one, snapshot),
            titles.get(one, "") if isinstance(one, FeatureId) else "",
            member.sentence,
        )
        for one, member in zip(ids, collection.members, strict=True)
    )
    none = empty("It has no members yet.", "Add them here, or on their own pages.")
    show(
        html(
            '<div class="crumbs pagetop">{}</div><h1>{}</h1><p>{}</p>{}{}',
            a(AtCollection(), "collections", snapshot),
            collection.name,
            collection.description,
            by(note, snapshot),
            table(_MEMBERS, lines) if ids else none,
        )
    )
    name, form = author(), key("member")
    with st.form(form), st.container(horizontal=True, vertical_alignment="bottom"):
        target = st.text_input("Add an id", key=f"{form}-id", placeholder="gpt2/5-att-kk/123")
        why = st.text_input("Why it belongs there", key=f"{form}-why")
        sent = st.form_submit_button("Add")
    if sent:
        attempt("member", name, lambda: atlas.notes.collect(note.id, [Member(target, why)], name))
