"""What people wrote about one thing, and the forms to write more.

A note is changed, taken away or brought back on its own page, to which each of them links.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st
from markupsafe import Markup

from app.web.url import AtCollection, AtNotes
from app.web.widgets.changes import changes_table
from app.web.widgets.hits import rows_of
from app.web.widgets.html import a, html, join, show
from app.web.widgets.labels import SIDES
from app.web.widgets.text import when
from app.web.widgets.write import attempt, author, key
from app.web.widgets.written import every, notes_on
from atlas.api import Atlas
from atlas.ids import FeatureId, Id, parse_feature
from atlas.note_types import (
    Collection,
    Comment,
    HumanLabel,
    Judged,
    Member,
    Note,
    NotesOn,
    Tag,
    Vote,
)
from atlas.types import Query


def show_notes(atlas: Atlas, target: Id, name: str | None = None) -> None:
    """Everything people wrote about `target`, with forms to add to it.

    `name` is the author's, where the page has asked for it already.
    """
    notes = notes_on(atlas, str(target))
    if name is None:
        name = show_title("Notes")
    else:
        show(html("<h2>Notes</h2>"))
    first, second, third = st.columns(3, gap="large")
    with first:
        if isinstance(target, FeatureId):
            _labels(atlas, notes, name)
        _tags(atlas, notes, name)
    with second:
        _comments(atlas, notes, name)
    with third:
        _collections(atlas, notes, name)
    show(_history(atlas, target))


def _history(atlas: Atlas, target: Id) -> Markup:
    """Everything that happened to the notes on this, those taken away too."""
    notes = atlas.written
    changes = notes.about(str(target)) if notes else ()
    if not changes:
        return Markup("")
    words = "1 change" if len(changes) == 1 else f"{len(changes)} latest changes"
    return html(
        "<details><summary>History: {}</summary>{}</details>",
        words,
        changes_table(changes, atlas.snapshot.name),
    )


def show_title(words: str) -> str:
    """The title of the part where people write, with the field for their name, which it gives."""
    title, who = st.columns([5, 1], vertical_alignment="bottom")
    with title:
        show(html("<h2>{}</h2>", words))
    with who:
        return author()


def by(note: Note[Any], snapshot: str) -> Markup:
    """Who wrote a note and when, with a link to its own page."""
    changed = "" if note.version == 1 else f", changed by {note.changed_by}"
    return html(
        '<div class="by">{}, {}{} · {}</div>',
        note.author,
        when(note.created_at),
        changed,
        a(AtNotes(id=note.id), "edit, history", snapshot),
    )


def _labels(atlas: Atlas, notes: NotesOn, name: str) -> None:
    show(html("<h3>Labels by people</h3>{}", "" if notes.labels else _none()))
    for judged in notes.labels:
        content = judged.note.content
        words = html('<span class="chip">{}</span> {}', SIDES[content.side], content.text)
        show_judged(atlas, judged, words, name)
    _confirm(atlas, notes, name)
    _label_form(atlas, notes.target, name)


def _confirm(atlas: Atlas, notes: NotesOn, name: str) -> None:
    """A button by which a person stands for the machine's title; others then vote on it."""
    (row,) = rows_of(atlas, [parse_feature(notes.target)]).values()
    title = row.title
    if title is None or title in {judged.note.content.text for judged in notes.labels}:
        return
    if st.button("Confirm the machine's title", key=key("confirm")):
        attempt("confirm", name, lambda: atlas.notes.add(HumanLabel(notes.target, title), name))


def _label_form(atlas: Atlas, target: str, name: str) -> None:
    form = key("label")
    with st.form(form, border=False):
        text = st.text_input("New label", key=f"{form}-text")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            side = st.selectbox(
                "of what", list(SIDES), format_func=SIDES.__getitem__, key=f"{form}-side"
            )
            sent = st.form_submit_button("Label")
    if sent:
        attempt("label", name, lambda: atlas.notes.add(HumanLabel(target, text, side), name))


def show_judged(atlas: Atlas, judged: Judged[Any], words: Markup, name: str) -> None:
    """A claim or a label with the votes on it, and a form to vote."""
    note = judged.note
    votes = [
        html(
            "<li>{} {}{}</li>",
            vote.author,
            "agrees" if vote.content.choice == "agree" else "disputes it",
            f": {vote.content.reason}" if vote.content.reason else "",
        )
        for vote in judged.votes
    ]
    with st.container(gap=None):
        show(
            html(
                '<div class="note"><div class="words">{}</div>{}'
                '<ul class="evidence small soft">{}</ul></div>',
                words,
                by(note, atlas.snapshot.name),
                join(votes),
            )
        )
        _vote_form(atlas, judged, name)


