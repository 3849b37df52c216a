"""What studies left about one feature or one head; where several ran, the newest run's."""

from typing import Any

from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId, parse_head
from atlas.store import rows
from atlas.store.evidence import Evidence
from atlas.study_types import (
    DistanceShare,
    FamilyClaim,
    HeadLook,
    HeadStudies,
    HeadToken,
    StudiedEffect,
)

_LOOKS, _TOKENS = 3, 10
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

_ROLES_OF_ALL = """
SELECT DISTINCT s.layer, h.head, h.role FROM head_role h JOIN sae s USING (sae)
WHERE s.model = $model AND h."by" = 'measured' ORDER BY s.layer, h.head, h.role
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
        prefix["class"] if prefix else None,
        (*_prefix_effects(prefix), *map(_ioi_effect, evidence.query(_IOI, **where))),
    )


def roles_of_heads(evidence: Evidence, model: str) -> dict[HeadId, tuple[str, ...]]:
    """The roles that a study claims for each head of a model, by measured share."""
    found: dict[HeadId, tuple[str, ...]] = {}
    for row in evidence.query(_ROLES_OF_ALL, model=evidence.model(model).id):
        name = HeadId(model, row["layer"], row["head"])
        found[name] = (*found.get(name, ()), row["role"])
    return found


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
