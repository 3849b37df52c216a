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
from atlas.head_types import HeadRoles, MachineRole, Polysemanticity
from atlas.ids import FeatureId, SaeId
from atlas.types import FeatureRow

_FOLD = 5
_BY_STUDY = "by the study of roles, from the head's top features"


def role_chips(said: HeadRoles) -> Markup:
    """The roles that the study names, most of the head's mass first, each once."""
    named = sorted((one for one in said.roles if one.role != "other"), key=lambda one: -one.share)
    return join(
        html('<span class="chip" data-tip="{}">{}</span>', _BY_STUDY, role_name(role))
        for role in dict.fromkeys(one.role for one in named)
    )


def roles(atlas: Atlas, said: HeadRoles) -> Markup:
    """Its features in clusters, each a role that a study claims, and how many things it does.

    Shown are the fewest top features by measured share; the study's page has the other ways.
    """
    measured = [one for one in said.polysemanticity if one.by == "measured"]
    if not measured:
        return Markup("")
    least = min(one.k for one in measured)
    claimed = [one for one in said.roles if (one.by, one.k) == ("measured", least)]
    counted = [one for one in measured if one.k == least]
    carry = {one.sae: _carrying(one) for one in said.polysemanticity if one.by == "mass"}
    snapshot = atlas.snapshot.name
    titles = rows_of(atlas, (name for one in claimed for name in one.features))
    columns = (
        Column("role", width="13em"),
        Column("share", True, "their part of the sum of the top features' shares"),
        Column("cohesion", True, "mean sameness of their pairs, 0 to 1"),
        Column("features"),
        Column("evidence", width="30%"),
    )
    lines = ((*_role(one), _members(one, titles, snapshot), _evidence(one)) for one in claimed)
    return html(
        '<h2>Roles by its features <span class="small">{}</span></h2>{}{}',
        a(AtStudies(said.run), "the study", snapshot) if said.run else "",
        join(html('<p class="small">{}</p>', _many(one, carry)) for one in counted),
        table(columns, lines) if claimed else "",
    )


def _role(one: MachineRole) -> tuple[object, ...]:
    words = html('<div class="tok soft">{}</div>', join(map(visible, one.words[:5]), ", "))
    return (
        html("<b>{}</b>{}", role_name(one.role), words if one.words else ""),
        percent(one.share),
        fixed(one.cohesion, 2),
    )


def _members(one: MachineRole, titles: Mapping[FeatureId, FeatureRow], snapshot: str) -> Markup:
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


def _evidence(one: MachineRole) -> Markup:
    return html(
        '<ul class="small soft">{}</ul>',
        join(html("<li>{}</li>", link.sentence) for link in one.evidence[:4]),
    )


def _carrying(one: Polysemanticity) -> int | None:
    """Clusters that carry 80 % of the head's mass; None where they do not reach it."""
    return next((need.clusters for need in one.needed if need.mass == 0.8), None)


def _many(one: Polysemanticity, carry: Mapping[SaeId, int | None]) -> Markup:
    """How many things the head does, in a sentence."""
    against = ""
    if one.cohesion is not None and one.chance is not None:
        within = (
            f" ({fixed(one.interval.low, 2)} to {fixed(one.interval.high, 2)})"
            if one.interval
            else ""
        )
        against = (
            f" Cohesion {fixed(one.cohesion, 2)}{within} against {fixed(one.chance, 2)} by"
            f" chance, p {sig(one.p)}."
        )
    most = carry.get(one.sae)
    mass = f" {most} clusters carry 80 % of its mass." if most else ""
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
