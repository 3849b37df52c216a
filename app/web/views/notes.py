"""Notes: what people wrote lately, in exchange with other stores, and every note's own page."""

from dataclasses import fields, replace
from typing import Any

import streamlit as st
from markupsafe import Markup

from app.web.url import AtCollection, AtNotes
from app.web.widgets import here
from app.web.widgets.changes import changes_table, kind_word, said
from app.web.widgets.claims import evidence
from app.web.widgets.frame import empty
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.table import Column, facts, table
from app.web.widgets.text import when
from app.web.widgets.write import attempt, author, key
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import parse
from atlas.note_types import (
    STATUSES,
    Change,
    Collection,
    Comment,
    Content,
    HumanLabel,
    Note,
    RoleClaim,
    RoleEvidence,
    SavedQuery,
    Tag,
    Vote,
)
from atlas.types import Query

_HISTORY = (
    Column("version", True),
    Column("when"),
    Column("who"),
    Column("did"),
    Column("content"),
)
_RECENT, _WIDTH = 50, 640


def render(atlas: Atlas) -> None:
    """What was written lately, or the note that the URL names."""
    place = here.place(AtNotes)
    if place.id is None:
        _all(atlas, place)
    else:
        _one(atlas, place.id)


# All notes


def _all(atlas: Atlas, place: AtNotes) -> None:
    snapshot = atlas.snapshot.name
    notes = atlas.written
    changes = notes.recent(_RECENT, place.before) if notes else ()
    tags = notes.tags_in_use() if notes else ()
    chips = [a(Query(tag=one.name), f"{one.name} {one.targets}", snapshot, "chip") for one in tags]
    none = empty(
        "Nobody has written anything yet.",
        "Every feature, head, SAE and model has a place for notes at the end of its page.",
    )
    following = AtNotes(before=changes[-1].number) if len(changes) == _RECENT else None
    older = a(following, "older →", snapshot, "button") if following else ""
    show(
        html(
            '<div class="row far pagetop"><h1>Notes</h1>{}</div><div class="row">{}</div>'
            "<h2>Latest changes</h2>{}{}",
            a(AtCollection(), "Collections", snapshot, "button"),
            join(chips),
            changes_table(changes, snapshot) if changes else none,
            older,
        )
    )
    _exchange(atlas)


def _exchange(atlas: Atlas) -> None:
    show(Markup("<h2>Exchange</h2>"))
    left, right = st.columns(2, gap="large")
    with left:
        show(html('<p class="small soft">All notes with their history, as one text file.</p>'))
        st.download_button(
            "Export",
            lambda: atlas.notes.export(),
            "notes.jsonl",
            "application/jsonl",
            on_click="ignore",
        )
    with right:
        name, form = author(), key("import")
        file = st.file_uploader("Take in an export", key=form)
        if file and st.button("Import", key=f"{form}-send"):
            attempt("import", name, lambda: _import(atlas, file.getvalue()))


def _import(atlas: Atlas, content: bytes) -> None:
    took = atlas.notes.import_(content.decode("utf-8", "replace"))
    st.toast(
        f"{took.added} added, {took.extended} extended, {took.copied} copied, {took.known} known."
    )


# One note


def _one(atlas: Atlas, note_id: str) -> None:
    snapshot = atlas.snapshot.name
    notes = atlas.written
    if notes is None:
        raise NotFound(f"no note {note_id[:80]!r}", "nobody has written anything yet")
    changes = notes.history(note_id)
    last = changes[-1]
    content = last.after or last.before
    about = getattr(content, "target", None)
    gone = html('<span class="chip warn">taken away</span>') if last.after is None else ""
    show(
        html(
            '<div class="crumbs pagetop">{} / {}</div><div class="row"><h1>{}</h1>{}</div>{}{}'
            "<h2>History</h2>{}",
            a(AtNotes(), "notes", snapshot),
            kind_word(last.kind),
            said(content) if content else "",
            gone,
            html("<p>on {}</p>", a_id(parse(about), snapshot)) if about else "",
            _content(atlas, content) if content else "",
            table(_HISTORY, (_version(one) for one in reversed(changes))),
        )
    )
    _change(atlas, last)


