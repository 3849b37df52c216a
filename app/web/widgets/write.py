"""Writing notes: who writes, and what happens when a write is refused."""

from collections.abc import Callable
from urllib.parse import unquote

import streamlit as st

from app.web.widgets.frame import show_error
from app.web.widgets.html import html, show
from atlas.errors import AtlasError, Conflict, NotesError
from atlas.note_types import Note

_COOKIE = "atlas_author"
_ME = "me"


def author() -> str:
    """The name of whoever writes on this page; asked for once per browser."""
    name = st.text_input("Your name", value=me(), key="author", max_chars=80)
    st.session_state[_ME] = name
    return name


def me() -> str:
    """The name given in this session, or earlier in this browser."""
    kept = st.context.cookies.get(_COOKIE, "")
    return str(st.session_state.get(_ME, unquote(kept)))


def key(form: str) -> str:
    """The key of a form that is empty again after each write."""
    return f"{form}-{st.session_state.get(_times(form), 0)}"


def attempt(form: str, name: str, write: Callable[[], object]) -> None:
    """Write, then draw the page anew; a refusal is shown here and the form keeps its words.

    The one place that shows refused writes; `main` shows refused pages.
    """
    try:
        if not name.strip():
            raise NotesError("no name given", "write your name: it stands beside what you write")
        write()
    except AtlasError as error:
        show_error(error)
        if isinstance(error, Conflict) and isinstance(error.theirs, Note):
            _show_theirs(error.theirs)
        return
    st.session_state[_times(form)] = st.session_state.get(_times(form), 0) + 1
    st.rerun()


def _show_theirs(note: Note) -> None:  # type: ignore[type-arg]
    show(html('<p class="small">Now there: <code>{}</code></p>', str(note.content)))


def _times(form: str) -> str:
    return f"written {form}"
