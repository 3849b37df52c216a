"""What people say a head does: role claims with their evidence and votes, and the form for one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st
from markupsafe import Markup

from app.web.url import AtHead, Ids, link
from app.web.widgets import here
from app.web.widgets.frame import empty
from app.web.widgets.hits import name_of, rows_of
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.notes import show_judged, show_title
from app.web.widgets.queries import place_of
from app.web.widgets.roles import role_name
from app.web.widgets.text import percent
from app.web.widgets.write import attempt, key
from app.web.widgets.written import every, notes_on
from atlas.api import Atlas
from atlas.ids import FeatureId, parse
from atlas.note_types import ROLES, Judged, RoleClaim, RoleEvidence, SavedQuery
from atlas.types import Head


def show_claims(atlas: Atlas, head: Head, place: AtHead) -> str:
    """The claims about a head and the form for another one; gives the author's name."""
    claims = notes_on(atlas, str(head.id)).claims
    name = show_title("What people say it does")
    if not claims:
        show(empty("Nobody has said what this head does.", "Be the first: claim a role."))
    for judged in claims:
        show_judged(atlas, judged, _claim(atlas, judged), name)
    with st.expander("Claim a role", expanded=bool(place.evidence.names)):
        claim_form(atlas, head, place, name)
    return name


def _claim(atlas: Atlas, judged: Judged[RoleClaim]) -> Markup:
    claim = judged.note.content
    where = [part for part in (claim.dataset, claim.condition) if part]
    chips = [html('<span class="chip">{}</span>', part) for part in where]
    kind = {"confirmed": "chip good", "withdrawn": "chip warn"}.get(claim.status, "chip")
    return html(
        '<div class="row"><b data-tip="{}">{}</b><span class="{}">{}</span>'
        '<span class="chip">confidence {}</span>{}</div>{}<ul class="evidence small">{}</ul>',
        ROLES.get(claim.role, ""),
        role_name(claim.role),
        kind,
        claim.status,
        percent(claim.confidence),
        join(chips),
        html("<div>{}</div>", claim.words) if claim.words else "",
        join(evidence(atlas, one) for one in claim.evidence),
    )


def evidence(atlas: Atlas, one: RoleEvidence) -> Markup:
    """One link of evidence, leading to the snapshot in which it was seen."""
    seen = one.snapshot or atlas.snapshot.name
    what: Markup
    match one.kind:
        case "query":
            what = html("query {}", _query(atlas, one.ref, seen))
        case "metric":
            what = html("{} of {}", one.ref.replace("_", " "), _target(one.target, seen))
        case "example":
            what = html("{}, example {}", _target(one.target, seen), one.ref)
        case _:
            what = _target(one.target, seen)
    sentence = html(": {}", one.sentence) if one.sentence else ""
    return html('<li>{}{} <span class="soft tiny">in {}</span></li>', what, sentence, seen)


def _target(name: str, snapshot: str) -> Markup:
    return a_id(parse(name), snapshot)


def _query(atlas: Atlas, note: str, snapshot: str) -> Markup:
    saved = next((one.content for one in every(atlas, SavedQuery) if one.id == note), None)
    if saved is None:
        return html('<span class="soft">that was taken away</span>')
    return a(place_of(saved), saved.name, snapshot)


@st.fragment
def claim_form(atlas: Atlas, head: Head, place: AtHead, name: str) -> None:
    """A new claim; every thing chosen as evidence gets a field for what it shows."""
    form = f"{key('claim')}-{place.evidence}"
    role = st.selectbox("Role", list(ROLES), format_func=role_name, key=f"{form}-role")
    show(html('<p class="small soft">{}</p>', ROLES[role]))
    words = st.text_area("In your words", key=f"{form}-words", height=68)
    links = _evidence_fields(atlas, head, place.evidence, form)
    with st.container(horizontal=True):
        dataset = st.text_input("On which text (empty: any)", key=f"{form}-dataset")
        condition = st.text_input("Under which condition (empty: none)", key=f"{form}-condition")
    confidence = st.slider("Confidence", 0.0, 1.0, 0.5, 0.05, key=f"{form}-confidence")
    if st.button("Claim this role", type="primary", key=f"{form}-send"):
        claim = RoleClaim(
            str(head.id), role, words, dataset, condition, confidence, evidence=tuple(links)
        )
        attempt("claim", name, lambda: _write(atlas, claim, place, name))


def _write(atlas: Atlas, claim: RoleClaim, place: AtHead, name: str) -> None:
    """Write the claim and leave the evidence that the URL named behind: it is used."""
    atlas.notes.add(claim, name)
    if place.evidence.names:
        here.go(link(replace(place, evidence=Ids()), atlas.snapshot.name))


def _evidence_fields(atlas: Atlas, head: Head, given: Ids, form: str) -> list[RoleEvidence]:
    titles = {str(one.row.id): f"{one.row.id.index}: {name_of(one.row)}" for one in head.features}
    chosen = [one for one in given.names if isinstance(one, FeatureId)]
    rows = rows_of(atlas, chosen)
    titles |= {str(one): f"{one.index}: {name_of(rows[one])}" for one in chosen if one in rows}
    saved = {note.id: note.content.name for note in every(atlas, SavedQuery)}
    features = st.multiselect(
        "Evidence: features that show it",
        list(titles),
        default=[str(one) for one in chosen if one in rows],
        format_func=lambda name: titles.get(name, name),
        accept_new_options=True,
        placeholder="choose, or type an id",
        key=f"{form}-features",
    )
    metrics = _chosen("Evidence: metrics", {one.metric: one.metric for one in head.metrics}, form)
    queries = _chosen("Evidence: saved queries", saved, form)
    found = [_feature_evidence(atlas, feature, form) for feature in features]
    found += [_said(RoleEvidence("metric", str(head.id), metric), form) for metric in metrics]
    found += [_said(RoleEvidence("query", "", query), form) for query in queries]
    return [replace(one, snapshot=atlas.snapshot.name) for one in found]


def _chosen(words: str, options: Mapping[str, str], form: str) -> Sequence[str]:
    if not options:
        return []
    return st.multiselect(
        words, list(options), format_func=options.__getitem__, key=f"{form}-{words}"
    )


def _feature_evidence(atlas: Atlas, text: str, form: str) -> RoleEvidence:
    """The feature as a whole, or one of its examples; an unknown id is refused on writing."""
    known = atlas.jump(text).found
    if len(known) != 1 or not isinstance(known[0], FeatureId):
        return _said(RoleEvidence("target", text), form)
    name = known[0]
    examples = [f"{one.kind}/{one.rank}" for one in atlas.feature(name).examples]
    which_of, said = st.columns([1, 3])
    with which_of:
        which = st.selectbox(
            f"What of feature {name.index}",
            ["the whole feature", *examples],
            key=f"{form}-which-{name}",
        )
    with said:
        if which in examples:
            return _said(RoleEvidence("example", str(name), which), form)
        return _said(RoleEvidence("target", str(name)), form)


def _said(one: RoleEvidence, form: str) -> RoleEvidence:
    what = one.target.split("/")[-1] if one.kind in ("target", "example") else one.kind
    sentence = st.text_input(
        "What it shows", key=f"{form}-said-{one.kind}-{one.target}-{one.ref}", placeholder=what
    )
    return replace(one, sentence=sentence)
