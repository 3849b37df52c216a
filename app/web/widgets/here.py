"""The URL that the browser asked for."""

from typing import TypeVar

import streamlit as st

from app.web import url

P = TypeVar("P")
_GO, _AT, _VISIT = "go", "at", "visit"


def parameters() -> dict[str, list[str]]:
    """All parameters of the URL, repeated ones too."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


def arrive(page: str) -> None:
    """Note that this page is drawn; a visit lasts until another page or other parameters."""
    at = (page, parameters())
    if st.session_state.get(_AT) != at:
        st.session_state[_AT] = at
        st.session_state[_VISIT] = visit() + 1


def visit() -> int:
    """The number of this visit: what a page keeps while somebody writes on it belongs to one."""
    return int(st.session_state.get(_VISIT, 0))


def place(kind: type[P]) -> P:
    """Where the browser is, as the parameters of this kind of page. Raises as `url.parse`."""
    return url.parse(kind, parameters())


def go(to: str) -> None:
    """Let the browser go to another page once this one is drawn, in place of this one."""
    st.session_state[_GO] = to


def going() -> str:
    """Where the page that was drawn wants the browser to go; empty to stay."""
    return str(st.session_state.pop(_GO, ""))
