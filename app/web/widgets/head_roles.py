"""What a study says a head does by its features: clusters as roles, and whether it is one thing."""

from collections.abc import Mapping

from markupsafe import Markup

from app.web.url import AtStudies
from app.web.widgets.hits import name_of, rows_of
from app.web.widgets.html import a, a_id, html, join
from app.web.widgets.roles import role_name
from app.web.widgets.table import Column, table
from app.web.widgets.text import fixed, percent, sig, visible
from atlas.api import Atlas
from atlas.ids import FeatureId
from atlas.study_types import HeadStudies, Polysemanticity, StudiedRole
from atlas.types import FeatureRow

_FOLD = 5


def roles(atlas: Atlas, studied: HeadStudies) -> Markup:
    """Its features in clusters, each a role that a study claims, and how many things it does."""
    if not studied.roles and not studied.polysemanticity:
        return Markup("")
    snapshot = atlas.snapshot.name
    titles = rows_of(atlas, (name for one in studied.roles for name in one.features))
    columns = (
        Column("role", width="13em"),
        Column("share", True, "their part of the sum of the top features' shares"),
        Column("cohesion", True, "mean sameness of their pairs, 0 to 1"),
        Column("features"),
        Column("evidence", width="30%"),
    )
    lines = (
        (*_role(one), _members(one, titles, snapshot), _evidence(one)) for one in studied.roles
    )
    run = studied.roles[0].run if studied.roles else ""
    return html(
        '<h2>Roles by its features <span class="small">{}</span></h2>{}{}',
        a(AtStudies(run), "the study", snapshot) if run else "",
        join(html('<p class="small">{}</p>', _many(one)) for one in studied.polysemanticity),
        table(columns, lines) if studied.roles else "",
    )


def _role(one: StudiedRole) -> tuple[object, ...]:
    words = html('<div class="tok soft">{}</div>', join(map(visible, one.words[:5]), ", "))
    return (
        html("<b>{}</b>{}", role_name(one.role), words if one.words else ""),
        percent(one.share),
        fixed(one.cohesion, 2),
    )


def _members(one: StudiedRole, titles: Mapping[FeatureId, FeatureRow], snapshot: str) -> Markup:
    lines = [
        html(
            "<div>{} {}</div>",
            a_id(name, snapshot, str(name.index)),
            name_of(titles[name]) if name in titles else "",
        )
        for name in one.features
    ]
    if len(lines) <= _FOLD:
        return join(lines)
    rest = join(lines[_FOLD:])
    return html(
        "{}<details><summary>{} more</summary>{}</details>",
        join(lines[:_FOLD]),
        len(lines) - _FOLD,
        rest,
    )


def _evidence(one: StudiedRole) -> Markup:
    return html(
        '<ul class="small soft">{}</ul>',
        join(html("<li>{}</li>", said) for said in one.evidence[:4]),
    )


def _many(one: Polysemanticity) -> Markup:
    """How many things the head does, in a sentence."""
    against = ""
    if one.cohesion is not None and one.null_mean is not None:
        within = (
            f" ({fixed(one.within.low, 2)} to {fixed(one.within.high, 2)})" if one.within else ""
        )
        against = (
            f" Cohesion {fixed(one.cohesion, 2)}{within} against {fixed(one.null_mean, 2)} by"
            f" chance, p {sig(one.p)}."
        )
    mass = f" {one.need_80} clusters carry 80 % of its mass." if one.need_80 else ""
    kind = "one thing" if one.one_thing else "several things"
    return html(
        "By its top {} features in {} it does <b>{}</b>: {} clusters, the largest with {}.{}{}",
        one.k,
        str(one.sae),
        kind,
        one.clusters,
        percent(one.largest),
        against,
        mass,
    )
