"""A feature's card to take away: everything as JSON, its examples as a table."""

import csv
import io

import streamlit as st

from atlas.types import Feature
from atlas.wire import dumps

_COLUMNS = (
    "feature", "kind", "band", "rank", "activation", "token", "source_token", "source_head",
    "source_dfa", "text", "context", "position", "document", "source",
)  # fmt: skip


def show_export(feature: Feature) -> None:
    """Buttons that make the files when they are pressed."""
    name = str(feature.id).replace("/", "_")
    with st.container(horizontal=True):
        st.download_button(
            "Card as JSON",
            lambda: dumps(feature),
            f"{name}.json",
            "application/json",
            on_click="ignore",
        )
        st.download_button(
            "Examples as CSV",
            lambda: examples_csv(feature),
            f"{name}.csv",
            "text/csv",
            on_click="ignore",
        )


def examples_csv(feature: Feature) -> str:
    """One line an example, with its strongest source."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    for one in feature.examples:
        source = max(one.sources, key=lambda each: each.dfa, default=None)
        read = ("", "", "")
        if source is not None:
            read = (one.tokens[source.pos], str(source.head), repr(source.dfa))
        table.writerow(
            (
                feature.id, one.kind, one.band, one.rank, one.act, one.tokens[one.pos], *read,
                "".join(one.tokens), one.ctx, one.pos, one.doc, one.source,
            )
        )  # fmt: skip
    return text.getvalue()
