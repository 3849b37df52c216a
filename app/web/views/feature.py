"""One feature: what it is called, which heads write it, where it fires and what it reads there."""

import streamlit as st
from markupsafe import Markup

from app.web.url import (
    AtCompare,
    AtFeature,
    AtHead,
    AtHeads,
    AtPrompt,
    AtRuns,
    AtSae,
    AtTest,
    Ids,
)
from app.web.widgets import here
from app.web.widgets.bars import activations, densities, head_bars, logits
from app.web.widgets.card import show_export
from app.web.widgets.examples import show_examples
from app.web.widgets.families import families
from app.web.widgets.frame import empty, told
from app.web.widgets.hits import name_of, support
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.judgements import judgements
from app.web.widgets.labels import machine_labels
from app.web.widgets.notes import show_notes
from app.web.widgets.relabel import show_relabel
from app.web.widgets.roles import role_name
from app.web.widgets.table import Column, facts, table
from app.web.widgets.text import count, density, fixed, percent, sig, when
from app.web.widgets.tried import show_trial, trial_form
from atlas.api import Atlas
from atlas.ids import FeatureId, HeadId
from atlas.types import Feature, FeatureRow, Neighbour, Query

_EXACT = 1e-3
"""A residual above this says that the parts of an activation do not add up to it."""
_FOLD = 10
_NEIGHBOURS = (
    Column("feature"),
    Column("title"),
    Column("cosine", True, "of what the two write; across layers, into the residual stream"),
    Column("fire together", True, "positions where both fire over positions where either does"),
    Column(""),
)


def render(atlas: Atlas) -> None:
    """The page of the feature that the URL names."""
    place, snapshot = here.place(AtFeature), atlas.snapshot.name
    feature = atlas.feature(place.id)
    show(
        _crumbs(feature, atlas.random_feature(), snapshot),
        _head(feature, judgements(atlas, feature), snapshot),
    )
    show_relabel(atlas, feature.id)
    if feature.is_dead:
        show(_dead(feature, snapshot))
    else:
        show_examples(feature)
    show(trial_form(place, snapshot))
    trial = st.container()  # filled last: loading a model takes a while
    show(
        _numbers(atlas, feature),
        families(atlas.families(feature.id), snapshot),
        _rest(feature, snapshot),
    )
    show_export(feature)
    show_notes(atlas, feature.id)
    if place.text.strip():
        with trial:
            told(lambda: show_trial(atlas, place, feature))


def _crumbs(feature: Feature, other: FeatureId, snapshot: str) -> Markup:
    of, index = feature.sae, feature.id.index
    ways = [a_id(other, snapshot, "random", "")]
    if index > 0:
        ways.insert(0, a(AtFeature(FeatureId(of.id, index - 1)), "← previous", snapshot))
    if index + 1 < of.d_sae:
        ways.append(a(AtFeature(FeatureId(of.id, index + 1)), "next →", snapshot))
    ways.append(a(AtPrompt(feature=feature.id), "own text", snapshot, title="try it on a text"))
    to_test = AtTest(target=str(feature.id))
    ways.append(a(to_test, "test", snapshot, title="test a hypothesis about its firings"))
    return html(
        '<div class="crumbs">{} / {} / <span>{}</span><span class="right">{}</span></div>',
        a(AtHeads(model=of.id.model), of.id.model, snapshot),
        a(AtSae(of.id), f"{of.id.layer}-{of.id.set}", snapshot),
        index,
        join([*ways, a(AtCompare(a=str(feature.id)), "compare", snapshot)]),
    )


def _head(feature: Feature, judged: Markup, snapshot: str) -> Markup:
    return html(
        '<div class="two"><div><p class="id soft">{}</p><h1>{}</h1>'
        '<div class="row chips">{}</div>{}{}</div><div><h3>Heads that write it'
        ' <span class="tiny">{}</span></h3>{}</div></div>',
        str(feature.id),
        name_of(feature.row),
        join(_chips(feature, snapshot)),
        machine_labels(feature),
        judged,
        _as_evidence(feature, snapshot),
        head_bars(feature, snapshot),
    )


def _as_evidence(feature: Feature, snapshot: str) -> Markup:
    """The way to a claim about the head that gives most, with this feature as evidence."""
    if feature.row.dfa_head is None:
        return Markup("")
    of = feature.id.sae
    head = HeadId(of.model, of.layer, feature.row.dfa_head)
    place = AtHead(head, evidence=Ids((feature.id,)))
    words = f"claim a role of L{head.layer}H{head.head} with this as evidence"
    return a(place, words, snapshot)


def _chips(feature: Feature, snapshot: str) -> list[Markup]:
    row = feature.row
    chips = [support(row)] if row.title_method else []
    if row.family:
        held = "" if feature.family_score is None else f" · {percent(feature.family_score)}"
        hint = "family by rule, with the share of examples that it explains"
        words = role_name(row.family) + held
        chips.append(a(Query(family=row.family), words, snapshot, "chip good", hint))
    if not feature.is_dead:
        words = html("fires on <b>{}</b> of tokens", density(row.density))
        chips.append(html('<span class="chip">{}</span>', words))
        chips.append(html('<span class="chip">max <b>{}</b></span>', sig(row.max_act)))
    if feature.residual is not None:
        chips.append(_residual(feature.residual))
    if row.disagree:
        chips.append(_disagreement(row, feature.disagreement))
    return chips


