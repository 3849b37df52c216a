"""Reading attention heads: lists, metrics, and the features that a head writes."""

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from atlas.errors import NotFound
from atlas.ids import HeadId, parse_head
from atlas.store.evidence import Evidence
from atlas.store.lists import first
from atlas.store.rows import head_share, interval
from atlas.types import Head, HeadBy, HeadFeature, HeadMetric, HeadRow, Sae, SharedFeature

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
        SELECT layer, head, kv_head FROM head WHERE model = $model
          AND ($layer IS NULL OR layer = $layer) AND ($head IS NULL OR head = $head)
        ORDER BY layer, head
        """,
        model=model,
        layer=layer,
        head=head,
    )
    led = evidence.kept("features led", lambda: _led(evidence))
    return tuple(
        HeadRow(
            HeadId(model, row["layer"], row["head"]),
            row["kv_head"],
            *(led[by].get((model, row["layer"], row["head"]), 0) for by in _TOPS),
        )
        for row in found
    )


_TOPS = ("dfa_head", "weight_head")


def _led(evidence: Evidence) -> dict[str, Counter[tuple[str, int, int]]]:
    """How many live features each head gives most to, by measurement and by weights."""
    counts: dict[str, Counter[tuple[str, int, int]]] = {name: Counter() for name in _TOPS}
    lists = evidence.lists
    for sae, start, stop in zip(evidence.saes, lists.starts[:-1], lists.starts[1:], strict=True):
        live = lists.column("firings")[start:stop] > 0
        for name, count in counts.items():
            tops = np.bincount(lists.column(name)[start:stop][live] + 1)[1:]
            for head, features in enumerate(tops.tolist()):
                count[sae.id.model, sae.id.layer, head] += features
    return counts


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
        within = interval(row["low"], row["high"])
        metric = HeadMetric(row["metric"], row["condition"], row["value"], within, row["n"])
        by_head[name] = (*by_head.get(name, ()), metric)
    return by_head


def _features(
    evidence: Evidence, wanted: HeadId, limit: int, by: HeadBy
) -> tuple[HeadFeature, ...]:
    lists, saes = evidence.lists, _saes(evidence, wanted)
    rows = np.arange(lists.size)[lists.of(evidence.saes.index(one) for one in saes)]
    shares = lists.share("weight_share" if by == "weights" else "dfa_share", wanted.head)
    rows = rows[lists.column("firings")[rows] > 0]
    rows = rows[first(np.nan_to_num(-shares[rows].astype(np.float64), nan=np.inf), limit)]
    keys = list(zip(*(part.tolist() for part in lists.keys(rows)), strict=True))
    found = evidence.query(
        """
        SELECT * FROM feature_head WHERE head = $head AND sae IN (SELECT unnest($saes::SMALLINT[]))
          AND feature IN (SELECT unnest($features::INTEGER[]))
        """,
        head=wanted.head,
        saes=sorted({sae for sae, _ in keys}),
        features=sorted({feature for _, feature in keys}),
    )
    given = {(row["sae"], row["feature"]): head_share(row) for row in found}
    cards = zip(evidence.rows_of(keys), keys, strict=True)
    return tuple(HeadFeature(card, given[key]) for card, key in cards)


def _saes(evidence: Evidence, wanted: HeadId) -> list[Sae]:
    return [
        sae for sae in evidence.saes if (sae.id.model, sae.id.layer) == (wanted.model, wanted.layer)
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
    values: dict[str, Any] = {
        "saes": [sae.number for sae in _saes(evidence, a)],
        "a": a.head,
        "b": b.head,
    }
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
        SharedFeature(card, head_share(row["x"]), head_share(row["y"]))
        for card, row in zip(cards, found, strict=True)
    )
    varies = over["r"] is not None and not math.isnan(over["r"])
    return TwoHeads(shared, over["r"] if varies else None, over["n"])


_BOTH = """
SELECT x.sae, x.feature, x, y FROM feature_head x JOIN feature_head y USING (sae, feature)
WHERE x.sae IN (SELECT unnest($saes::SMALLINT[])) AND x.head = $a AND y.head = $b
  AND x.dfa_share IS NOT NULL
"""
