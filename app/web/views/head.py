"""One head: the features it writes, its metrics, and what people say it does."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtCompare, AtHead, AtHeads
from app.web.widgets import here
from app.web.widgets.bars import bar
from app.web.widgets.frame import empty
from app.web.widgets.hits import title
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.text import count, fixed, percent
from atlas.api import Atlas
from atlas.ids import HeadId
from atlas.types import Head, HeadFeature, HeadMetric, Model, Query


def render(atlas: Atlas) -> None:
    """The page of the head that the URL names."""
    place, snapshot = here.place(AtHead), atlas.snapshot.name
    head = atlas.head(place.id, by=place.by)
    show(_crumbs(head, atlas.model(head.id.model), snapshot), _top(head, snapshot))
    show(_features(place, head, snapshot))


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
        a(AtCompare(a=str(name)), "compare", snapshot),
    )


def _top(head: Head, snapshot: str) -> Markup:
    name, row = head.id, head.row
    measured = Query(model=name.model, layer=name.layer, head=name.head, sort="head_share")
    facts = (
        ("largest measured share in", count(row.features), "features"),
        ("largest weight share in", count(row.weight_features), "features"),
        ("keys and values from", f"KV head {row.kv_head}", ""),
    )
    return html(
        '<div class="two"><div><p class="id soft">{}</p><h1>Layer {}, head {}</h1>'
        '<div class="figures">{}</div><p class="small">{}</p></div><div><h3>Metrics</h3>{}</div></div>',
        str(name),
        name.layer,
        name.head,
        join(html("<span>{} <b>{}</b> {}</span>", *fact) for fact in facts),
        a(measured, "Search the features to which it gives at least a quarter", snapshot),
        _metrics(head.metrics),
    )


def _metrics(metrics: Sequence[HeadMetric]) -> Markup:
    if not metrics:
        return empty(
            "No metrics of this head.",
            html(
                "Run <code>atlas study head-metrics</code> on the model, then publish its bundle."
            ),
        )
    lines = join(
        html(
            '<tr><td>{}</td><td class="soft">{}</td><td class="n">{}</td><td class="n soft">{}</td>'
            '<td class="n soft">{}</td></tr>',
            one.metric.replace("_", " "),
            one.condition.replace("_", " "),
            fixed(one.value),
            f"{fixed(one.interval.low)} to {fixed(one.interval.high)}" if one.interval else "",
            count(one.n),
        )
        for one in metrics
    )
    return html(
        '<table><tr><th>metric</th><th>condition</th><th class="n">value</th>'
        '<th class="n">95 % interval</th><th class="n">n</th></tr>{}</table>',
        lines,
    )


def _features(place: AtHead, head: Head, snapshot: str) -> Markup:
    if not head.features:
        return html(
            "<h2>Features</h2>{}",
            empty("No SAE on this layer.", "Ingest the layer with `atlas ingest` and publish."),
        )
    ways = join(
        a(AtHead(head.id, way), words, snapshot, "chip on" if way == place.by else "chip")
        for way, words in (("measured", "by measured share"), ("weights", "by weight share"))
    )
    return html(
        '<h2>Features it writes <span class="row" style="display:inline-flex">{}</span></h2>'
        '<div class="scroll"><table><tr><th>feature</th><th>title</th><th style="width:18%">{}</th>'
        '<th class="n">measured</th><th class="n">weights</th><th class="n">wins</th>'
        '<th class="n">density</th><th class="n">firings</th></tr>{}</table></div>',
        ways,
        Markup('<span class="swatch src"></span>measured, <span class="swatch w"></span>weights'),
        join(_feature(one, snapshot) for one in head.features),
    )


def _feature(one: HeadFeature, snapshot: str) -> Markup:
    row, share = one.row, one.share
    flag = Markup(' <span class="chip warn">disagree</span>') if row.disagree else ""
    return html(
        '<tr><td>{}</td><td>{}{}</td><td>{}</td><td class="n">{}</td><td class="n">{}</td>'
        '<td class="n">{}</td><td class="n">{}</td><td class="n">{}</td></tr>',
        a_id(row.id, snapshot),
        title(row),
        flag,
        bar(share.dfa_share, share.weight_share),
        percent(share.dfa_share),
        percent(share.weight_share),
        percent(share.won),
        percent(row.density),
        count(row.firings),
    )
