"""All heads of a model: a grid of layer by head, a scatter of two measures, and a ranking."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from app.web.url import AtHeads
from app.web.widgets import here
from app.web.widgets.bars import bar
from app.web.widgets.fields import choice, form
from app.web.widgets.frame import NO_METRICS, empty
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.notes import show_notes
from app.web.widgets.roles import role_name
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, sig
from app.web.widgets.written import every
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import HeadId, ModelId, parse
from atlas.note_types import RoleClaim
from atlas.types import HeadRow

_COUNTS = {
    "features": "features led, by measured share",
    "weight_features": "features led, by weight share",
}
_RANKED, _NAMED = 25, 8
_NAME = 0.16, 0.045
"""Width and height of a name, as shares of the scatter's."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """One number per head."""

    name: str
    words: str
    values: Mapping[HeadId, float]

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest value, or 0, and the largest."""
        return min((0.0, *self.values.values())), max(self.values.values(), default=0.0)

    def place(self, head: HeadId) -> float:
        """Where a head lies between the ends: 0 to 1."""
        low, high = self.ends
        return (self.values[head] - low) / (high - low) if high > low else 0.0


def render(atlas: Atlas) -> None:
    """The page of a model's heads."""
    place, snapshot = here.place(AtHeads), atlas.snapshot.name
    models = [model.id for model in atlas.models()]
    model = atlas.model(place.model or models[0]).id
    heads = atlas.heads(model)
    known = _measures(atlas, model, heads)
    roles = _roles_of(atlas, model)
    x, y = (_with_role(_named(known, n), roles, place.role) for n in (place.metric, place.other))
    place = replace(place, model=model)
    show(
        _top(place, models, known, sorted({one for of in roles.values() for one in of}), snapshot),
        html(
            '<div class="two"><div><h3>{}</h3>{}</div><div><h3>{} against {}</h3>{}</div></div>',
            x.words,
            _grid(heads, x, snapshot),
            y.words,
            x.words,
            _scatter(x, y, snapshot),
        ),
        _ranking(heads, x, roles, snapshot),
    )
    show_notes(atlas, ModelId(model))


def _roles_of(atlas: Atlas, model: str) -> dict[HeadId, list[str]]:
    """Roles of the heads of a model, those that people claim first."""
    roles: dict[HeadId, list[str]] = defaultdict(list)
    for note in every(atlas, RoleClaim):
        head = parse(note.content.target)
        if note.content.status != "withdrawn" and isinstance(head, HeadId) and head.model == model:
            roles[head].append(note.content.role)
    for head, studied in atlas.roles_of_heads(model).items():
        roles[head] += studied
    return {head: list(dict.fromkeys(own)) for head, own in roles.items()}


def _with_role(
    measure: _Measure, roles: Mapping[HeadId, Sequence[str]], role: str | None
) -> _Measure:
    if role is None:
        return measure
    own = {head: value for head, value in measure.values.items() if role in roles.get(head, ())}
    return replace(measure, values=own)


def _measures(atlas: Atlas, model: str, heads: Sequence[HeadRow]) -> dict[str, _Measure]:
    led = {row.id: float(row.features) for row in heads}
    weighed = {row.id: float(row.weight_features) for row in heads}
    measured: dict[tuple[str, str], dict[HeadId, float]] = defaultdict(dict)
    for head, metrics in atlas.head_metrics(model).items():
        for one in metrics:
            measured[one.metric, one.condition][head] = one.value
    known = [
        _Measure(name, _COUNTS[name], v) for name, v in zip(_COUNTS, (led, weighed), strict=True)
    ]
    for (metric, condition), values in sorted(measured.items()):
        words = f"{metric} on {condition}".replace("_", " ")
        known.append(_Measure(f"{metric}:{condition}", words, values))
    return {one.name: one for one in known}


def _named(known: Mapping[str, _Measure], name: str) -> _Measure:
    if name not in known:
        raise NotFound(f"no measure {name[:60]!r} of heads", f"known: {', '.join(known)}")
    return known[name]


def _top(
    place: AtHeads,
    models: Sequence[str],
    known: Mapping[str, _Measure],
    roles: Sequence[str],
    snapshot: str,
) -> Markup:
    words = {name: one.words for name, one in known.items()}
    others = [
        a(AtHeads(model=one), one, snapshot, "chip on" if one == place.model else "chip")
        for one in models
    ]
    none = "" if len(known) > len(_COUNTS) else _no_metrics()
    return html(
        '<div class="row far pagetop"><h1>Heads of {}</h1><div class="row">{}</div></div>{}{}',
        place.model,
        join(others) if len(models) > 1 else "",
        form(
            place,
            snapshot,
            "row small soft",
            choice("metric", "colour by ", words, place.metric, unset="features", now=True),
            choice("other", "against ", words, place.other, unset="weight_features", now=True),
            choice(
                "role",
                "with role ",
                {"": "any", **{one: role_name(one) for one in roles}},
                place.role or "",
                unset="",
                now=True,
            ),
        ),
        none,
    )


def _no_metrics() -> Markup:
    return empty(
        "No head metrics: heads are compared by the features they lead.",
        NO_METRICS,
    )


