"""Reading what features and weights say of one head: roles, polysemanticity, composition."""

from typing import Any

from atlas.errors import NotFound
from atlas.head_types import (
    Edge,
    HeadComposition,
    HeadRoles,
    MachineRole,
    MassNeed,
    Polysemanticity,
    RoleLink,
)
from atlas.ids import FeatureId, HeadId, parse_head
from atlas.store import rows
from atlas.store.evidence import Evidence

EDGES = 5
"""Heads per kind of composition."""
MASSES = (50, 80, 95)


def head_roles(evidence: Evidence, name: str | HeadId) -> HeadRoles:
    """Machine roles and polysemanticity of one head.

    Raises:
        NotFound: no such model, layer or head.
    """
    head = _head(evidence, name)
    run = _newest(evidence, "head_polysemanticity", head)
    return HeadRoles(head, run, _roles(evidence, head), _polysemanticity(evidence, head))


def composition(evidence: Evidence, name: str | HeadId, limit: int = EDGES) -> HeadComposition:
    """The `limit` heads of each kind that compose most with a head, before it and after it.

    Raises:
        NotFound: no such model, layer or head.
    """
    head = _head(evidence, name)
    model = evidence.model(head.model)
    run = _newest(evidence, "head_composition", head)
    found = evidence.query(
        """
        SELECT *, later_layer = $layer AND later_head = $head AS ends FROM head_composition
        WHERE run = $run AND ((layer = $layer AND head = $head)
          OR (later_layer = $layer AND later_head = $head))
        QUALIFY row_number() OVER (
          PARTITION BY ends, kind ORDER BY score DESC, layer, head, later_layer, later_head)
          <= $limit
        ORDER BY ends, kind, score DESC
        """,
        run=run,
        layer=head.layer,
        head=head.head,
        limit=limit,
    )
    said = evidence.run(run).config.get("said", []) if run else []
    edges = {ends: tuple(_edge(head.model, row) for row in found if row["ends"] == ends)
             for ends in (True, False)}  # fmt: skip
    return HeadComposition(head, model.d_model**-0.5, edges[True], edges[False], tuple(said))


def _edge(model: str, row: dict[str, Any]) -> Edge:
    return Edge(
        HeadId(model, row["layer"], row["head"]),
        HeadId(model, row["later_layer"], row["later_head"]),
        row["kind"],
        row["score"],
    )


def _head(evidence: Evidence, name: str | HeadId) -> HeadId:
    head = parse_head(name) if isinstance(name, str) else name
    model = evidence.model(head.model)
    if not evidence.has(head):
        raise NotFound(
            f"no head {head}",
            f"{model.id} has layers 0 to {model.n_layers - 1} and heads 0 to {model.n_heads - 1}",
        )
    return head


def _newest(evidence: Evidence, table: str, head: HeadId) -> str | None:
    """The newest run of the head's model that left rows in a table."""
    fit = (run for run in evidence.runs if run.model == head.model and run.counts.get(table))
    return next((run.id for run in fit), None)


def _roles(evidence: Evidence, head: HeadId) -> tuple[MachineRole, ...]:
    found = evidence.query(
        """
        SELECT r.* FROM head_role r JOIN sae s USING (sae)
        WHERE s.model = $model AND s.layer = $layer AND r.head = $head
        ORDER BY r.sae, r."by", r.k, r.rank
        """,
        model=head.model,
        layer=head.layer,
        head=head.head,
    )
    links = _links(evidence, head)
    made = []
    for row in found:
        sae = evidence.numbered(row["sae"]).id
        key = (row["sae"], row["by"], row["k"], row["rank"])
        made.append(
            MachineRole(
                sae,
                row["by"],
                row["k"],
                row["role"],
                row["family"],
                tuple(row["words"]),
                tuple(FeatureId(sae, feature) for feature in row["features"]),
                row["share"],
                row["cohesion"],
                tuple(links.get(key, ())),
            )
        )
    return tuple(made)


def _links(evidence: Evidence, head: HeadId) -> dict[tuple[Any, ...], list[RoleLink]]:
    found = evidence.query(
        """
        SELECT e.* FROM head_role_evidence e JOIN sae s USING (sae)
        WHERE s.model = $model AND s.layer = $layer AND e.head = $head
        ORDER BY e.kind DESC, e.target
        """,
        model=head.model,
        layer=head.layer,
        head=head.head,
    )
    links: dict[tuple[Any, ...], list[RoleLink]] = {}
    for row in found:
        link = RoleLink(row["kind"], row["target"], row["ref"], row["sentence"])
        links.setdefault((row["sae"], row["by"], row["k"], row["rank"]), []).append(link)
    return links


def _polysemanticity(evidence: Evidence, head: HeadId) -> tuple[Polysemanticity, ...]:
    found = evidence.query(
        """
        SELECT p.* FROM head_polysemanticity p JOIN sae s USING (sae)
        WHERE s.model = $model AND s.layer = $layer AND p.head = $head
        ORDER BY p.sae, p."by", p.k
        """,
        model=head.model,
        layer=head.layer,
        head=head.head,
    )
    return tuple(
        Polysemanticity(
            evidence.numbered(row["sae"]).id,
            row["by"],
            row["k"],
            row["clusters"],
            row["largest"],
            row["one_thing"],
            row["cohesion"],
            rows.interval(row["cohesion_low"], row["cohesion_high"]),
            row["null_mean"],
            row["p"],
            _needed(row),
            row["covered"],
        )
        for row in found
    )


def _needed(row: dict[str, Any]) -> tuple[MassNeed, ...]:
    if row["by"] != "mass":
        return ()
    return tuple(
        MassNeed(mass / 100, row[f"need_{mass}"], row[f"need_{mass}_low"], row[f"need_{mass}_high"])
        for mass in MASSES
    )
