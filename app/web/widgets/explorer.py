"""The prompt explorer: its model is loaded once per model and stays in memory."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import streamlit as st

from atlas.api import Atlas
from atlas.errors import ModelError

if TYPE_CHECKING:
    from atlas.prompt import Explorer


def explorer(atlas: Atlas, model: str) -> "Explorer":
    """The explorer of a model of this snapshot.

    Raises:
        ModelError: this machine has no torch, or the model cannot be loaded or decomposed.
    """
    if find_spec("torch") is None:
        raise ModelError(
            "this machine cannot run models",
            "install the extra: `pip install 'feature-atlas[ingest]'`",
        )
    with st.spinner("Loading the model; this takes a while the first time"):
        return _loaded(atlas, str(atlas.store), atlas.snapshot.name, model)


@st.cache_resource(max_entries=2, show_spinner=False)
def _loaded(_atlas: Atlas, store: str, snapshot: str, model: str) -> "Explorer":  # noqa: ARG001
    return _atlas.explorer(model)
