"""Reading what the prefix study compares: the features each head leads and how they match text."""

from dataclasses import dataclass

from atlas.ids import FeatureId
from atlas.store.evidence import Evidence

# Position p of a context is element p + 1 of its list; src is pos - distance.
_LED = """
WITH seen AS (
  SELECT e.sae, e.feature, e.distance,
    coalesce(c.tokens[e.pos - e.distance] = c.tokens[e.pos + 1], false) AS one,
    coalesce(c.tokens[e.pos - e.distance - 1] = c.tokens[e.pos], false) AS two
  FROM example e JOIN context c USING (ctx) JOIN sae s USING (sae)
  WHERE s.model = $model AND e.kind = 'random'
)
SELECT s.sae, f.feature, s.layer, f.dfa_head AS head, h.dfa_share AS share, f.family,
  t.text AS title, count(*) AS examples, avg(n.distance) AS distance,
  avg(n.one::INTEGER) AS one, avg((n.one AND n.two)::INTEGER) AS two
FROM seen n JOIN feature f USING (sae, feature) JOIN sae s USING (sae)
JOIN feature_head h ON h.sae = f.sae AND h.feature = f.feature AND h.head = f.dfa_head
LEFT JOIN title t ON t.sae = f.sae AND t.feature = f.feature
WHERE f.dfa_head IS NOT NULL
GROUP BY ALL ORDER BY s.sae, f.feature
"""


@dataclass(frozen=True, slots=True)
class LedFeature:
    """A feature, the head that gives most to it, and its randomly drawn firings on average."""

    id: FeatureId
    layer: int
    head: int
    share: float
    """What that head gives of all heads, measured."""
    family: str | None
    title: str | None
    examples: int
    distance: float
    """Positions from the strongest source to the firing."""
    one: float
    """Share of firings in which the token before the source is the one that fires."""
    two: float
    """Share in which the two tokens before the source are the two that end at the firing."""


def led_features(evidence: Evidence, model: str) -> tuple[LedFeature, ...]:
    """Live features of a model with kept random firings, by SAE and index."""
    return tuple(
        LedFeature(
            FeatureId(evidence.numbered(row["sae"]).id, row["feature"]),
            *(row[name] for name in LedFeature.__slots__[1:]),
        )
        for row in evidence.query(_LED, model=model)
    )
