"""What the jump box leads to: one page, a choice, or a search."""

from markupsafe import Markup

from app.web.url import AtJump, at, link
from app.web.widgets import here
from app.web.widgets.frame import empty
from app.web.widgets.html import a, a_id, html, join, show
from atlas.api import Atlas
from atlas.ids import FeatureId, HeadId, Id, SaeId
from atlas.types import Query

_KINDS: dict[type, str] = {HeadId: "head", SaeId: "SAE", FeatureId: "feature"}


def render(atlas: Atlas) -> None:
    """Go to the one thing that was meant, or show what it may be."""
    text, snapshot = here.place(AtJump).q, atlas.snapshot.name
    found = atlas.jump(text).found
    if len(found) == 1:
        here.go(link(at(found[0]), snapshot))
    elif not found and text.strip():
        here.go(link(Query(text.strip()), snapshot))
    show(_choice(text, found, snapshot))


def _choice(text: str, found: tuple[Id, ...], snapshot: str) -> Markup:
    if not text.strip():
        return empty("Nothing to jump to.", "Type an id, such as gpt2/L5H1, 5.1 or 5-att-kk/123.")
    if not found:
        return html("<p>{}</p>", a(Query(text), f"Search for {text}", snapshot))
    lines = [
        html("<li>{} {}</li>", _KINDS.get(type(one), "model"), a_id(one, snapshot)) for one in found
    ]
    meant = "It means" if len(found) == 1 else "It may mean"
    return html(
        '<h1><span class="mono">{}</span></h1><p>{}:</p><ul>{}</ul>', text, meant, join(lines)
    )
