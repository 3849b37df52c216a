"""Review: features whose label, weights and measurement call for a person; labellers compared."""

from collections.abc import Sequence
from typing import get_args

from markupsafe import Markup

from app.web.url import AtReview
from app.web.widgets import here
from app.web.widgets.frame import empty
from app.web.widgets.html import a, html, join, show
from app.web.widgets.reviews import REASONS, name_of_reason, queue_table, waiting
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, percent
from atlas.api import Atlas
from atlas.label_types import LabelMethod, ReviewReason

_SHOWN = 50
_METHODS = (
    Column("method"),
    Column("scorer"),
    Column("mean", True, "mean score over features"),
    Column("95 % interval", True),
    Column("features", True, "features with this score"),
    Column("mean of common", True, "over the features that every method has this score of"),
    Column("labelled", True, "features with a title by this method"),
    Column("failures", True),
)


def render(atlas: Atlas) -> None:
    """The queue, by the reason and SAE that the URL names, and how the labellers do."""
    place, snapshot = here.place(AtReview), atlas.snapshot.name
    items = waiting(atlas, _SHOWN, place.sae, place.reason)
    show(
        html('<h1 class="pagetop">Review</h1>{}', _reasons(place, snapshot)),
        queue_table(items, snapshot) if items else _nothing(place, snapshot),
        html("<h2>Labellers compared</h2>{}", _methods(atlas.label_methods())),
    )


def _reasons(place: AtReview, snapshot: str) -> Markup:
    known: list[ReviewReason | None] = [None, *get_args(ReviewReason)]
    chips = join(
        a(
            AtReview(one, place.sae),
            name_of_reason(one) if one else "any reason",
            snapshot,
            "chip on" if one == place.reason else "chip",
            REASONS[one] if one else "",
        )
        for one in known
    )
    sae = a(AtReview(place.reason), f"SAE: {place.sae} ✕", snapshot, "chip on") if place.sae else ""
    return html(
        '<p class="small soft">Most urgent first. A feature leaves the queue when a person gives it'
        ' a title, unless that title is disputed.</p><div class="row">{}{}</div>',
        chips,
        sae,
    )


def _nothing(place: AtReview, snapshot: str) -> Markup:
    if place.reason or place.sae:
        return empty("Nothing waits for this reason.", a(AtReview(), "See any reason.", snapshot))
    return empty("Nothing waits for a person.", "Label more features with `atlas label`.")


def _methods(methods: Sequence[LabelMethod]) -> Markup:
    if not methods:
        words = "Score labels with `atlas label`; each method then stands here with its interval."
        return empty("No label was scored yet.", words)
    return table(_METHODS, map(_method, methods))


def _method(one: LabelMethod) -> tuple[object, ...]:
    within = "–"
    if one.interval:
        within = f"{percent(one.interval.low)} to {percent(one.interval.high)}"
    return (
        " · ".join(part for part in (one.method, one.model, one.prompt) if part),
        one.scorer,
        percent(one.mean),
        within,
        count(one.features),
        html("{} <span class='soft'>of {}</span>", percent(one.common_mean), count(one.common)),
        count(one.labelled),
        count(one.failures),
    )
