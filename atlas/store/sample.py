"""Randomly chosen rows as they are stored, for whoever computes them again."""

from typing import Any

from atlas.store.evidence import Evidence

Rows = list[dict[str, Any]]
_EXAMPLES = """
SELECT s.id AS sae_id, s.layer, c.tokens, e.* FROM example e
JOIN sae s USING (sae) JOIN context c USING (ctx)
WHERE s.id IN (SELECT unnest($saes))
ORDER BY hash(s.id, e.feature, e.kind, e.band, e.rank, $seed::BIGINT) LIMIT $count
"""
_FEATURES = """
SELECT s.id AS sae_id, s.layer, f.* FROM feature f JOIN sae s USING (sae)
WHERE s.id IN (SELECT unnest($saes))
ORDER BY f.firings = 0, hash(s.id, f.feature, $seed::BIGINT) LIMIT $count
"""
_HEADS = """
SELECT h.* FROM feature_head h JOIN sae s USING (sae)
WHERE s.id = $sae AND h.feature = $feature ORDER BY h.head
"""
_NEIGHBOURS = """
SELECT s.id AS sae_id, s.layer, o.id AS other_id, o.layer AS other_layer, n.* FROM neighbour n
JOIN sae s USING (sae) JOIN sae o ON o.sae = n.other_sae
WHERE s.id IN (SELECT unnest($saes)) AND o.id IN (SELECT unnest($saes))
ORDER BY hash(s.id, n.feature, o.id, n.other_feature, $seed::BIGINT) LIMIT $count
"""


def examples(evidence: Evidence, saes: list[str], count: int, seed: int) -> Rows:
    """Examples of some SAEs with their contexts' tokens."""
    return evidence.query(_EXAMPLES, saes=saes, count=count, seed=seed)


def features(evidence: Evidence, saes: list[str], count: int, seed: int) -> Rows:
    """Features of some SAEs, live ones before dead ones, each with its rows of `feature_head`."""
    found = evidence.query(_FEATURES, saes=saes, count=count, seed=seed)
    return [
        row | {"heads": evidence.query(_HEADS, sae=row["sae_id"], feature=row["feature"])}
        for row in found
    ]


def neighbours(evidence: Evidence, saes: list[str], count: int, seed: int) -> Rows:
    """Pairs of features of some SAEs."""
    return evidence.query(_NEIGHBOURS, saes=saes, count=count, seed=seed)