def _grid(heads: Sequence[HeadRow], measure: _Measure, snapshot: str) -> Markup:
    layers: dict[int, list[HeadId]] = defaultdict(list)
    for row in heads:
        layers[row.id.layer].append(row.id)
    width = max(len(row) for row in layers.values())
    blank = {layer for layer, row in layers.items() if not any(map(measure.values.get, row))}
    lines = [
        _blank(list(group))
        if is_blank
        else join(_line(layer, layers[layer], measure, snapshot) for layer in group)
        for is_blank, group in groupby(layers, key=blank.__contains__)
    ]
    top = join(html('<span class="lab col">H{}</span>', head) for head in range(width))
    return html(
        '<div class="map" style="grid-template-columns: max-content repeat({}, minmax(24px, 1fr))">'
        '<span class="lab"></span>{}{}</div>',
        width,
        top,
        join(lines),
    )


def _blank(layers: Sequence[int]) -> Markup:
    """One line for neighbouring layers in which no head has a value."""
    names = f"L{layers[0]}" if len(layers) == 1 else f"L{layers[0]}–{layers[-1]}"
    return html('<span class="lab">{}</span><span class="lab blank">nothing measured</span>', names)


def _line(layer: int, row: Sequence[HeadId], measure: _Measure, snapshot: str) -> Markup:
    return html(
        '<span class="lab">L{}</span>{}', layer, join(_cell(h, measure, snapshot) for h in row)
    )


def _cell(head: HeadId, measure: _Measure, snapshot: str) -> Markup:
    value = measure.values.get(head)
    if not value:
        return a_id(head, snapshot, "·", "none")
    return html(
        '<span style="--v:{:.3f}">{}</span>',
        measure.place(head),
        a_id(head, snapshot, _number(value), ""),
    )


def _number(value: float) -> str:
    return count(value) if value == int(value) else sig(value, 2)


def _scatter(x: _Measure, y: _Measure, snapshot: str) -> Markup:
    both = [head for head in x.values if head in y.values and (x.values[head] or y.values[head])]
    if not both:
        return empty("No head has both.", "Choose other measures.")
    places = {head: (x.place(head), y.place(head)) for head in both}
    far = _apart(sorted(both, key=lambda head: -sum(places[head])), places)
    dots = join(
        html(
            '<span class="dot{}" style="left:{:.2f}%;bottom:{:.2f}%" data-name="{}"'
            ' data-tip="{}">{}</span>',
            _label_side(x.place(head)) if head in far else "",
            2 + 94 * x.place(head),
            2 + 94 * y.place(head),
            f"L{head.layer}H{head.head}",
            "\n".join((str(head), *(f"{one.words} {sig(one.values[head], 4)}" for one in (x, y)))),
            a_id(head, snapshot, " ", ""),
        )
        for head in both
    )
    (x0, x1), (y0, y1) = ([sig(end) for end in one.ends] for one in (x, y))
    return html(
        '<div class="axis"><span>↑ {}, {} to {}</span></div><div class="scatter">{}</div>'
        '<div class="axis"><span>{}</span><span>{} →</span><span>{}</span></div>',
        y.words,
        y0,
        y1,
        dots,
        x0,
        x.words,
        x1,
    )


def _apart(
    heads: Sequence[HeadId], places: Mapping[HeadId, tuple[float, float]]
) -> Sequence[HeadId]:
    """The first heads whose names do not lie on each other."""
    named: list[HeadId] = []
    for head in heads:
        left, up = places[head]
        others = (places[one] for one in named)
        if all(abs(left - x) > _NAME[0] or abs(up - y) > _NAME[1] for x, y in others):
            named.append(head)
        if len(named) == _NAMED:
            break
    return named


def _label_side(share: float) -> str:
    return " named left" if share > 0.85 else " named"


def _ranking(
    heads: Sequence[HeadRow],
    measure: _Measure,
    roles: Mapping[HeadId, Sequence[str]],
    snapshot: str,
) -> Markup:
    rows = [row for row in heads if measure.values.get(row.id)]
    rows.sort(key=lambda row: -measure.values[row.id])
    columns = (
        Column("head", width="15%"),
        Column("", width="22%"),
        Column(measure.words, True),
        Column("features led", True, "by measured share; by weight share"),
        Column("KV head", True),
        Column("roles", hint="claimed by people or by a study"),
    )
    lines = (
        (
            a_id(row.id, snapshot),
            bar(measure.place(row.id)),
            _number(measure.values[row.id]),
            html(
                '{} <span class="soft">· {}</span>', count(row.features), count(row.weight_features)
            ),
            row.kv_head,
            _roles(roles.get(row.id, ())),
        )
        for row in rows[:_RANKED]
    )
    title = f"The {_RANKED} highest" if len(rows) > _RANKED else "All heads with a value"
    return html("<h2>{}</h2>{}", title, table(columns, lines))


def _roles(claimed: Sequence[str]) -> Markup:
    chips = (
        html('<span class="chip">{}</span> ', role_name(role)) for role in dict.fromkeys(claimed)
    )
    return join(chips)
