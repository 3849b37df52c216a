"""The web app: `streamlit run app/web/main.py -- --store PATH`. The one place that shows errors."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import streamlit as st

from app.web import url
from app.web.views import (
    basket,
    collections,
    compare,
    feature,
    head,
    heads,
    home,
    hypotheses,
    jump,
    notes,
    pairs,
    prompt,
    review,
    runs,
    sae,
    search,
    sql,
    studies,
)
from app.web.widgets import here
from app.web.widgets.frame import show_foot, show_frame, show_newer, tell_browser, told, way_out
from app.web.widgets.text import plain
from app.web.widgets.write import me
from atlas.api import Atlas
from atlas.errors import AtlasError

# Page, as it stands in the URL, to its title and view. (A bare string here, in the file that
# Streamlit runs, would be drawn on the page.)
VIEWS: dict[str, tuple[str, Callable[[Atlas], None]]] = {
    "": ("feature-atlas", home.render),
    "search": ("Search", search.render),
    "basket": ("Basket", basket.render),
    "review": ("Review", review.render),
    "studies": ("Studies", studies.render),
    "feature": ("Feature", feature.render),
    "head": ("Head", head.render),
    "heads": ("Heads", heads.render),
    "sae": ("SAE", sae.render),
    "pairs": ("Token pairs", pairs.render),
    "compare": ("Compare", compare.render),
    "prompt": ("Prompt", prompt.render),
    "sql": ("SQL", sql.render),
    "test": ("Test a hypothesis", hypotheses.render),
    "runs": ("Runs", runs.render),
    "notes": ("Notes", notes.render),
    "collections": ("Collections", collections.render),
    "jump": ("Jump", jump.render),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the app is started with."""

    store: str
    notes: str | None = None
    """URL of the notes' database; None for the store's own."""
    api: str | None = None
    """Where the query API answers; None where it is not served."""
    read_only: bool = False
    """Whether notes can only be read."""


@st.cache_resource(show_spinner=False)
def opened(store: str, notes: str | None, read_only: bool) -> Atlas:
    """One handle per store, shared by all sessions."""
    atlas = Atlas.open(store, notes=notes, read_only=read_only)
    atlas.prepare()
    return atlas


@st.cache_resource(max_entries=8, show_spinner=False)
def held(store: str, notes: str | None, read_only: bool, snapshot: str) -> Atlas:
    """The same, held at one snapshot: what one page shows is of one state."""
    return opened(store, notes, read_only).at(snapshot)


def show_page(name: str, settings: Settings) -> None:
    """One page: the bar on top, the view, and a message where something is wrong."""
    st.set_page_config(page_title=_title(name), page_icon="🗺️", layout="wide")
    here.arrive(name)
    bar, given = st.container(), here.parameters()
    where = settings.store, settings.notes, settings.read_only
    newest = told(lambda: opened(*where).snapshot.name)
    atlas = None
    if newest is not None:
        atlas = told(lambda: held(*where, url.snapshot_of(given) or newest))
        shown = atlas.snapshot.name if atlas else ""
        if shown != newest:
            show_newer(shown, newest, url.moved(given, newest))
    with bar:
        show_frame(name, atlas.snapshot.name if atlas else newest or "")
    if atlas is not None:
        told(partial(VIEWS[name][1], atlas), way_out(url.PAGES[name], atlas.snapshot.name))
        show_foot(atlas.snapshot.name, _json(name, settings, atlas))
    pin = url.moved(given, newest) if newest and url.SNAPSHOT not in given else ""
    tell_browser(given, here.going() or pin, me())


def _json(name: str, settings: Settings, atlas: Atlas) -> str:
    """Where the API has this page's content; empty where nothing is served or shown."""
    try:
        place: url.Place = here.place(url.PAGES[name])
    except AtlasError:
        return ""
    path = url.json_of(place, atlas.snapshot.name)
    return f"{settings.api}/{path}" if settings.api and path else ""


def _title(name: str) -> str:
    given = next((st.query_params[one] for one in ("id", "text") if st.query_params.get(one)), "")
    subject = plain(given[:60]) or VIEWS[name][0]
    return subject if name == "" else f"{subject} · feature-atlas"


def _view(name: str, settings: Settings) -> Callable[[], None]:
    return lambda: show_page(name, settings)


def main(arguments: list[str]) -> None:
    """Run the page that the URL names."""
    parser = argparse.ArgumentParser(prog="app/web/main.py", description=__doc__)
    parser.add_argument("--store", required=True, help="the store's folder")
    parser.add_argument("--notes", help="URL of the notes' database")
    parser.add_argument("--api", help="where the query API answers")
    parser.add_argument("--read-only", action="store_true", help="notes can only be read")
    settings = Settings(**vars(parser.parse_args(arguments)))
    pages = [
        st.Page(_view(name, settings), title=title, url_path=name, default=name == "")
        for name, (title, _) in VIEWS.items()
    ]
    st.navigation(pages, position="hidden").run()


if __name__ == "__main__":
    main(sys.argv[1:])