def _vote_form(atlas: Atlas, judged: Judged[Any], name: str) -> None:
    note, form = judged.note, key(f"vote-{judged.note.id}")
    title = f"{judged.agree} agree, {judged.dispute} dispute: vote"
    with st.popover(title, type="tertiary", key=form):
        reason = st.text_input("Why (may be left out)", key=f"{form}-why")
        with st.container(horizontal=True):
            agree = st.button("Agree", key=f"{form}-agree")
            dispute = st.button("Dispute", key=f"{form}-dispute")
            mine = next((vote for vote in judged.votes if vote.author == name), None)
            back = mine is not None and st.button("Take my vote back", key=f"{form}-back")
    if agree or dispute:
        vote = Vote(note.id, "agree" if agree else "dispute", reason)
        attempt(f"vote-{note.id}", name, lambda: atlas.notes.add(vote, name))
    if back and mine:
        attempt(f"vote-{note.id}", name, lambda: atlas.notes.remove(mine.id, name, mine.version))


def _tags(atlas: Atlas, notes: NotesOn, name: str) -> None:
    snapshot = atlas.snapshot.name
    chips = [
        html(
            '<span class="chip">{} {}</span>',
            a(
                Query(tag=note.content.name),
                note.content.name,
                snapshot,
                title="features with this tag",
            ),
            a(AtNotes(id=note.id), "…", snapshot, "soft", f"by {note.author}: take away, history"),
        )
        for note in notes.tags
    ]
    show(html('<h3>Tags</h3><div class="row">{}</div>', join(chips) if chips else _none()))
    form = key("tag")
    with st.form(form, border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("New tag", key=f"{form}-text", max_chars=200)
        sent = st.form_submit_button("Tag")
    if sent:
        attempt("tag", name, lambda: atlas.notes.add(Tag(notes.target, text), name))


def _comments(atlas: Atlas, notes: NotesOn, name: str) -> None:
    lines = [
        html(
            '<div class="note"><div class="words">{}</div>{}</div>',
            note.content.text,
            by(note, atlas.snapshot.name),
        )
        for note in notes.comments
    ]
    show(html("<h3>Comments</h3>{}", join(lines) if lines else _none()))
    form = key("comment")
    with st.form(form, border=False):
        text = st.text_area("New comment", key=f"{form}-text", height=68)
        sent = st.form_submit_button("Comment")
    if sent:
        attempt("comment", name, lambda: atlas.notes.add(Comment(notes.target, text), name))


def _collections(atlas: Atlas, notes: NotesOn, name: str) -> None:
    snapshot = atlas.snapshot.name
    own = [
        html("<li>{}</li>", a(AtCollection(id=note.id), note.content.name, snapshot))
        for note in notes.collections
    ]
    show(html("<h3>Collections it is in</h3><ul>{}</ul>", join(own) if own else _none()))
    put_in(atlas, [Member(str(notes.target))], name)


def put_in(atlas: Atlas, members: Sequence[Member], name: str) -> None:
    """The form that puts members into a collection, an old one or a new one."""
    known = {note.id: note.content.name for note in every(atlas, Collection)}
    form = key("collect")
    with st.form(form, border=False):
        chosen = st.selectbox(
            "Collection",
            list(known),
            format_func=lambda note: known.get(note, note),
            index=None,
            placeholder="choose, or write a new name",
            accept_new_options=True,
            key=f"{form}-which",
        )
        why = st.text_input("Why it belongs there", key=f"{form}-why")
        sent = st.form_submit_button("Put it in")
    if sent:
        own = tuple(replace(one, sentence=why) for one in members)
        attempt("collect", name, lambda: _collect(atlas, chosen or "", own, name))


def _collect(atlas: Atlas, chosen: str, members: tuple[Member, ...], name: str) -> None:
    if chosen in {note.id for note in every(atlas, Collection)}:
        atlas.notes.collect(chosen, members, name)
    else:
        atlas.notes.add(Collection(chosen, members=members), name)


def _none() -> Markup:
    return Markup('<p class="small soft">None yet.</p>')
