"""HTML that is safe by construction: only `Markup` is trusted, every other text is escaped.

The only file that hands HTML to Streamlit, which sanitizes it once more in the browser.
"""

from collections.abc import Iterable

import streamlit as st
from markupsafe import Markup

from app.web.url import Place, at, link
from app.web.widgets.text import plain
from atlas.ids import Id

_CONTROL = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
"""No HTML parser keeps these; NUL alone would end some."""


def show(*parts: str) -> None:
    """Put HTML on the page."""
    body = join(parts).translate(_CONTROL)
    if body:
        st.html(body)


def join(parts: Iterable[str], between: str = "") -> Markup:
    """Parts one after the other; those that are no Markup are escaped."""
    return Markup(between).join(parts)


def html(template: str, *values: object, **named: object) -> Markup:
    """A template of trusted HTML with values put in, each escaped unless it is Markup."""
    return Markup(template).format(
        *(_value(v) for v in values), **{k: _value(v) for k, v in named.items()}
    )


def a(place: Place, text: str, snapshot: str, kind: str = "", title: str = "") -> Markup:
    """A link to another page of the same snapshot."""
    return html(
        '<a class="{}" href="{}"{}>{}</a>',
        kind,
        link(place, snapshot),
        html(' data-tip="{}"', title) if title else "",
        text,
    )


def a_id(name: Id, snapshot: str, text: str = "", kind: str = "id") -> Markup:
    """A link to the page of an id, with the id as its text unless another is given."""
    return a(at(name), text or str(name), snapshot, kind, str(name) if text else "")


def prose(text: str) -> Markup:
    """A message with what stands in `backticks` set as code."""
    parts = text.split("`")
    return join(html("<code>{}</code>" if n % 2 else "{}", part) for n, part in enumerate(parts))


def _value(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
