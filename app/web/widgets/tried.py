"""A text of one's own tried on one feature, where this machine can run its model."""

from importlib.util import find_spec

from markupsafe import Markup

from app.web.url import AtFeature, AtPrompt
from app.web.widgets.explorer import explorer
from app.web.widgets.fields import form
from app.web.widgets.html import a, html, show
from app.web.widgets.strip import strip, token_at
from app.web.widgets.text import fixed, percent
from atlas.api import Atlas
from atlas.types import Feature


def trial_form(place: AtFeature, snapshot: str) -> Markup:
    """The field for a text; a sentence where no model can run."""
    if find_spec("torch") is None:
        words = "This machine cannot run models, so a text of your own cannot be tried here."
        return html('<h2>Your own text</h2><p class="small soft">{}</p>', words)
    return form(
        AtFeature(place.id),
        snapshot,
        "sql",
        Markup("<h2>Your own text</h2>"),
        html(
            '<div class="row"><textarea class="grow" data-name="text" rows="1" aria-label="Your'
            ' text" placeholder="A text to try this feature on; Ctrl+Enter">{}</textarea>'
            "<button>Try it</button></div>",
            place.text,
        ),
    )


def show_trial(atlas: Atlas, place: AtFeature, feature: Feature) -> None:
    """Where the feature fires on the text, and what its strongest firing reads.

    Raises:
        ModelError: the model cannot be had on this machine.
        QueryError: the text is refused.
    """
    snapshot, name = atlas.snapshot.name, feature.id
    opened = explorer(atlas, name.sae.model)
    acts = opened.acts(place.text, name)
    first = 1 if len(acts) > 1 else 0  # the start token is no word of the text
    best = max(range(first, len(acts)), key=lambda pos: acts[pos])
    trace = opened.trace(place.text, name, best)
    if not acts[best]:
        line = html('<p class="small">It does not fire on this text.</p>')
    else:
        head = max(range(len(trace.heads)), key=lambda n: trace.heads[n])
        share = acts[best] / feature.row.max_act if feature.row.max_act else 0.0
        line = html(
            '<p class="small">Strongest on {}: activation <b>{}</b>, {} of its maximum while'
            " mining, most by {}. Blue is what that firing reads.</p>",
            token_at(trace.prompt, best),
            fixed(acts[best]),
            percent(share),
            f"L{name.sae.layer}H{head}",
        )
    to = AtPrompt(place.text, feature=name)
    tokens = strip(
        trace.prompt,
        snapshot,
        lambda pos: AtPrompt(place.text, feature=name, pos=pos),
        acts={pos: act for pos, act in enumerate(acts) if act},
        given={one.pos: one.dfa for one in trace.sources} if acts[best] else {},
        here=best if acts[best] else None,
    )
    show(tokens, line, a(to, "what made it fire, step by step →", snapshot, "small"))
