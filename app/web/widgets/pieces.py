"""What is written into the residual stream of a prompt: each piece by its name, label and value."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from app.web.trail import Trail
from app.web.url import AtPrompt
from app.web.widgets.hits import name_of, rows_of
from app.web.widgets.html import a, a_id, html
from app.web.widgets.table import Column, table
from app.web.widgets.text import fixed, visible
from atlas.api import Atlas
from atlas.ids import FeatureId
from atlas.prompt_types import Kind, Piece, Prompt
from atlas.types import FeatureRow

_WORDS: dict[Kind, str] = {
    "embedding": "embedding",
    "position": "position embedding",
    "mlp": "MLP {}",
    "attention": "attention {}, without SAE",
    "error": "SAE error {}",
    "bias": "biases of layer {}",
    "feature": "feature",
    "rest": "everything else",
}
_SIGNED = (Column("gives", True, width="6em"), Column("", width="30%"))


class Seen(NamedTuple):
    """A prompt on a page: what its pieces are named and linked with."""

    place: AtPrompt
    prompt: Prompt
    rows: Mapping[FeatureId, FeatureRow]
    snapshot: str
    trail: Trail
    """The trail of whatever is gone on to from here."""


def see(
    atlas: Atlas, place: AtPrompt, prompt: Prompt, pieces: Iterable[Piece], trail: Trail
) -> Seen:
    """What is needed to show pieces: the rows of their features, read once."""
    rows = rows_of(atlas, (one.feature for one in pieces if one.feature))
    return Seen(place, prompt, rows, atlas.snapshot.name, trail)


def short(feature: FeatureId) -> str:
    """A feature without its model."""
    return f"{feature.sae.layer}-{feature.sae.set}/{feature.index}"


def word(piece: Piece) -> str:
    """A piece's kind and layer; a feature's short id."""
    if piece.feature is not None:
        return short(piece.feature)
    if piece.kind == "bias" and piece.layer is None:
        return "biases of the head"
    return _WORDS[piece.kind].format(piece.layer)


def label(seen: Seen, piece: Piece) -> str:
    """A feature's title; empty for other pieces."""
    row = seen.rows.get(piece.feature) if piece.feature else None
    return name_of(row) if row else ""


def onward(seen: Seen, piece: Piece) -> AtPrompt:
    """Where a feature's own trace is, the way here remembered."""
    shown = seen.place
    return AtPrompt(
        shown.text, shown.other, shown.model, piece.pos, piece.feature,
        depth=shown.depth, top=shown.top, trail=seen.trail,
    )  # fmt: skip


def named(seen: Seen, piece: Piece) -> Markup:
    """A piece with its label, its token and, for a feature, the ways on."""
    where = Markup("")
    if piece.pos is not None:
        token = visible(seen.prompt.tokens[piece.pos])
        where = html(
            ' <span class="tok soft">{}</span> <span class="tiny soft">{}</span>', token, piece.pos
        )
    if piece.feature is None:
        return html("{}{}", word(piece), where)
    more = a(onward(seen, piece), "what made it fire", seen.snapshot, "tiny")
    link = a_id(piece.feature, seen.snapshot, word(piece))
    return html("{} {}{} {}", link, label(seen, piece), where, more)


def pieces_table(seen: Seen, pieces: Sequence[Piece]) -> Markup:
    """Pieces with what each gives, as signed bars."""
    most = max((abs(one.value) for one in pieces), default=0.0)
    lines = ((named(seen, one), *signed(one.value, most)) for one in pieces)
    return table((Column("what"), *_SIGNED), lines)


def signed(value: float, most: float) -> tuple[str, Markup]:
    """A value with its sign, and a bar of its size; a hatched one is negative."""
    kind = "minus" if value < 0 else ""
    width = 100 * min(1.0, abs(value) / most) if most else 0.0
    return fixed(value, 4), html(
        '<span class="bar {}"><i style="width:{:.1f}%"></i></span>', kind, width
    )
