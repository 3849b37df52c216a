"""Two features, heads, SAEs or layers side by side."""

import re
from collections.abc import Callable, Sequence

from markupsafe import Markup

from app.web.url import AtCompare
from app.web.widgets import here
from app.web.widgets.bars import bar, logits
from app.web.widgets.fields import box, form
from app.web.widgets.frame import empty
from app.web.widgets.hits import name_of, title
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.sides import Side, sides
from app.web.widgets.table import Column, facts, table
from app.web.widgets.text import count, density, fixed, percent, sig
from app.web.widgets.tokens import snippet
from atlas.api import Atlas
from atlas.errors import NotFound, QueryError
from atlas.ids import FeatureId, HeadId, ModelId, SaeId
from atlas.types import (
    Feature,
    FeatureComparison,
    Head,
    HeadComparison,
    HeadFeature,
    HeadShare,
    SharedFeature,
)

_SHOWN = 12


def render(atlas: Atlas) -> None:
    """The comparison that the URL names."""
    place, snapshot = here.place(AtCompare), atlas.snapshot.name
    show(_form(place, snapshot))
    if not (place.a and place.b):
        show(_how())
        return
    one, other = _meant(atlas, place.a), _meant(atlas, place.b)
    if isinstance(one, FeatureId) and isinstance(other, FeatureId):
        show(*_features(atlas.compare(one, other), snapshot))
    elif isinstance(one, HeadId) and isinstance(other, HeadId):
        show(*_heads(atlas.compare_heads(one, other), snapshot))
    elif isinstance(one, Side) and isinstance(other, Side):
        show(*sides(atlas, one, other))
    else:
        raise QueryError(
            f"{place.a[:60]!r} and {place.b[:60]!r} are of different kinds",
            "give two features, two heads, two SAEs or two layers",
        )


def _form(place: AtCompare, snapshot: str) -> Markup:
    swapped = a(AtCompare(place.b, place.a), "⇄", snapshot, "button", "swap")
    fields = form(
        AtCompare(),
        snapshot,
        "row compare",
        box("a", "", place.a, "gpt2/L5H1, gpt2/5-att-kk/123, gpt2/5-att-kk or L5"),
        swapped,
        box("b", "", place.b, "another of the kind"),
        Markup('<button class="first">Compare</button>'),
    )
    return html('<h1 class="pagetop">Compare</h1>{}', fields)


def _how() -> Markup:
    return empty(
        "Two things of one kind are compared.",
        "Give two features, heads, SAEs or layers: full ids, or short ones such as 5.1, 5-att-kk"
        " or L5. Their pages have a link that fills in one side.",
    )


_LAYER = re.compile(r"(?:(?P<model>[^/]+)/)?L(?P<layer>\d{1,4})")


def _meant(atlas: Atlas, text: str) -> FeatureId | HeadId | Side:
    if layer := _LAYER.fullmatch(text.strip()):
        return _layer(atlas, text.strip(), layer["model"], int(layer["layer"]))
    found = [one for one in atlas.jump(text).found if not isinstance(one, ModelId)]
    if not found:
        raise NotFound(
            f"no feature, head, SAE or layer {text[:60]!r}",
            "write it as gpt2/5-att-kk/123, gpt2/L5H1, gpt2/5-att-kk or L5",
        )
    if len(found) > 1:
        raise QueryError(f"{text[:60]!r} may mean {', '.join(map(str, found))}", "write it in full")
    (one,) = found
    return Side(str(one), (atlas.sae(one),)) if isinstance(one, SaeId) else one


def _layer(atlas: Atlas, text: str, model: str | None, layer: int) -> Side:
    saes = [one for one in atlas.saes() if one.id.layer == layer]
    models = {one.id.model for one in saes if model in (None, one.id.model)}
    if not models:
        raise NotFound(f"no SAE on layer {text[:60]}", "home lists the layers that have one")
    if len(models) > 1:
        raise QueryError(f"{text} may be of {', '.join(sorted(models))}", "write MODEL/L5")
    (of,) = models
    return Side(f"{of}/L{layer}", tuple(one for one in saes if one.id.model == of))


# Features


def _features(both: FeatureComparison, snapshot: str) -> list[Markup]:
    a_, b = both.a, both.b
    near = facts(
        (
            (
                "cosine",
                _or(both.cosine, fixed, "not stored: neither is among the other's neighbours"),
            ),
            ("fire together", _or(both.jaccard, percent, "not counted")),
            (
                "heads, measured",
                _or(both.measured_distance, _apart, "not comparable: other layer, or never fired"),
            ),
            ("heads, by weights", _or(both.weight_distance, _apart, "not comparable: other layer")),
        )
    )
    scale = max((abs(one.value) for f in (a_, b) for one in f.top_logits), default=1.0)
    return [
        html('<div class="pair">{}{}</div>', _feature(a_, snapshot), _feature(b, snapshot)),
        html("<h2>How near they are</h2>{}", near),
        _profiles(both),
        html(
            '<h2>Tokens they raise</h2><div class="pair">{}{}</div>',
            logits(a_.top_logits, str(a_.id), scale),
            logits(b.top_logits, str(b.id), scale),
        ),
        _contexts(both),
    ]


def _or(value: float | None, text: Callable[[float], str], otherwise: str) -> Markup:
    if value is None:
        return html('<span class="soft">{}</span>', otherwise)
    return html("{}", text(value))


