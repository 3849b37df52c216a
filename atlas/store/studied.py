"""What studies left about one feature or one head; where several ran, the newest run's."""

from typing import Any

from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId, SaeId, parse_head
from atlas.store import rows
from atlas.store.evidence import Evidence
from atlas.study_types import (
    DistanceShare,
    FamilyClaim,
    HeadLook,
    HeadStudies,
    HeadToken,
    Partner,
    Polysemanticity,
    StudiedEffect,
    StudiedRole,
)

_LOOKS, _PARTNERS, _TOKENS = 3, 12, 10
_FAMILIES = """
SELECT f.* FROM feature_family f WHERE sae = $sae AND feature = $feature
ORDER BY best DESC, score DESC, family
"""
_DISTANCES = """
SELECT distance_from, distance_to, share, low, high FROM head_distance
WHERE model = $model AND layer = $layer AND head = $head
  AND run = (SELECT d.run FROM head_distance d JOIN run r ON r.id = d.run WHERE d.model = $model
             ORDER BY r.created_at DESC, r.id LIMIT 1)
ORDER BY distance_from NULLS FIRST
"""
_TOKENS_OF = """
SELECT t.side, v.text, t.share, t.base, t.n
FROM head_token t JOIN vocab v ON v.model = t.model AND v.token = t.token
WHERE t.model = $model AND layer = $layer AND head = $head AND rank < $most
  AND run = (SELECT d.run FROM head_token d JOIN run r ON r.id = d.run WHERE d.model = $model
             ORDER BY r.created_at DESC, r.id LIMIT 1)
ORDER BY side DESC, rank
"""
_LOOKS_OF = """
SELECT band, ctx, dst, src, weight FROM head_example JOIN context USING (ctx)
WHERE model = $model AND layer = $layer AND head = $head AND rank < $most
  AND head_example.run = (
    SELECT d.run FROM head_example d JOIN run r ON r.id = d.run WHERE d.model = $model
             ORDER BY r.created_at DESC, r.id LIMIT 1)
ORDER BY band DESC, rank
"""
_PARTNERS_OF = """
SELECT layer, head, later_layer, later_head, kind, score FROM head_composition
WHERE model = $model AND ((layer = $layer AND head = $head)
                       OR (later_layer = $layer AND later_head = $head))
  AND run = (SELECT d.run FROM head_composition d JOIN run r ON r.id = d.run WHERE d.model = $model
             ORDER BY r.created_at DESC, r.id LIMIT 1)
ORDER BY score DESC, later_layer, later_head, layer, head, kind LIMIT $most
"""
_PREFIX = """
SELECT p.class, p.one, p.one_low, p.one_high, p.one_n, p.long, p.long_low, p.long_high, p.long_n,
  p.run
FROM prefix_head p JOIN run r ON r.id = p.run
WHERE p.model = $model AND p.layer = $layer AND p.head = $head
ORDER BY r.created_at DESC, r.id LIMIT 1
"""
_IOI = """
SELECT i.how, i.place, i.value, i.low, i.high, i.n, i.run FROM ioi_head i
WHERE i.model = $model AND i.layer = $layer AND i.head = $head AND i.names = 'both'
  AND run = (SELECT d.run FROM ioi_head d JOIN run r ON r.id = d.run WHERE d.model = $model
             ORDER BY r.created_at DESC, r.id LIMIT 1)
ORDER BY i.how, i.place
"""

_ROLES = """
SELECT s.sae, h.rank, h.role, h.family, h.words, h.features, h.share, h.cohesion, h.k, h.run
FROM head_role h JOIN sae s USING (sae)
WHERE s.model = $model AND s.layer = $layer AND h.head = $head AND h."by" = 'measured'
ORDER BY h.k, s.sae, h.rank
"""
_ROLES_OF_ALL = """
SELECT DISTINCT s.layer, h.head, h.role FROM head_role h JOIN sae s USING (sae)
WHERE s.model = $model AND h."by" = 'measured' ORDER BY s.layer, h.head, h.role
"""
_EVIDENCE = """
SELECT e.sae, e.rank, e.k, e.sentence FROM head_role_evidence e JOIN sae s USING (sae)
WHERE s.model = $model AND s.layer = $layer AND e.head = $head AND e."by" = 'measured'
ORDER BY e.k, e.sae, e.rank, e.kind, e.target
"""
_POLYSEMANTIC = """
SELECT p.sae, p.k, p.clusters, p.largest, p.one_thing, p.cohesion, p.cohesion_low, p.cohesion_high,
  p.null_mean, p.p, m.need_80
FROM head_polysemanticity p JOIN sae s USING (sae)
  LEFT JOIN head_polysemanticity m ON m.sae = p.sae AND m.head = p.head AND m."by" = 'mass'
WHERE s.model = $model AND s.layer = $layer AND p.head = $head AND p."by" = 'measured'
QUALIFY row_number() OVER (PARTITION BY p.sae ORDER BY p.k) = 1
ORDER BY p.sae
"""


def families(evidence: Evidence, name: str | FeatureId) -> tuple[FamilyClaim, ...]:
    """Families whose rule holds for a feature, its own first. Raises NotFound."""
    sae, feature = evidence.key(name)
    return tuple(map(_family, evidence.query(_FAMILIES, sae=sae, feature=feature)))


