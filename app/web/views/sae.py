"""One SAE: how well it rebuilds its layer, how dense its features are, where it comes from."""

from markupsafe import Markup

from app.web.url import AtCompare, AtHeads, AtRuns, AtSae
from app.web.widgets import here
from app.web.widgets.bars import densities
from app.web.widgets.evaluation import evaluations
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.notes import show_notes
from app.web.widgets.table import facts
from app.web.widgets.text import count, density
from atlas.api import Atlas
from atlas.ids import HeadId
from atlas.types import Query, Sae

_LISTS = {
    "best supported titles": {"sort": "support"},
    "densest": {"sort": "density"},
    "rarest": {"sort": "density", "descending": False},
    "weights and measurement disagree": {"disagree": True, "sort": "disagreement"},
    "one head makes nearly all": {"sort": "head_share"},
    "never fired": {"dead": True, "sort": "density", "descending": False},
}


def render(atlas: Atlas) -> None:
    """The page of the SAE that the URL names."""
    sae, snapshot = atlas.sae(here.place(AtSae).id), atlas.snapshot.name
    bins = atlas.densities(sae.id)
    heads = [row.id for row in atlas.heads(sae.id.model) if row.id.layer == sae.id.layer]
    show(
        html(
            '<div class="crumbs pagetop">{} / {}<span class="right">{}</span></div>'
            "<h1>Layer {} of {}, set {}</h1>{}",
            a(AtHeads(model=sae.id.model), sae.id.model, snapshot),
            f"{sae.id.layer}-{sae.id.set}",
            a(AtCompare(a=str(sae.id)), "compare", snapshot),
            sae.id.layer,
            sae.id.model,
            sae.id.set,
            evaluations([sae], snapshot),
        ),
        html(
            '<div class="three"><div><h3>Features by density</h3>{}</div>'
            "<div><h3>Lists</h3>{}</div><div><h3>Origin</h3>{}</div></div>",
            densities(bins),
            _lists(sae, snapshot),
            _origin(sae, snapshot),
        ),
        html("<h3>Heads of the layer</h3><div class='row'>{}</div>", _heads(heads, snapshot)),
    )
    show_notes(atlas, sae.id)


def _lists(sae: Sae, snapshot: str) -> Markup:
    lines = (
        html("<li>{}</li>", a(Query(sae=str(sae.id), **asked), words, snapshot))  # type: ignore[arg-type]
        for words, asked in _LISTS.items()
    )
    return html("<ul class='small'>{}</ul>", join(lines))


def _origin(sae: Sae, snapshot: str) -> Markup:
    evaluated = sae.evaluation
    return facts(
        (
            ("run", a(AtRuns(sae.run), sae.run, snapshot)),
            ("trained on", html("<code>{}</code>", sae.hook)),
            ("architecture", f"{sae.architecture}, {count(sae.d_in)} → {count(sae.d_sae)}"),
            ("weights", html("<code>{}</code>", sae.weights_sha256[:16])),
            ("evaluated on", f"{count(evaluated.tokens)} tokens" if evaluated else "not evaluated"),
            (
                "dead counted over",
                f"{count(evaluated.dead_window)} training tokens" if evaluated else "–",
            ),
            ("alive while mining", density(sae.alive / sae.d_sae)),
        )
    )


def _heads(heads: list[HeadId], snapshot: str) -> Markup:
    return join(a_id(head, snapshot, f"H{head.head}", "chip") for head in heads)
