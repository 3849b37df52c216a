"""Home: what is in this atlas, what is running, and where to begin."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtHeads, AtHome, AtReview
from app.web.widgets import here
from app.web.widgets.evaluation import evaluations
from app.web.widgets.hits import card
from app.web.widgets.html import a, html, join, show
from app.web.widgets.reviews import queue_table, waiting
from app.web.widgets.runs import show_in_progress
from app.web.widgets.text import count, when
from atlas.api import Atlas
from atlas.types import Model, Sae

_QUEUE = 5


def render(atlas: Atlas) -> None:
    """The front page."""
    here.place(AtHome)
    show(_hero(atlas))
    show_in_progress(atlas.store, atlas.snapshot.name)
    for model in atlas.models():
        saes = [sae for sae in atlas.saes() if sae.id.model == model.id]
        show(_model(model, saes, atlas.snapshot.name))
    show(_good(atlas), _waiting(atlas))


def _hero(atlas: Atlas) -> Markup:
    stats, snapshot = atlas.stats(), atlas.snapshot
    facts = (
        (stats.models, "model", "models"),
        (stats.saes, "SAE", "SAEs"),
        (stats.alive, "live feature", "live features"),
        (stats.titled, "with a title", "with a title"),
        (stats.heads, "attention head", "attention heads"),
        (stats.examples, "example", "examples"),
    )
    return html(
        '<div class="hero"><h1>Attention heads and the features they write</h1>'
        '<form class="row" action="search?snapshot={}">'
        '<input class="grow" data-name="text" type="search" aria-label="Search features"'
        ' placeholder="Search features: a word, a phrase in quotes, token:&quot; the&quot;">'
        '<button class="first">Search</button></form>'
        '<div class="figures">{}</div><p class="tiny soft">Snapshot {}, published {}</p></div>',
        snapshot.name,
        join(
            html("<span><b>{}</b> {}</span>", count(n), one if n == 1 else many)
            for n, one, many in facts
        ),
        snapshot.name,
        when(snapshot.published_at),
    )


def _model(model: Model, saes: Sequence[Sae], snapshot: str) -> Markup:
    grouped = "" if model.n_kv_heads == model.n_heads else f", {model.n_kv_heads} key-value heads"
    return html(
        '<h2>{} <span class="small soft">{}{} layers · {} heads a layer{} · {}</span></h2>{}',
        a(AtHeads(model=model.id), model.id, snapshot),
        "" if model.name == model.id else f"{model.name} · ",
        model.n_layers,
        model.n_heads,
        grouped,
        model.family,
        evaluations(saes, snapshot),
    )


def _waiting(atlas: Atlas) -> Markup:
    """The features that most want a person."""
    items = waiting(atlas, _QUEUE)
    if not items:
        return Markup("")
    snapshot = atlas.snapshot.name
    more = a(AtReview(), "the whole queue", snapshot)
    title = '<h2>Waiting for a person <span class="small">{}</span></h2>{}'
    return html(title, more, queue_table(items, snapshot))


def _good(atlas: Atlas) -> Markup:
    name, snapshot = atlas.random_feature(), atlas.snapshot.name
    feature = atlas.feature(name)
    best = next(iter(feature.examples), None)
    return html(
        '<h2>A feature to begin with <span class="small">{}</span></h2>{}',
        html('<a href="./?snapshot={}">another one</a>', snapshot),
        card(feature.row, snapshot, best, spreads={name: feature.histogram}),
    )