def _content(atlas: Atlas, content: Content) -> Markup:
    """Every part of a note that says something."""
    hidden = ("target", "evidence", "members")
    named = [(one.name, getattr(content, one.name)) for one in fields(content)]
    shown = [(name, str(value)) for name, value in named if value and name not in hidden]
    links = content.evidence if isinstance(content, RoleClaim) else ()
    lines = join(evidence(atlas, link) for link in links)
    return html('{}<ul class="evidence small">{}</ul>', facts(shown), lines)


def _version(change: Change) -> tuple[object, ...]:
    text = "" if change.after is None else said(change.after)
    return change.version, when(change.changed_at), change.author, change.action, text


def _change(atlas: Atlas, last: Change) -> None:
    show(Markup("<h2>Change it</h2>"))
    with st.container(width=_WIDTH):
        name = author()
        if last.after is not None:
            _edit(atlas, atlas.notes.get(last.note), name)
    with st.container(horizontal=True):
        undone = st.button("Undo the last change", key="undo")
        removed = last.after is not None and st.button("Take it away", key="remove")
    if undone:
        attempt("undo", name, lambda: atlas.notes.undo(last.note, name, last.version))
    if removed:
        attempt("remove", name, lambda: atlas.notes.remove(last.note, name, last.version))


def _edit(atlas: Atlas, note: Note[Any], name: str) -> None:
    """The form of what may be changed in a note, based on the version that this visit began with.

    Who is told that it changed meanwhile sees what stands there now, and may save once more.
    """
    form = key(f"edit-{note.id}-{here.visit()}")
    first: Note[Any] = st.session_state.setdefault(form, note)
    content = first.content
    if isinstance(content, Tag | Vote):
        return
    with st.form(f"{form}-form"):
        changed = _fields(content, form)
        sent = st.form_submit_button("Save")
    if sent:
        based_on = st.session_state.get(f"{form}-seen", first.version)
        st.session_state[f"{form}-seen"] = note.version
        attempt(
            f"edit-{note.id}-{here.visit()}",
            name,
            lambda: atlas.notes.edit(note.id, changed, name, based_on),
        )


def _evidence(claim: RoleClaim, form: str) -> tuple[RoleEvidence, ...]:
    """The evidence that is kept, and one more thing where one is given."""
    shown = [f"{link.target} {link.ref} {link.sentence}"[:80] for link in claim.evidence]
    kept = st.multiselect(
        "Evidence that stays",
        list(range(len(shown))),
        list(range(len(shown))),
        format_func=shown.__getitem__,
        key=f"{form}-kept",
    )
    links = tuple(claim.evidence[n] for n in kept)
    with st.container(horizontal=True):
        target = st.text_input("One more: its id", key=f"{form}-more")
        sentence = st.text_input("What it shows", key=f"{form}-said")
    return (*links, RoleEvidence("target", target, "", sentence)) if target.strip() else links


def _fields(content: Content, form: str) -> Content:
    match content:
        case HumanLabel() | Comment():
            return replace(content, text=st.text_area("Text", content.text, key=f"{form}-text"))
        case RoleClaim():
            status = st.selectbox(
                "Status", STATUSES, STATUSES.index(content.status), key=f"{form}-status"
            )
            words = st.text_area("In your words", content.words, key=f"{form}-words")
            confidence = st.slider(
                "Confidence", 0.0, 1.0, content.confidence, 0.05, key=f"{form}-confidence"
            )
            links = _evidence(content, form)
            return replace(
                content, status=status, words=words, confidence=confidence, evidence=links
            )
        case Collection() | SavedQuery():
            title = st.text_input("Name", content.name, key=f"{form}-name")
            about = st.text_area("What it is", content.description, key=f"{form}-about")
            return replace(content, name=title, description=about)
        case _:
            return content
