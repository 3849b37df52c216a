"""Two SAEs, or the SAEs of two layers, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.web.widgets.bars import densities
from app.web.widgets.evaluation import evaluations
from app.web.widgets.html import a, a_id, html, join
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, percent
from atlas.api import Atlas
from atlas.ids import parse_head
from atlas.types import Query, Sae

_FACETS = {"family": "Families", "head": "Top heads"}
_MOST = 12


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the comparison."""

    name: str
    saes: tuple[Sae, ...]


def sides(atlas: Atlas, one: Side, other: Side) -> list[Markup]:
    """Evaluation, densities, families and heads of both sides."""
    snapshot = atlas.snapshot.name
    both = (one, other)
    return [
        html(
            "<h2>{} and {}</h2>{}",
            one.name,
            other.name,
            evaluations([sae for side in both for sae in side.saes], snapshot),
        ),
        html(
            '<h2>Density of their features</h2><div class="pair">{}</div>',
            join(html("<div>{}</div>", _densities(atlas, side, snapshot)) for side in both),
        ),
        *(_facet(atlas, both, name, words, snapshot) for name, words in _FACETS.items()),
    ]


def _densities(atlas: Atlas, side: Side, snapshot: str) -> Markup:
    return join(
        html("<h3>{}</h3>{}", a_id(sae.id, snapshot), densities(atlas.densities(sae.id)))
        for sae in side.saes
    )


def _facet(atlas: Atlas, both: tuple[Side, Side], name: str, words: str, snapshot: str) -> Markup:
    counts = [_counts(atlas, side.saes, name) for side in both]
    totals = [sum(sae.alive for sae in side.saes) or 1 for side in both]
    known = sorted(
        counts[0].keys() | counts[1].keys(), key=lambda v: -max(c.get(v, 0) for c in counts)
    )
    if not known:
        return Markup("")
    columns = (
        Column(name),
        Column(both[0].name, True),
        Column("share", True),
        Column("", width="22%"),
        Column(both[1].name, True),
        Column("share", True),
        Column("", width="22%"),
    )
    lines = (
        (
            _linked(both, name, value, snapshot),
            *(
                cell
                for n, total in zip(counts, totals, strict=True)
                for cell in _cells(n.get(value, 0), total)
            ),
        )
        for value in known[:_MOST]
    )
    return html("<h2>{}</h2>{}", words, table(columns, lines))


def _linked(both: tuple[Side, Side], name: str, value: str, snapshot: str) -> object:
    if name == "head":
        return a_id(parse_head(value), snapshot)
    layers = {sae.id.layer for side in both for sae in side.saes}
    layer = layers.pop() if len(layers) == 1 else None
    return a(Query(family=value, layer=layer), value.replace("_", " "), snapshot)


def _cells(n: int, total: int) -> tuple[object, ...]:
    if not n:
        return "–", "", ""
    bar = html('<span class="bar"><i style="width:{:.1f}%"></i></span>', 100 * n / total)
    return count(n), percent(n / total), bar


def _counts(atlas: Atlas, saes: Sequence[Sae], name: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for sae in saes:
        for value, n in atlas.search(Query(sae=str(sae.id), limit=1)).facets.get(name, ()):
            found[value] = found.get(value, 0) + n
    return found
