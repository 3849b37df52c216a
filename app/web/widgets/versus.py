"""Two prompts side by side, such as a clean and a corrupted one: features and next tokens."""

from collections.abc import Mapping
from dataclasses import replace

from markupsafe import Markup

from app.web.url import AtPrompt
from app.web.widgets.change import tokens
from app.web.widgets.hits import name_of
from app.web.widgets.html import a, a_id, html
from app.web.widgets.pieces import short
from app.web.widgets.strip import strip, token_at
from app.web.widgets.table import Column, table
from app.web.widgets.text import fixed
from atlas.ids import FeatureId
from atlas.prompt_types import Comparison, FeatureDifference, Prompt
from atlas.types import FeatureRow

_FEATURES, _TOKENS = 30, 10


def turned(place: AtPrompt) -> AtPrompt:
    """The same comparison with the second text first."""
    return AtPrompt(place.other, place.text, place.model)


def versus(
    place: AtPrompt, found: Comparison, rows: Mapping[FeatureId, FeatureRow], snapshot: str
) -> Markup:
    """What tells two prompts apart.

    Args:
        place: both texts.
        found: their comparison.
        rows: of the features compared.
        snapshot: what links show.
    """
    lines = (_line(place, found, one, rows, snapshot) for one in found.features[:_FEATURES])
    return html(
        '<h2>Two texts <span class="small">{}</span></h2>'
        '<div class="look"><div>first</div>{}</div><div class="look"><div>second</div>{}</div>'
        "<h3>Next token</h3>{}<h3>Features that fire differently, each at its strongest</h3>{}",
        a(turned(place), "turn them round", snapshot),
        strip(found.a, snapshot, lambda pos: replace(place, pos=pos)),
        strip(found.b, snapshot, lambda pos: replace(turned(place), pos=pos)),
        tokens(found.tokens[:_TOKENS], "first", "second"),
        table(_COLUMNS, lines),
    )


_COLUMNS = (
    Column("feature", width="9em"),
    Column("title"),
    Column("first", True, width="5em"),
    Column("on", width="13em"),
    Column("second", True, width="5em"),
    Column("on", width="13em"),
)


def _line(
    place: AtPrompt,
    found: Comparison,
    one: FeatureDifference,
    rows: Mapping[FeatureId, FeatureRow],
    snapshot: str,
) -> tuple[object, ...]:
    row = rows.get(one.feature)
    return (
        a_id(one.feature, snapshot, short(one.feature)),
        name_of(row) if row else "",
        fixed(one.a),
        _at(place, found.a, one.feature, one.a_pos, snapshot),
        fixed(one.b),
        _at(turned(place), found.b, one.feature, one.b_pos, snapshot),
    )


def _at(
    place: AtPrompt, prompt: Prompt, feature: FeatureId, pos: int | None, snapshot: str
) -> Markup:
    if pos is None:
        return Markup('<span class="soft">does not fire</span>')
    traced = replace(place, feature=feature, pos=pos)
    return html("{} {}", token_at(prompt, pos), a(traced, "why", snapshot, "tiny"))