def _residual(residual: float) -> Markup:
    hint = (
        "largest |activation − bias − sum of attributions over heads and sources| of all examples"
    )
    exact = residual <= _EXACT
    kind, word = ("good", "✓ exact,") if exact else ("warn", "not exact,")
    words = f"{word} residual {residual:.1e}"
    return html('<span class="chip {}" data-tip="{}">{}</span>', kind, hint, words)


def _disagreement(row: FeatureRow, distance: float | None) -> Markup:
    of = row.id.sae
    weights, measured = (
        "–" if head is None else f"L{of.layer}H{head}" for head in (row.weight_head, row.dfa_head)
    )
    words = f"weights say {weights}, measurement {measured}"
    hint = f"the two head profiles are {fixed(distance, 2)} apart, on a scale from 0 to 1"
    return html('<span class="chip warn" data-tip="{}">{}</span>', hint, words)


def _dead(feature: Feature, snapshot: str) -> Markup:
    return empty(
        "This feature never fired",
        html(
            "on the {} mined tokens of run {}: it has no examples and no measured shares. Its"
            " weight shares and logits come from the weights alone. See {}.",
            count(feature.tokens),
            a(AtRuns(id=feature.run.id), feature.run.id, snapshot),
            a(Query(sae=str(feature.sae.id)), "the features of this SAE that fire", snapshot),
        ),
    )


def _numbers(atlas: Atlas, feature: Feature) -> Markup:
    values = [abs(one.value) for one in (*feature.top_logits, *feature.bottom_logits)]
    scale = max(values, default=1.0)
    return html(
        '<h2>What it says, and how strongly it fires</h2><div class="three">{}{}{}</div>',
        logits(feature.top_logits, "Raises the logits of", scale),
        logits(feature.bottom_logits, "Lowers the logits of", scale),
        Markup("") if feature.is_dead else _activation(atlas, feature),
    )


def _activation(atlas: Atlas, feature: Feature) -> Markup:
    row, interval = feature.row, feature.density_interval
    within = f"{density(interval.low)} to {density(interval.high)}"
    return html(
        "<div><h3>Activation over all firings</h3>{}"
        '<h3 class="again">Density among the features of its SAE</h3>{}{}</div>',
        activations(feature),
        densities(atlas.densities(feature.sae.id), row.density),
        facts(
            (
                (
                    "density",
                    html('{} <span class="soft">({})</span>', density(row.density), within),
                ),
                ("firings", f"{count(row.firings)} of {count(feature.tokens)} tokens"),
                ("maximum", fixed(row.max_act)),
                ("mean", f"{fixed(row.mean_act)}, standard deviation {fixed(feature.std_act)}"),
                ("bias", fixed(feature.bias)),
            )
        ),
    )


def _rest(feature: Feature, snapshot: str) -> Markup:
    return html(
        '<div class="two"><div><h2>Neighbours</h2>{}</div><div><h2>Provenance</h2>{}</div></div>',
        _neighbours(feature, snapshot),
        _provenance(feature, snapshot),
    )


def _neighbours(feature: Feature, snapshot: str) -> Markup:
    if not feature.neighbours:
        return empty(
            "No neighbours.",
            "No other feature writes in nearly the same direction or fires at the same places.",
        )
    lines = [_line(feature.id, one, snapshot) for one in feature.neighbours]
    if len(lines) <= _FOLD:
        return table(_NEIGHBOURS, lines)
    return html(
        "{}<details><summary>{} more</summary>{}</details>",
        table(_NEIGHBOURS, lines[:_FOLD]),
        len(lines) - _FOLD,
        table(_NEIGHBOURS, lines[_FOLD:]),
    )


def _line(name: FeatureId, one: Neighbour, snapshot: str) -> tuple[object, ...]:
    return (
        a_id(one.row.id, snapshot),
        name_of(one.row),
        fixed(one.cosine, 2),
        percent(one.jaccard),
        a(AtCompare(str(name), str(one.row.id)), "compare", snapshot),
    )


def _provenance(feature: Feature, snapshot: str) -> Markup:
    run, sae = feature.run, feature.sae

    return facts(
        (
            ("run", html("{}, {}", a(AtRuns(run.id), run.id, snapshot), when(run.created_at))),
            ("model", run.model),
            (
                "SAE",
                html(
                    "{}, {}, {} features on <code>{}</code>",
                    a_id(sae.id, snapshot),
                    sae.architecture,
                    count(sae.d_sae),
                    sae.hook,
                ),
            ),
            (
                "corpus",
                html('{} <code class="soft">{}</code>', run.corpus, run.corpus_sha256[:12]),
            ),
            (
                "tokens",
                f"{count(run.train_tokens)} trained on, {count(run.mine_tokens)} mined, "
                f"contexts of {run.context_length}",
            ),
            ("start of context", run.bos),
            ("positions", run.positions),
            ("software", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
            ("snapshot", snapshot),
        )
    )
