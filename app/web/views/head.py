"""One head: the features it writes, its metrics, and what people say it does."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from app.web.url import AtCompare, AtHead, AtHeads, AtPrompt, AtTest
from app.web.widgets import here
from app.web.widgets.bars import bar, spread
from app.web.widgets.claims import show_claims
from app.web.widgets.frame import NO_METRICS, empty
from app.web.widgets.head_roles import role_chips, roles
from app.web.widgets.head_studies import effects, looks, partners
from app.web.widgets.hits import pick, title
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.notes import show_notes
from app.web.widgets.roles import role_name
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, density, fixed, percent
from app.web.widgets.written import notes_on
from atlas.api import Atlas
from atlas.ids import HeadId
from atlas.note_types import Judged, RoleClaim
from atlas.types import Head, HeadBy, HeadFeature, HeadMetric, Model, Query

_SHOWN = 40
_WAYS: dict[HeadBy, str] = {"measured": "by measured share", "weights": "by weight share"}
_KEY = Markup(
    '<span class="swatch src"></span>measured share: mean |DFA| of this head over that of all heads'
    ' &ensp; <span class="swatch w"></span>weight share: norm of its decoder slice'
)
_METRICS = (
    Column("metric"),
    Column("condition"),
    Column("value", True),
    Column("among all heads", width="30%"),
    Column("rank", True, "from the highest value"),
)
_FEATURES = (
    Column(""),
    Column("feature", width="16%"),
    Column("title"),
    Column("", width="18%"),
    Column("measured", True),
    Column("weights", True),
    Column("wins", True, "share of firings in which this head gives most"),
    Column("density", True, "share of tokens the feature fires on"),
    Column("firings", True),
)


def render(atlas: Atlas) -> None:
    """The page of the head that the URL names."""
    place, snapshot = here.place(AtHead), atlas.snapshot.name
    head = atlas.head(place.id, _SHOWN, place.by)
    claims = notes_on(atlas, str(head.id)).claims
    studied, every_head = atlas.head_studies(head.id), atlas.head_metrics(head.id.model)
    measured = html(
        "<h2>Metrics</h2>{}{}", _metrics(head, every_head), looks(head.id, studied, snapshot)
    )
    is_claiming = bool(place.evidence.names)  # then the form comes first
    machine = atlas.machine_roles(head.id)
    chips = join([*map(_role, claims), role_chips(machine)])
    show(_crumbs(head, atlas.model(head.id.model), snapshot), _top(head, chips, snapshot))
    show("" if is_claiming else measured)
    name = show_claims(atlas, head, place)
    show(
        measured if is_claiming else "",
        roles(atlas, machine),
        effects(studied, snapshot),
        _features(place, head, snapshot),
        partners(atlas.composition(head.id), snapshot),
    )
    show_notes(atlas, head.id, name)


def _crumbs(head: Head, model: Model, snapshot: str) -> Markup:
    name = head.id
    before = HeadId(name.model, name.layer, name.head - 1) if name.head else None
    after = HeadId(name.model, name.layer, name.head + 1) if name.head + 1 < model.n_heads else None
    return html(
        '<div class="crumbs">{} / layer {} / <span class="id">H{}</span>'
        '<span class="right">{}{}{}</span></div>',
        a(AtHeads(model=name.model), name.model, snapshot),
        name.layer,
        name.head,
        a_id(before, snapshot, "← previous", "") if before else "",
        a_id(after, snapshot, "next →", "") if after else "",
        join(
            [
                a(AtPrompt(head=name), "own text", snapshot, title="where it looks on a text"),
                a(
                    AtTest(target=str(name)),
                    "test",
                    snapshot,
                    title="test a hypothesis about the features it leads",
                ),
                a(AtCompare(a=str(name)), "compare", snapshot),
            ]
        ),
    )


def _top(head: Head, chips: Markup, snapshot: str) -> Markup:
    name, row = head.id, head.row
    measured = Query(model=name.model, layer=name.layer, head=name.head, sort="head_share")
    facts = (
        ("largest measured share in", count(row.features), "features"),
        ("largest weight share in", count(row.weight_features), "features"),
        ("keys and values from", f"KV head {row.kv_head}", ""),
    )
    return html(
        '<p class="id soft">{}</p><h1>Layer {}, head {}</h1><div class="row chips">{}</div>'
        '<div class="figures">{}</div><p class="small">{}</p>',
        str(name),
        name.layer,
        name.head,
        chips,
        join(html("<span>{} <b>{}</b> {}</span>", *fact) for fact in facts),
        a(measured, "Search the features to which it gives at least a quarter", snapshot)
        if head.features
        else "",
    )


def _role(judged: Judged[RoleClaim]) -> Markup:
    claim = judged.note.content
    kind = {"confirmed": "chip good", "withdrawn": "chip warn"}.get(claim.status, "chip")
    words = f"claimed by {judged.note.author}: {judged.agree} agree, {judged.dispute} dispute"
    return html(
        '<span class="{}" data-tip="{}"><b>{}</b></span>', kind, words, role_name(claim.role)
    )


def _metrics(head: Head, every: Mapping[HeadId, Sequence[HeadMetric]]) -> Markup:
    if not head.metrics:
        return empty("No metrics of this head.", NO_METRICS)
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for metrics in every.values():
        for one in metrics:
            values[one.metric, one.condition].append(one.value)
    lines = [_metric(one, values[one.metric, one.condition]) for one in head.metrics]
    half = (len(lines) + 1) // 2
    return html(
        '<div class="two even"><div>{}</div><div>{}</div></div>',
        table(_METRICS, lines[:half]),
        table(_METRICS, lines[half:]),
    )


def _metric(one: HeadMetric, all_heads: Sequence[float]) -> Sequence[object]:
    within = f"{fixed(one.interval.low)} to {fixed(one.interval.high)}" if one.interval else ""
    name, condition = (words.replace("_", " ") for words in (one.metric, one.condition))
    tip = f"95 % interval {within}\nn {one.n}" if within else f"n {one.n}"
    value = html('<span data-tip="{}">{}</span>', tip, fixed(one.value))
    rank = 1 + sum(other > one.value for other in all_heads)
    return name, condition, value, spread(all_heads, one.value), f"{rank} of {len(all_heads)}"


def _features(place: AtHead, head: Head, snapshot: str) -> Markup:
    if not head.features:
        return html(
            "<h2>Features</h2>{}",
            empty("No SAE on this layer.", "Ingest the layer with `atlas ingest` and publish."),
        )
    ways = join(
        a(replace(place, by=way), words, snapshot, "chip on" if way == place.by else "chip")
        for way, words in _WAYS.items()
    )
    return html(
        '<div class="row far"><h2>Features it writes</h2><span class="row">{}</span></div>'
        '<p class="tiny soft">{}</p>{}{}',
        ways,
        _KEY,
        table(_FEATURES, (_feature(one, snapshot) for one in head.features)),
        _more(place, head, snapshot),
    )


def _more(place: AtHead, head: Head, snapshot: str) -> Markup:
    if len(head.features) < _SHOWN:
        return Markup("")
    name = head.id
    every = Query(
        model=name.model, layer=name.layer, head=name.head, head_by=place.by, head_min=0.0,
        sort="head_share",
    )  # fmt: skip
    words = "all features of the layer by its share →"
    return html('<div class="row pages">{}</div>', a(every, words, snapshot, "button"))


def _feature(one: HeadFeature, snapshot: str) -> Sequence[object]:
    row, share = one.row, one.share
    flag = Markup(' <span class="chip warn">disagree</span>') if row.disagree else ""
    return (
        pick(row),
        a_id(row.id, snapshot),
        html("{}{}", title(row), flag),
        bar(share.dfa_share, share.weight_share),
        percent(share.dfa_share),
        percent(share.weight_share),
        percent(share.won),
        density(row.density),
        count(row.firings),
    )
