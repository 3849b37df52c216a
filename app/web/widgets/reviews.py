"""Features that wait for a person, with their reasons."""

from collections.abc import Sequence

import streamlit as st
from markupsafe import Markup

from app.web.widgets.bars import top_head
from app.web.widgets.hits import pick, support, title
from app.web.widgets.html import a_id, html, join
from app.web.widgets.table import Column, table
from atlas.api import Atlas
from atlas.ids import SaeId
from atlas.label_types import ReviewItem, ReviewReason

REASONS: dict[ReviewReason, str] = {
    "disagree": "weights and measurement name different heads",
    "weak_label": "its title is recognised little better than by chance",
    "contradicted": "it reads other sources than its label says",
    "disputed": "people dispute its label",
    "failed": "a labeller gave up on it",
    "unscored": "its title was never scored",
}
_ITEMS = (
    Column(""),
    Column("feature"),
    Column("title"),
    Column("why", width="34%"),
    Column("top head", width="22%"),
)


def waiting(
    atlas: Atlas, limit: int, sae: SaeId | None = None, reason: ReviewReason | None = None
) -> tuple[ReviewItem, ...]:
    """The queue, asked for once per snapshot and state of the notes: it looks at every feature."""
    notes = atlas.written
    stamp = notes.stamp() if notes else 0
    return _waiting(atlas, str(atlas.store), atlas.snapshot.name, stamp, limit, sae, reason)


@st.cache_resource(max_entries=32, show_spinner=False)
def _waiting(
    _atlas: Atlas,
    store: str,  # noqa: ARG001
    snapshot: str,  # noqa: ARG001
    stamp: int,  # noqa: ARG001
    limit: int,
    sae: SaeId | None,
    reason: ReviewReason | None,
) -> tuple[ReviewItem, ...]:
    return _atlas.review_queue(limit, sae, reason)


def name_of_reason(reason: ReviewReason) -> str:
    """A reason in a word or two."""
    return reason.replace("_", " ")


def queue_table(items: Sequence[ReviewItem], snapshot: str) -> Markup:
    """Features that wait for a person, each with its reasons."""
    return table(_ITEMS, (_line(one, snapshot) for one in items))


def _line(one: ReviewItem, snapshot: str) -> tuple[object, ...]:
    of = one.row.id
    why = join(
        html('<span class="chip" data-tip="{}">{}</span>', REASONS[reason], name_of_reason(reason))
        for reason in one.reasons
    )
    return (
        pick(one.row),
        a_id(of, snapshot, f"{of.sae.layer}-{of.sae.set}/{of.index}"),
        html("{} {}", title(one.row), support(one.row)),
        html('<div class="row">{}</div>', why),
        top_head(one.row, snapshot, flag=False),
    )