def _apart(distance: float) -> str:
    return f"{fixed(distance, 2)} apart, from 0 (the same) to 1 (none in common)"


def _feature(one: Feature, snapshot: str) -> Markup:
    row = one.row
    of = one.sae.id
    head = "–" if row.dfa_head is None else f"L{of.layer}H{row.dfa_head}, {percent(row.dfa_share)}"
    return html(
        "<div><p>{}</p><h2>{}</h2>{}{}</div>",
        a_id(one.id, snapshot),
        name_of(row),
        facts(
            (
                ("top head, measured", head),
                (
                    "top head, weights",
                    f"L{of.layer}H{row.weight_head}, {percent(row.weight_share)}",
                ),
                ("density", density(row.density)),
                ("firings", count(row.firings)),
                ("maximum, mean", f"{sig(row.max_act)}, {sig(row.mean_act)}"),
                ("family", row.family or "–"),
            )
        ),
        snippet(one.examples[0]) if one.examples else "",
    )


def _profiles(both: FeatureComparison) -> Markup:
    if both.weight_distance is None:
        return Markup("")
    columns = (
        Column("head", width="6em"),
        Column(str(both.a.id)),
        Column("", True, width="5em"),
        Column(str(both.b.id)),
        Column("", True, width="5em"),
    )
    pairs = zip(both.a.heads, both.b.heads, strict=True)
    lines = ((f"H{one.head}", *_share(one), *_share(other)) for one, other in pairs)
    return html("<h2>Head profiles</h2>{}", table(columns, lines))


def _share(one: HeadShare) -> tuple[Markup, str]:
    share = one.weight_share if one.dfa_share is None else one.dfa_share
    return bar(one.dfa_share, one.weight_share), percent(share)


def _contexts(both: FeatureComparison) -> Markup:
    if not both.shared:
        none = empty("No kept example of one is in a context of the other.", "")
        return html("<h2>Contexts of both</h2>{}", none)
    pairs = (
        html('<div class="pair">{}{}</div>', snippet(one), snippet(other))
        for one, other in both.shared[:_SHOWN]
    )
    return html("<h2>Contexts of both</h2>{}", join(pairs))


# Heads


def _heads(both: HeadComparison, snapshot: str) -> list[Markup]:
    return [
        html('<div class="pair">{}{}</div>', _head(both.a, snapshot), _head(both.b, snapshot)),
        _together(both, snapshot),
        _metrics(both),
        html(
            '<div class="pair"><div><h2>Strongest features of {}</h2>{}</div>'
            "<div><h2>Strongest features of {}</h2>{}</div></div>",
            both.a.id.short,
            _strongest(both.a.features, snapshot),
            both.b.id.short,
            _strongest(both.b.features, snapshot),
        ),
    ]


def _head(one: Head, snapshot: str) -> Markup:
    return html(
        "<div><p>{}</p>{}</div>",
        a_id(one.id, snapshot),
        facts(
            (
                ("features led, measured", count(one.row.features)),
                ("features led, weights", count(one.row.weight_features)),
                ("KV head", one.row.kv_head),
            )
        ),
    )


def _together(both: HeadComparison, snapshot: str) -> Markup:
    if (both.a.id.model, both.a.id.layer) != (both.b.id.model, both.b.id.layer):
        none = empty("They are on different layers.", "Heads of one layer write the same features.")
        return html("<h2>Features of both</h2>{}", none)
    correlation = "not defined" if both.correlation is None else fixed(both.correlation, 2)
    columns = (
        Column("feature", width="16%"),
        Column("title"),
        Column(both.a.id.short, True, "measured share"),
        Column("", width="15%"),
        Column(both.b.id.short, True, "measured share"),
        Column("", width="15%"),
    )
    return html(
        '<h2>Features of both</h2><p class="small soft">Measured shares over the {} live features'
        " of the layer: correlation {}.</p>{}",
        count(both.features),
        correlation,
        table(columns, (_shared(one, snapshot) for one in both.shared[: 2 * _SHOWN])),
    )


def _shared(one: SharedFeature, snapshot: str) -> tuple[object, ...]:
    return (
        a_id(one.row.id, snapshot),
        title(one.row),
        percent(one.a.dfa_share),
        bar(one.a.dfa_share, one.a.weight_share),
        percent(one.b.dfa_share),
        bar(one.b.dfa_share, one.b.weight_share),
    )


def _metrics(both: HeadComparison) -> Markup:
    values = [{(m.metric, m.condition): m for m in head.metrics} for head in (both.a, both.b)]
    names = sorted({*values[0], *values[1]})
    if not names:
        return Markup("")
    columns = (
        Column("metric"),
        Column("condition"),
        Column(both.a.id.short, True),
        Column(both.b.id.short, True),
    )
    lines = (
        (
            name[0].replace("_", " "),
            name[1].replace("_", " "),
            *(fixed(v[name].value) if name in v else "–" for v in values),
        )
        for name in names
    )
    return html("<h2>Metrics</h2>{}", table(columns, lines))


def _strongest(features: Sequence[HeadFeature], snapshot: str) -> Markup:
    columns = (Column("feature"), Column("title"), Column("share", True, "measured"))
    lines = (
        (a_id(one.row.id, snapshot), title(one.row), percent(one.share.dfa_share))
        for one in features[:_SHOWN]
    )
    return table(columns, lines)