def _family(row: dict[str, Any]) -> FamilyClaim:
    return FamilyClaim(
        row["family"],
        row["best"],
        row["score"],
        row["examples"],
        tuple(row["words"] or ()),
        row["fired"],
        row["explained"],
        row["precision"],
        rows.interval(row["precision_low"], row["precision_high"]),
        row["recall"],
        rows.interval(row["recall_low"], row["recall_high"]),
        row["run"],
    )


def head_studies(evidence: Evidence, name: str | HeadId) -> HeadStudies:
    """What the newest run of each study left about a head. Raises NotFound."""
    name = parse_head(name) if isinstance(name, str) else name
    if not evidence.has(name):
        raise NotFound(f"no head {name}", "a model's page lists its heads")
    where: dict[str, Any] = {"model": name.model, "layer": name.layer, "head": name.head}
    distances = evidence.query(_DISTANCES, **where)
    tokens = evidence.query(_TOKENS_OF, **where, most=_TOKENS)
    prefix = next(iter(evidence.query(_PREFIX, **where)), None)
    return HeadStudies(
        tuple(
            DistanceShare(
                row["distance_from"],
                row["distance_to"],
                row["share"],
                rows.interval(row["low"], row["high"]),
            )
            for row in distances
        ),
        tuple(
            HeadToken(row["side"], row["text"], row["share"], row["base"], row["n"])
            for row in tokens
        ),
        _looks(evidence, evidence.query(_LOOKS_OF, **where, most=_LOOKS)),
        tuple(_partner(name, row) for row in evidence.query(_PARTNERS_OF, **where, most=_PARTNERS)),
        prefix["class"] if prefix else None,
        (*_prefix_effects(prefix), *map(_ioi_effect, evidence.query(_IOI, **where))),
        _roles(evidence, evidence.query(_ROLES, **where), evidence.query(_EVIDENCE, **where)),
        tuple(_polysemantic(evidence, row) for row in evidence.query(_POLYSEMANTIC, **where)),
    )


def roles_of_heads(evidence: Evidence, model: str) -> dict[HeadId, tuple[str, ...]]:
    """The roles that a study claims for each head of a model, by measured share."""
    found: dict[HeadId, tuple[str, ...]] = {}
    for row in evidence.query(_ROLES_OF_ALL, model=evidence.model(model).id):
        name = HeadId(model, row["layer"], row["head"])
        found[name] = (*found.get(name, ()), row["role"])
    return found


def _roles(
    evidence: Evidence, found: list[dict[str, Any]], said: list[dict[str, Any]]
) -> tuple[StudiedRole, ...]:
    names, least = _names(evidence), min((row["k"] for row in found), default=0)
    return tuple(
        StudiedRole(
            row["role"],
            row["family"],
            tuple(row["words"] or ()),
            tuple(FeatureId(names[row["sae"]], index) for index in row["features"]),
            row["share"],
            row["cohesion"],
            tuple(
                one["sentence"]
                for one in said
                if all(one[name] == row[name] for name in ("sae", "k", "rank"))
            ),
            row["run"],
        )
        for row in found
        if row["k"] == least
    )


def _polysemantic(evidence: Evidence, row: dict[str, Any]) -> Polysemanticity:
    return Polysemanticity(
        _names(evidence)[row["sae"]],
        row["k"],
        row["clusters"],
        row["largest"],
        row["one_thing"],
        row["cohesion"],
        rows.interval(row["cohesion_low"], row["cohesion_high"]),
        row["null_mean"],
        row["p"],
        row["need_80"],
    )


def _names(evidence: Evidence) -> dict[int, SaeId]:
    return {one.number: one.id for one in evidence.saes}


def _looks(evidence: Evidence, found: list[dict[str, Any]]) -> tuple[HeadLook, ...]:
    numbers = {row["ctx"] for row in found}
    contexts = {one.ctx: one for one in evidence.contexts(numbers)}
    return tuple(
        HeadLook(
            row["band"],
            row["ctx"],
            row["dst"],
            row["src"],
            row["weight"],
            contexts[row["ctx"]].tokens,
            contexts[row["ctx"]].doc,
        )
        for row in found
    )


def _partner(name: HeadId, row: dict[str, Any]) -> Partner:
    earlier = HeadId(name.model, row["layer"], row["head"])
    reader = HeadId(name.model, row["later_layer"], row["later_head"])
    is_later = earlier == name
    return Partner(reader if is_later else earlier, row["kind"], is_later, row["score"])


def _prefix_effects(row: dict[str, Any] | None) -> tuple[StudiedEffect, ...]:
    if row is None:
        return ()
    words = {
        "one": "induction attention after a prefix of one token",
        "long": "induction attention after prefixes of five to nine tokens",
    }
    return tuple(
        StudiedEffect(
            "prefix",
            what,
            row[name],
            rows.interval(row[f"{name}_low"], row[f"{name}_high"]),
            row[f"{name}_n"],
            row["run"],
        )
        for name, what in words.items()
    )


def _ioi_effect(row: dict[str, Any]) -> StudiedEffect:
    what = f"change of the IOI logit difference, {row['how']} at {row['place']}"
    within = rows.interval(row["low"], row["high"])
    return StudiedEffect("ioi", what, row["value"], within, row["n"], row["run"])
