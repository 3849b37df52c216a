"""Prompt search: which features fire most on a text, ranked over all layers."""

from collections.abc import Callable, Sequence

from atlas.errors import QueryError
from atlas.ids import FeatureId
from atlas.prompt_types import Features, Firing, PromptHit, PromptSearch, RankBy
from atlas.types import FeatureRow

MOST = 500


def rank(
    found: Features,
    rows_of: Callable[[Sequence[FeatureId]], Sequence[FeatureRow]],
    limit: int = 25,
    by: RankBy = "relative",
) -> PromptSearch:
    """The features of a prompt, each at its strongest firing, largest first.

    Activations of different layers have different scales, so by default each is taken relative to
    the largest that mining saw of its feature.

    Args:
        found: all firings of the prompt.
        rows_of: the rows of features, in order.
        limit: features to list.
        by: what is ranked.

    Raises:
        QueryError: `limit` or `by` is unknown.
    """
    if not 1 <= limit <= MOST:
        raise QueryError(f"limit is {limit}", f"it may be 1 to {MOST}")
    if by not in ("relative", "activation"):
        raise QueryError(f"unknown order {by!r}", "known: relative, activation")
    best: dict[FeatureId, Firing] = {}
    for layer in found.layers:
        for one in layer.firings:
            known = best.get(one.feature)
            if one.pos >= int(found.prompt.bos) and (known is None or one.act > known.act):
                best[one.feature] = one
    hits = [
        PromptHit(row, one.pos, one.act, one.act / row.max_act if row.max_act > 0 else None)
        for one, row in zip(best.values(), rows_of(list(best)), strict=True)
    ]
    hits.sort(key=lambda hit: (-_value(hit, by), hit.row.id))
    return PromptSearch(found.prompt, tuple(hits[:limit]), len(hits), found.missing)


def _value(hit: PromptHit, by: RankBy) -> float:
    return hit.act if by == "activation" else hit.relative or 0.0
