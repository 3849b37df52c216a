"""The button that has a feature labelled anew, where a labeller is set and writing is allowed."""

import streamlit as st
from markupsafe import Markup

from app.relabel import labeller, relabel
from app.web.url import AtFeature
from app.web.widgets.frame import told
from app.web.widgets.html import a, html, show
from atlas.api import Atlas
from atlas.ids import FeatureId

_HOW = Markup(
    '<details class="aside"><summary>Label it anew</summary><p class="small soft">Start the server'
    " with <code>ATLAS_LABEL_URL</code> and <code>ATLAS_LABEL_MODEL</code>, address and model of an"
    " OpenAI-compatible endpoint: a button then stands here.</p></details>"
)


def show_relabel(atlas: Atlas, feature: FeatureId) -> None:
    """A button, what came of it, and where the new label stands; else how to get the button."""
    model = labeller()
    if atlas.read_only:
        show(html('<p class="tiny soft">This server is read-only: nothing is labelled here.</p>'))
        return
    if model is None:
        show(_HOW)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Label it anew", key=f"relabel-{feature}")
        show(html('<span class="small soft">with {}</span>', model))
    if pressed:
        with st.spinner("Labelling and scoring; this takes a minute or so"):
            said = told(lambda: relabel(atlas.store, feature))
        if said is not None:
            show(_done(atlas, feature, said))


def _done(atlas: Atlas, feature: FeatureId, said: str) -> Markup:
    newest = max(atlas.snapshots(), key=int)
    return html(
        '<div class="notice"><p><b>Labelled.</b> {}</p><p>It stands in {}.</p></div>',
        said,
        a(AtFeature(feature), f"snapshot {newest}", newest),
    )
