"""What fires on a prompt: a map of layers by tokens, and lists of features with their share."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from markupsafe import Markup

from app.web.url import AtPrompt
from app.web.widgets.hits import name_of
from app.web.widgets.html import a, a_id, html, join
from app.web.widgets.pieces import short
from app.web.widgets.strip import token_at
from app.web.widgets.table import Column, table
from app.web.widgets.text import exact, fixed, percent, visible
from atlas.ids import FeatureId
from atlas.prompt_types import Features, Firing, LayerFeatures, Prompt
from atlas.types import FeatureRow

Rows = Mapping[FeatureId, FeatureRow]
_COLUMNS = (
    Column("feature", width="11em"),
    Column("title"),
    Column("on", width="14%"),
    Column("activation", True, width="7%"),
    Column("of its maximum", True, "share of the largest activation while mining", "8%"),
    Column("", width="12%"),
    Column("", True, width="11%"),
)


def firing_map(place: AtPrompt, found: Features, rows: Rows, snapshot: str) -> Markup:
    """Tokens across, layers down; a cell is the strongest feature there."""
    prompt = found.prompt
    head = join(
        html(
            '<th class="{}">{}</th>',
            "here" if pos == place.pos else "",
            a(replace(place, pos=pos), visible(token), snapshot),
        )
        for pos, token in enumerate(prompt.tokens)
    )
    body = join(_layer(place, prompt, layer, rows, snapshot) for layer in reversed(found.layers))
    return html(
        '<div class="scroll firing"><table><tr><th></th>{}</tr>{}</table></div>'
        '<p class="tiny soft">One line a layer; the colour is the share of its own maximum that the'
        " strongest feature on a token reaches.{}</p>",
        head,
        body,
        " The start token is left out: every feature may fire there." if prompt.bos else "",
    )


def _layer(
    place: AtPrompt, prompt: Prompt, layer: LayerFeatures, rows: Rows, snapshot: str
) -> Markup:
    best: dict[int, Firing] = {}
    for one in layer.firings:
        if not (prompt.bos and one.pos == 0) and (
            one.pos not in best or share(one, rows) > share(best[one.pos], rows)
        ):
            best[one.pos] = one
    cells = join(
        _cell(place, prompt, best[pos], rows, snapshot) if pos in best else html("<td></td>")
        for pos in range(len(prompt.tokens))
    )
    return html("<tr><th>{}</th>{}</tr>", a_id(layer.sae, snapshot, f"L{layer.sae.layer}"), cells)


def _cell(place: AtPrompt, prompt: Prompt, one: Firing, rows: Rows, snapshot: str) -> Markup:
    row, part = rows.get(one.feature), share(one, rows)
    tip = (
        f"{short(one.feature)} {name_of(row) if row else ''}\n"
        f"on {exact(prompt.tokens[one.pos])}, position {one.pos}\n"
        f"activation {fixed(one.act, 4)}, {percent(part)} of its maximum"
    )
    to = replace(place, feature=one.feature, pos=one.pos)
    return html(
        '<td class="a" style="--a:{:.2f}" data-tip="{}">{}</td>',
        min(1.0, part) ** 2,
        tip,
        a(to, " ", snapshot),
    )


def share(one: Firing, rows: Rows) -> float:
    """A firing as a share of the feature's largest activation while mining."""
    row = rows.get(one.feature)
    return one.act / row.max_act if row and row.max_act else 0.0


def strongest(prompt: Prompt, firings: Iterable[Firing], rows: Rows, most: int) -> list[Firing]:
    """The features that come nearest to their own maximum, each where it is strongest."""
    best: dict[FeatureId, Firing] = {}
    for one in firings:
        if one.feature in rows and not (prompt.bos and one.pos == 0):
            held = best.get(one.feature)
            best[one.feature] = one if held is None or one.act > held.act else held
    return sorted(best.values(), key=lambda one: -share(one, rows))[:most]


def firing_table(
    place: AtPrompt, prompt: Prompt, firings: Iterable[Firing], rows: Rows, snapshot: str
) -> Markup:
    """Firings with label, token, activation and the way to what made each."""
    return table(_COLUMNS, (_line(place, prompt, one, rows, snapshot) for one in firings))


def _line(
    place: AtPrompt, prompt: Prompt, one: Firing, rows: Rows, snapshot: str
) -> tuple[object, ...]:
    part, row = share(one, rows), rows.get(one.feature)
    traced = replace(place, feature=one.feature, pos=one.pos, src=None)
    return (
        a_id(one.feature, snapshot, short(one.feature)),
        name_of(row) if row else "",
        token_at(prompt, one.pos),
        fixed(one.act),
        percent(part),
        html('<span class="bar act"><i style="width:{:.1f}%"></i></span>', 100 * min(1.0, part)),
        a(traced, "what made it fire", snapshot),
    )
