"""Fields of the forms that only change the URL; links.js reads their `data-name`.

An `id` or `name` attribute would not do: the sanitizer drops those that a document has itself,
such as `head`.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from app.web.url import Place, link
from app.web.widgets.html import html, join

_SELECTED = Markup(" selected")


def form(place: Place, snapshot: str, kind: str, *parts: str) -> Markup:
    """A form that leads to `place` with the values of its fields added."""
    return html('<form class="{}" action="{}">{}</form>', kind, link(place, snapshot), join(parts))


def box(name: str, words: str, value: object = None, placeholder: str = "") -> Markup:
    """A field with its name above it; empty for None."""
    return html(
        '<label>{}<input data-name="{}" value="{}" placeholder="{}" autocomplete="off"></label>',
        words,
        name,
        "" if value is None else str(value),
        placeholder,
    )


def search_box(name: str, words: str, value: str, placeholder: str) -> Markup:
    """A wide field for words, without a name above it."""
    return html(
        '<input class="grow" type="search" data-name="{}" aria-label="{}" value="{}"'
        ' placeholder="{}" autocomplete="off">',
        name,
        words,
        value,
        placeholder,
    )


def choice(
    name: str, words: str, options: Mapping[Any, str], value: str, *, unset: str, now: bool = False
) -> Markup:
    """A choice of one; `unset` stays out of the URL, `now` applies it at once."""
    items = join(
        html('<option value="{}"{}>{}</option>', key, _SELECTED if key == value else "", text)
        for key, text in options.items()
    )
    return html(
        '<label>{}<select data-name="{}" data-unset="{}"{}>{}</select></label>',
        words,
        name,
        unset,
        Markup(' data-now="1"') if now else "",
        items,
    )
