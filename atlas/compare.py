"""Two features or two heads side by side, and how far apart they are."""

from collections.abc import Sequence

from atlas.ids import FeatureId, HeadId
from atlas.store.evidence import Evidence
from atlas.store.features import feature
from atlas.store.heads import head, two_heads
from atlas.types import Example, Feature, FeatureComparison, HeadComparison, Neighbour

SHARED = 50
"""Features that come with a comparison of two heads."""


def compare_features(
    evidence: Evidence, a: str | FeatureId, b: str | FeatureId
) -> FeatureComparison:
    """Two features, of one layer or not. Raises NotFound."""
    first, second = feature(evidence, a), feature(evidence, b)
    near = _neighbour(first, second) or _neighbour(second, first)
    layers = [(one.sae.id.model, one.sae.id.layer) for one in (first, second)]
    same_heads = layers[0] == layers[1]
    profiles = [[share.dfa_share for share in one.heads] for one in (first, second)]
    weights = [[share.weight_share for share in one.heads] for one in (first, second)]
    return FeatureComparison(
        a=first,
        b=second,
        cosine=near.cosine if near else None,
        jaccard=near.jaccard if near else None,
        shared=shared_contexts(first.examples, second.examples),
        measured_distance=total_variation(*profiles) if same_heads else None,
        weight_distance=total_variation(*weights) if same_heads else None,
    )


def compare_heads(evidence: Evidence, a: str | HeadId, b: str | HeadId) -> HeadComparison:
    """Two heads; features and correlation are shared only within a layer. Raises NotFound."""
    first, second = head(evidence, a), head(evidence, b)
    if (first.id.model, first.id.layer) != (second.id.model, second.id.layer):
        return HeadComparison(first, second, (), None, 0)
    both = two_heads(evidence, first.id, second.id, SHARED)
    return HeadComparison(first, second, both.shared, both.correlation, both.features)


def total_variation(p: Sequence[float | None], q: Sequence[float | None]) -> float | None:
    """Half the sum of |p - q|, 0 to 1, of two shares over the same heads [head].

    None where either is unknown, as the measured shares of a dead feature are.
    """
    pairs = [(x, y) for x, y in zip(p, q, strict=True) if x is not None and y is not None]
    if len(pairs) < len(p):
        return None
    return sum(abs(x - y) for x, y in pairs) / 2


def shared_contexts(
    a: Sequence[Example], b: Sequence[Example]
) -> tuple[tuple[Example, Example], ...]:
    """The strongest example of either in every context where both have one, strongest a first."""
    firsts, seconds = _strongest(a), _strongest(b)
    both = [(firsts[ctx], seconds[ctx]) for ctx in firsts if ctx in seconds]
    return tuple(sorted(both, key=lambda pair: (-pair[0].act, pair[0].ctx)))


def _strongest(examples: Sequence[Example]) -> dict[int, Example]:
    """The strongest firing per context; near misses did not fire."""
    fired = [example for example in examples if example.kind != "near_miss"]
    return {example.ctx: example for example in sorted(fired, key=lambda example: example.act)}


def _neighbour(a: Feature, b: Feature) -> Neighbour | None:
    return next((one for one in a.neighbours if one.row.id == b.id), None)
