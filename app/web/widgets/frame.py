"""What stands around every page: the bar on top, messages, and what the browser has to do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import streamlit as st
from markupsafe import Markup

from app.web.url import (
    AtCompare,
    AtHeads,
    AtHome,
    AtNotes,
    AtPrompt,
    AtReview,
    AtRuns,
    AtSql,
    AtStudies,
    AtTest,
    Place,
    link,
    parse,
)
from app.web.widgets.html import a, html, join, prose, show
from atlas.errors import AtlasError
from atlas.types import PairQuery, Query

T = TypeVar("T")
_HERE = Path(__file__).parent
_LINKS = st.components.v2.component(
    "atlas_links",
    js="\n".join((_HERE / f"{name}.js").read_text() for name in ("pick", "keys", "links")),
    isolate_styles=False,
)
_PAGES: dict[str, Place] = {
    "Search": Query(sort="support"),
    "Pairs": PairQuery(),
    "Heads": AtHeads(),
    "Compare": AtCompare(),
    "Prompt": AtPrompt(),
    "Test": AtTest(),
    "SQL": AtSql(),
    "Studies": AtStudies(),
    "Review": AtReview(),
    "Notes": AtNotes(),
    "Runs": AtRuns(),
}


def show_frame(here: str, snapshot: str) -> None:
    """The bar on top of every page.

    Args:
        here: the page that is shown, as in its URL.
        snapshot: the snapshot that is shown; empty while there is none.
    """
    st.html(_HERE / "style.css")
    _LINKS(key="links")  # keeps links inside the app
    pages = [
        a(place, name, snapshot, "here" if link(place).split("?")[0] == here else "")
        for name, place in _PAGES.items()
    ]
    show(
        html(
            '<div class="top">{}<nav>{}</nav>'
            '<form action="jump?snapshot={}"><input data-name="q" type="search"'
            ' aria-label="Jump to an id" placeholder="Jump: gpt2/L5H1, 5.1, 5-att-kk/123 …">'
            "</form>{}</div>",
            a(AtHome(), "feature-atlas", snapshot, "brand"),
            join(pages),
            snapshot,
            html('<span class="snap" data-tip="the snapshot shown here">{}</span>', snapshot),
        )
    )


def show_newer(snapshot: str, newest: str, there: str) -> None:
    """Say that the snapshot shown, if any, is not the newest; `there` is this page in that."""
    words = html("This is snapshot <b>{}</b>, and there is a newer one: ", snapshot)
    show(
        html(
            '<div class="notice"><p>{}<a href="{}">this page in {}</a></p></div>',
            words if snapshot else "Go on with ",
            there,
            newest,
        )
    )


def show_foot(snapshot: str, json: str) -> None:
    """What ends a page: the snapshot, and the page's content as JSON where the API is served."""
    as_json = html('<a href="{}" target="_blank">this page as JSON</a>', json) if json else ""
    words = "The address of this page shows the same thing to anybody."
    show(
        html(
            '<div class="foot"><span>snapshot {}</span><span>{}</span>{}'
            '<span class="right" data-tip="{}">keys</span></div>',
            snapshot,
            words,
            as_json,
            _KEYS,
        )
    )


_KEYS = """\
/  search
j, k  down and up a list
Enter  open    x  choose
[, ]  the one before and after"""


def told(work: Callable[[], T], out: str = "") -> T | None:
    """What `work` gives; where it fails, its message is shown: the one place that does so.

    `out` is shown with the message: links to where the reader can go on.
    """
    try:
        return work()
    except AtlasError as error:
        show_error(error, out)
        return None


def show_error(error: AtlasError, out: str = "") -> None:
    """A message and the way out."""
    hint = html("<p>{}</p>", prose(_sentence(error.hint))) if error.hint else ""
    show(
        html(
            '<div class="notice" role="alert"><p><b>{}</b></p>{}{}</div>',
            prose(_sentence(error.message)),
            hint,
            out,
        )
    )


def way_out(kind: type, snapshot: str) -> Markup:
    """Links from a page that cannot be shown: to itself without parameters, or a search; home."""
    try:
        anew = a(parse(kind, {}), "this page from its beginning", snapshot)
    except AtlasError:
        anew = a(Query(sort="support"), "search", snapshot)
    return html("<p>{} · {}</p>", anew, a(AtHome(), "home", snapshot))


NO_METRICS = "`atlas ingest` measures the heads of the layers that its job names."


def empty(what: str, todo: str | Markup) -> Markup:
    """What stands where there is nothing: that there is nothing, and what to do about it."""
    then = todo if isinstance(todo, Markup) else prose(todo)
    return html('<div class="empty"><b>{}</b> {}</div>', what, then)


def tell_browser(given: Mapping[str, Sequence[str]], replace: str, author: str = "") -> None:
    """Go on from the URL `given` to `replace`, and remember the author in this browser."""
    seen = [(name, text) for name, texts in given.items() for text in texts]
    if replace or author:
        _LINKS(data={"seen": seen, "replace": replace, "author": author}, key="told")


def _sentence(text: str) -> str:
    if text.split(" ")[0].isalpha():  # ids keep their letters
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."
