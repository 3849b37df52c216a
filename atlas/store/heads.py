"""Reading attention heads: lists, metrics, and the features that a head writes."""

import math
from typing import Any, NamedTuple

from atlas.errors import NotFound
from atlas.ids import HeadId, parse_head
from atlas.store import rows
from atlas.store.evidence import Evidence
from atlas.types import Head, HeadBy, HeadFeature, HeadMetric, HeadRow, SharedFeature

FEATURES = 100
"""Features that come with a head; a search lists the rest."""


def heads(evidence: Evidence, model: str) -> tuple[HeadRow, ...]:
    """All heads of a model by layer and head, with how many features each one leads.

    Raises:
        NotFound: no such model.
    """
    evidence.model(model)
    return _rows(evidence, model, None, None)


def head(
    evidence: Evidence, name: str | HeadId, limit: int = FEATURES, by: HeadBy = "measured"
) -> Head:
    """Everything about one head, with at most `limit` features, largest share first.

    Raises:
        NotFound: no such model, layer or head; names the range that exists.
    """
    wanted = parse_head(name) if isinstance(name, str) else name
    model = evidence.model(wanted.model)
    found = _rows(evidence, wanted.model, wanted.layer, wanted.head)
    if not found:
        raise NotFound(
            f"no head {wanted}",
            f"{model.id} has layers 0 to {model.n_layers - 1} and heads 0 to {model.n_heads - 1}",
        )
    measured = metrics(evidence, wanted.model, wanted.layer, wanted.head).get(wanted, ())
    return Head(found[0], measured, _features(evidence, wanted, limit, by))


def _rows(
    evidence: Evidence, model: str, layer: int | None, head: int | None
) -> tuple[HeadRow, ...]:
    found = evidence.query(
        """
        WITH live AS (
          SELECT s.layer, f.dfa_head, f.weight_head FROM feature f JOIN sae s USING (sae)
          WHERE s.model = $model AND f.firings > 0 AND ($layer IS NULL OR s.layer = $layer)
        ), led AS (SELECT layer, dfa_head AS head, count(*) AS n FROM live GROUP BY ALL),
        weighed AS (SELECT layer, weight_head AS head, count(*) AS n FROM live GROUP BY ALL)
        SELECT h.layer, h.head, h.kv_head, coalesce(l.n, 0) AS features,
          coalesce(w.n, 0) AS weight_features
        FROM head h LEFT JOIN led l USING (layer, head) LEFT JOIN weighed w USING (layer, head)
        WHERE h.model = $model AND ($layer IS NULL OR h.layer = $layer)
          AND ($head IS NULL OR h.head = $head)
        ORDER BY h.layer, h.head
        """,
        model=model,
        layer=layer,
        head=head,
    )
    return tuple(
        HeadRow(
            HeadId(model, row["layer"], row["head"]),
            row["kv_head"],
            row["features"],
            row["weight_features"],
        )
        for row in found
    )


def metrics(
    evidence: Evidence, model: str, layer: int | None = None, head: int | None = None
) -> dict[HeadId, tuple[HeadMetric, ...]]:
    """Metrics of a model's heads; where several runs measured one, the newest run's.

    Heads without metrics are left out. Raises NotFound when there is no such model.
    """
    evidence.model(model)
    found = evidence.query(
        """
        SELECT m.* FROM head_metric m JOIN run r ON r.id = m.run
        WHERE m.model = $model AND ($layer IS NULL OR m.layer = $layer)
          AND ($head IS NULL OR m.head = $head)
        QUALIFY row_number() OVER (
          PARTITION BY m.layer, m.head, metric, condition ORDER BY r.created_at DESC, r.id) = 1
        ORDER BY m.layer, m.head, metric, condition
        """,
        model=model,
        layer=layer,
        head=head,
    )
    by_head: dict[HeadId, tuple[HeadMetric, ...]] = {}
    for row in found:
        name = HeadId(model, row["layer"], row["head"])
        within = rows.interval(row["low"], row["high"])
        metric = HeadMetric(row["metric"], row["condition"], row["value"], within, row["n"])
        by_head[name] = (*by_head.get(name, ()), metric)
    return by_head


def _features(
    evidence: Evidence, wanted: HeadId, limit: int, by: HeadBy
) -> tuple[HeadFeature, ...]:
    found = evidence.query(
        """
        SELECT h.* FROM feature_head h JOIN feature f USING (sae, feature)
        WHERE h.sae IN (SELECT unnest($saes::SMALLINT[])) AND h.head = $head AND f.firings > 0
        ORDER BY CASE WHEN $weights THEN h.weight_share ELSE h.dfa_share END DESC NULLS LAST,
          h.sae, h.feature LIMIT $limit
        """,
        saes=_saes(evidence, wanted),
        head=wanted.head,
        weights=by == "weights",
        limit=limit,
    )
    cards = evidence.rows_of((row["sae"], row["feature"]) for row in found)
    return tuple(
        HeadFeature(card, rows.head_share(row)) for card, row in zip(cards, found, strict=True)
    )


def _saes(evidence: Evidence, wanted: HeadId) -> list[int]:
    return [
        sae.number
        for sae in evidence.saes
        if (sae.id.model, sae.id.layer) == (wanted.model, wanted.layer)
    ]


class TwoHeads(NamedTuple):
    """What two heads of one layer give to the same features."""

    shared: tuple[SharedFeature, ...]
    """Features to which both give most, largest smaller share first."""
    correlation: float | None
    """Pearson correlation of their measured shares; None where one of them never varies."""
    features: int
    """Live features that the correlation is over."""


def two_heads(evidence: Evidence, a: HeadId, b: HeadId, limit: int) -> TwoHeads:
    """What two heads of one layer give to its live features, with `limit` of those they share."""
    assert (a.model, a.layer) == (b.model, b.layer), (a, b)
    values: dict[str, Any] = {"saes": _saes(evidence, a), "a": a.head, "b": b.head}
    found = evidence.query(
        f"{_BOTH} ORDER BY least(x.dfa_share, y.dfa_share) DESC, x.sae, x.feature LIMIT $limit",
        **values,
        limit=limit,
    )
    (over,) = evidence.query(
        f"SELECT corr(t.x.dfa_share, t.y.dfa_share) AS r, count(*) AS n FROM ({_BOTH}) t", **values
    )
    cards = evidence.rows_of((row["sae"], row["feature"]) for row in found)
    shared = tuple(
        SharedFeature(card, rows.head_share(row["x"]), rows.head_share(row["y"]))
        for card, row in zip(cards, found, strict=True)
    )
    varies = over["r"] is not None and not math.isnan(over["r"])
    return TwoHeads(shared, over["r"] if varies else None, over["n"])


_BOTH = """
SELECT x.sae, x.feature, x, y FROM feature_head x JOIN feature_head y USING (sae, feature)
WHERE x.sae IN (SELECT unnest($saes::SMALLINT[])) AND x.head = $a AND y.head = $b
  AND x.dfa_share IS NOT NULL
"""
