"""One feature: what it is called, which heads write it, where it fires and what it reads there."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtCompare, AtFeature, AtHeads, AtRuns, AtSae
from app.web.widgets import here
from app.web.widgets.bars import activations, head_bars, logits
from app.web.widgets.examples import show_examples
from app.web.widgets.frame import empty
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.text import count, fixed, percent, sig, when
from atlas.api import Atlas
from atlas.ids import FeatureId
from atlas.types import Feature, Interval, Label, LabelScore, Neighbour, Query

_SIDES = {
    "title": "title",
    "when": "when it fires",
    "fetches": "what is fetched",
    "says": "what it says",
}
_EXACT = 1e-3
"""Above this the parts of an activation do not add up to it."""


def render(atlas: Atlas) -> None:
    """The page of the feature that the URL names."""
    feature = atlas.feature(here.place(AtFeature).id)
    snapshot = atlas.snapshot.name
    show(_crumbs(atlas, feature, snapshot), _head(feature, snapshot))
    if feature.is_dead:
        show(_dead(feature, snapshot))
    else:
        show_examples(feature)
    show(_numbers(feature), _rest(feature, snapshot))


def _crumbs(atlas: Atlas, feature: Feature, snapshot: str) -> Markup:
    of, index = feature.sae, feature.id.index
    before = a(AtFeature(FeatureId(of.id, index - 1)), "← previous", snapshot) if index else ""
    after = (
        a(AtFeature(FeatureId(of.id, index + 1)), "next →", snapshot)
        if index + 1 < of.d_sae
        else ""
    )
    return html(
        '<div class="crumbs">{} / {} / <span class="id">{}</span>'
        '<span class="right">{}{}{}{}</span></div>',
        a(AtHeads(model=of.id.model), of.id.model, snapshot),
        a(AtSae(of.id), f"{of.id.layer}-{of.id.set}", snapshot),
        index,
        before,
        a_id(atlas.random_feature(), snapshot, "random", ""),
        after,
        a(AtCompare(a=str(feature.id)), "compare", snapshot),
    )


def _head(feature: Feature, snapshot: str) -> Markup:
    row = feature.row
    name = row.title or (
        "a feature that never fired" if feature.is_dead else "a feature without a title"
    )
    return html(
        '<div class="two"><div><p class="id soft">{}</p><h1>{}</h1>'
        '<div class="row chips">{}</div>{}</div><div><h3>Heads</h3>{}</div></div>',
        str(feature.id),
        name,
        join(_chips(feature, snapshot)),
        _labels(feature),
        head_bars(feature, snapshot),
    )


def _chips(feature: Feature, snapshot: str) -> list[Markup]:
    row, chips = feature.row, []
    if row.family:
        held = f" · {percent(feature.family_score)}" if feature.family_score is not None else ""
        chips.append(
            a(
                Query(family=row.family),
                row.family + held,
                snapshot,
                "chip good",
                "share of examples that the family's rule explains",
            )
        )
    if row.disagree:
        words = f"weights say L{feature.id.sae.layer}H{row.weight_head}, measurement L{feature.id.sae.layer}H{row.dfa_head}: {fixed(feature.disagreement, 2)} apart"
        chips.append(html('<span class="chip warn">{}</span>', words))
    if not feature.is_dead:
        chips.append(
            html('<span class="chip">fires on <b>{}</b> of tokens</span>', percent(row.density))
        )
        chips.append(html('<span class="chip">max <b>{}</b></span>', sig(row.max_act)))
    if feature.residual is not None:
        exact = feature.residual <= _EXACT
        chips.append(
            html(
                '<span class="chip {}" title="largest |activation − bias − sum of attributions| over'
                ' all examples">{} residual {}</span>',
                "good" if exact else "warn",
                "✓ exact:" if exact else "not exact:",
                f"{feature.residual:.1e}",
            )
        )
    return chips


def _labels(feature: Feature) -> Markup:
    if not feature.labels:
        return empty("No label yet.", "Write your own below, or run `atlas label`.")
    return html(
        '<table class="labels">{}</table>',
        join(_label(one, feature.scores) for one in feature.labels),
    )


def _label(label: Label, scores: Sequence[LabelScore]) -> Markup:
    by = " · ".join(part for part in (label.method, label.model, label.prompt) if part)
    own = [
        html(
            '<span class="chip" title="{}">{} {}</span>',
            f"{one.n} judgements{_interval(one.interval)}",
            one.scorer,
            percent(one.score),
        )
        for one in scores
        if label.side == "title"
        and (one.method, one.model, one.prompt) == (label.method, label.model, label.prompt)
    ]
    return html(
        '<tr><td class="soft">{}</td><td>{}</td><td class="soft">{}{}</td><td class="soft small">{}</td></tr>',
        _SIDES[label.side],
        label.text,
        _support(label),
        join(own),
        by,
    )


def _support(label: Label) -> Markup:
    if label.support is None or label.n is None:
        return Markup("")
    return html(
        '<span title="held-back examples that it explains{}">{} of {}</span>',
        _interval(label.interval),
        round(label.support * label.n),
        label.n,
    )


def _interval(interval: Interval | None) -> str:
    return (
        ""
        if interval is None
        else f", 95 % interval {percent(interval.low)} to {percent(interval.high)}"
    )


def _dead(feature: Feature, snapshot: str) -> Markup:
    return empty(
        "This feature never fired.",
        html(
            "It was silent on all {} mined tokens of run {}, so it has neither examples nor measured"
            " shares; weight shares and logits come from its weights alone. See {}.",
            count(feature.tokens),
            a(AtRuns(id=feature.run.id), feature.run.id, snapshot),
            a(Query(sae=str(feature.sae.id)), "the features of this SAE that fire", snapshot),
        ),
    )


def _numbers(feature: Feature) -> Markup:
    scale = max(
        (abs(one.value) for one in (*feature.top_logits, *feature.bottom_logits)), default=1.0
    )
    row = feature.row
    low, high = feature.density_interval.low, feature.density_interval.high
    density = html(
        '<h3>Activation</h3>{}<dl class="facts"><dt>density</dt><dd>{} <span class="soft">({} to {})</span></dd>'
        "<dt>firings</dt><dd>{} of {} tokens</dd><dt>maximum</dt><dd>{}</dd>"
        "<dt>mean ± sd</dt><dd>{} ± {}</dd><dt>bias</dt><dd>{}</dd></dl>",
        activations(feature),
        percent(row.density),
        percent(low),
        percent(high),
        count(row.firings),
        count(feature.tokens),
        fixed(row.max_act),
        fixed(row.mean_act),
        fixed(feature.std_act),
        fixed(feature.bias),
    )
    return html(
        '<div class="three">{}{}<div>{}</div></div>',
        logits(feature.top_logits, "Raises the logits of", scale),
        logits(feature.bottom_logits, "Lowers the logits of", scale),
        density if not feature.is_dead else "",
    )


def _rest(feature: Feature, snapshot: str) -> Markup:
    return html(
        '<div class="two"><div><h2>Neighbours</h2>{}</div><div><h2>Where this comes from</h2>{}</div></div>',
        _neighbours(feature, snapshot),
        _provenance(feature, snapshot),
    )


def _neighbours(feature: Feature, snapshot: str) -> Markup:
    if not feature.neighbours:
        return empty(
            "No neighbours stored.", "No other feature writes in nearly the same direction."
        )
    lines = join(_neighbour(feature.id, one, snapshot) for one in feature.neighbours)
    return html(
        '<table><tr><th>feature</th><th></th><th class="n" title="cosine of decoder directions">cosine</th>'
        '<th class="n" title="positions where both fire over positions where either does">fire together</th>'
        "<th></th></tr>{}</table>",
        lines,
    )


def _neighbour(name: FeatureId, one: Neighbour, snapshot: str) -> Markup:
    return html(
        '<tr><td>{}</td><td>{}</td><td class="n">{}</td><td class="n">{}</td><td class="n">{}</td></tr>',
        a_id(one.row.id, snapshot),
        one.row.title or "",
        fixed(one.cosine, 2),
        percent(one.jaccard),
        a(AtCompare(str(name), str(one.row.id)), "compare", snapshot),
    )


def _provenance(feature: Feature, snapshot: str) -> Markup:
    run, sae = feature.run, feature.sae
    return html(
        '<dl class="facts"><dt>run</dt><dd>{}, {}</dd><dt>model</dt><dd>{}</dd>'
        '<dt>SAE</dt><dd>{}, {} of width {} on {}</dd><dt>corpus</dt><dd>{} <span class="soft mono">{}</span></dd>'
        "<dt>tokens</dt><dd>{} trained on, {} mined, contexts of {}</dd>"
        "<dt>start of context</dt><dd>{}</dd><dt>positions</dt><dd>{}</dd>"
        "<dt>residual</dt><dd>{}</dd><dt>snapshot</dt><dd>{}</dd></dl>",
        a(AtRuns(id=run.id), run.id, snapshot),
        when(run.created_at),
        run.model,
        a(AtSae(sae.id), str(sae.id), snapshot),
        sae.architecture,
        sae.d_sae,
        html("<code>{}</code>", sae.hook),
        run.corpus,
        run.corpus_sha256[:12],
        count(run.train_tokens),
        count(run.mine_tokens),
        run.context_length,
        run.bos,
        run.positions,
        "none measured"
        if feature.residual is None
        else f"{feature.residual:.2e}, largest over {len(feature.examples)} examples",
        snapshot,
    )
