"""Reading what is known of labels: judgements, failures, methods, who waits for label or review."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from atlas.errors import QueryError
from atlas.ids import FeatureId, SaeId
from atlas.label_types import (
    JudgedScore,
    Judgement,
    LabelFailure,
    LabelMethod,
    ReviewItem,
    ReviewReason,
    ToEmbed,
    Wanted,
)
from atlas.store import facets, lists
from atlas.store.evidence import Evidence, Key
from atlas.store.lists import CHANCE, FIRINGS, first
from atlas.types import Context, Interval

WEIGHTS: Mapping[ReviewReason, float] = {
    "disputed": 2.0,
    "failed": 1.0,
    "contradicted": 1.0,
    "weak_label": 1.0,
    "disagree": 0.75,
    "unscored": 0.25,
}
"""What each reason for a review weighs."""
_CALLS: Mapping[ReviewReason, int] = {
    "disagree": lists.DISAGREE,
    "weak_label": lists.WEAK,
    "contradicted": lists.CONTRADICTED,
    "failed": lists.FAILED,
    "unscored": lists.UNSCORED,
}
_URGENCY = np.array(
    [sum(WEIGHTS[name] for name, bit in _CALLS.items() if calls & bit) for calls in range(32)]
)
"""What the machine's reasons weigh together, by the bits of `calls`."""
_JUDGED = """
SELECT method, model, prompt, scorer, judgements FROM label_score
WHERE sae = $sae AND feature = $feature ORDER BY method, model, prompt, scorer
"""
_FAILURES = """
SELECT method, model, prompt, step, reason FROM label_failure
WHERE sae = $sae AND feature = $feature ORDER BY method, model, prompt, step
"""
_PLACES = """
SELECT doc, start, min(ctx) AS ctx FROM context
WHERE run = $run AND doc IN (SELECT unnest($docs)) GROUP BY doc, start
"""
_METHODS = "SELECT * FROM label_method ORDER BY scorer, mean DESC, method, model, prompt"
# Without a text yet, or with another one than was embedded: publishing drops the latter.
_TO_EMBED = """
SELECT t.sae, t.feature, t.text FROM label_text t
WHERE NOT EXISTS (SELECT 1 FROM label_embedding e
                  WHERE e.sae = t.sae AND e.feature = t.feature AND e.model = $model)
ORDER BY t.sae, t.feature
"""
_WANTED = """
WITH scored AS (
  SELECT sae, feature, count(*) AS scores FROM label_score
  WHERE method = $method AND model IS NOT DISTINCT FROM $model
    AND prompt IS NOT DISTINCT FROM $prompt AND scorer IN (SELECT unnest($scorers::VARCHAR[]))
  GROUP BY sae, feature
),
done AS (
  SELECT sae, feature FROM label l LEFT JOIN scored USING (sae, feature)
  WHERE side = 'title' AND l.method = $method AND l.model IS NOT DISTINCT FROM $model
    AND l.prompt IS NOT DISTINCT FROM $prompt AND coalesce(scores, 0) = len($scorers::VARCHAR[])
),
failed AS (
  SELECT DISTINCT sae, feature FROM label_failure
  WHERE method = $method AND model IS NOT DISTINCT FROM $model
    AND prompt IS NOT DISTINCT FROM $prompt
),
noted AS (SELECT unnest($noted_saes::SMALLINT[]) AS sae, unnest($noted::INTEGER[]) AS feature)
SELECT f.sae, f.feature,
  2.0 * (n.feature IS NOT NULL)::INTEGER
    + (coalesce(t.score, 1) < $chance)::INTEGER
    + coalesce(f.disagreement, 0)
    + 1 - coalesce(t.score, t.support, 0)
    + least(log10(f.firings) / 6, 1)
    - (f.density > 0.2)::INTEGER AS worth
FROM feature f LEFT JOIN title t USING (sae, feature) LEFT JOIN noted n USING (sae, feature)
  LEFT JOIN failed x USING (sae, feature)
WHERE f.firings >= $firings AND ($saes IS NULL OR f.sae IN (SELECT unnest($saes::SMALLINT[])))
  AND NOT EXISTS (SELECT 1 FROM done d WHERE d.sae = f.sae AND d.feature = f.feature)
ORDER BY x.feature IS NOT NULL, worth DESC, f.sae, f.feature
"""
_NEARBY = """
SELECT DISTINCT e.ctx, unnest(e.act_pos) AS pos
FROM example e JOIN (
  SELECT other_feature AS feature FROM neighbour
  WHERE sae = $sae AND feature = $feature AND other_sae = $sae) n USING (feature)
WHERE e.sae = $sae AND e.ctx IN (SELECT unnest($contexts::INTEGER[]))
ORDER BY ALL
"""
_SOME = """
SELECT ctx FROM context WHERE run = $run ORDER BY hash(ctx, $seed::BIGINT) LIMIT $count
"""


def judged(evidence: Evidence, name: str | FeatureId) -> tuple[JudgedScore, ...]:
    """Every judgement behind every score of a feature's labels. Raises NotFound."""
    key = evidence.key(name)
    found = evidence.query(_JUDGED, sae=key[0], feature=key[1])
    parts = [(row, json.loads(row["judgements"] or "[]")) for row in found]
    docs = sorted({one["doc"] for _, said in parts for one in said})
    run = evidence.numbered(key[0]).run
    places = {
        (row["doc"], row["start"]): row["ctx"]
        for row in evidence.query(_PLACES, run=run, docs=docs)
    }
    return tuple(
        JudgedScore(
            row["method"],
            row["model"],
            row["prompt"],
            row["scorer"],
            tuple(Judgement(ctx=places.get((one["doc"], one["start"])), **one) for one in said),
        )
        for row, said in parts
    )


def failures(evidence: Evidence, name: str | FeatureId) -> tuple[LabelFailure, ...]:
    """What labellers could not do for a feature. Raises NotFound."""
    key = evidence.key(name)
    found = evidence.query(_FAILURES, sae=key[0], feature=key[1])
    return tuple(LabelFailure(**row) for row in found)


def methods(evidence: Evidence) -> tuple[LabelMethod, ...]:
    """Every way of labelling with every scorer, best mean first."""
    return tuple(_method(row) for row in evidence.query(_METHODS))


def _method(row: dict[str, Any]) -> LabelMethod:
    spread, mean, n = row.pop("spread"), row["mean"], row["features"]
    half = None if spread is None else 1.96 * spread / n**0.5
    around = None if half is None else Interval(mean - half, mean + half)
    return LabelMethod(interval=around, **row)


def to_embed(evidence: Evidence, model: str) -> tuple[ToEmbed, ...]:
    """Labels that have no vector by this model yet, by feature."""
    found = evidence.query(_TO_EMBED, model=model)
    return tuple(
        ToEmbed(FeatureId(evidence.numbered(row["sae"]).id, row["feature"]), row["text"])
        for row in found
    )


def wanted(
    evidence: Evidence,
    labeller: tuple[str, str | None, str | None],
    scorers: Sequence[str],
    saes: Sequence[SaeId] | None,
    noted: Collection[FeatureId],
) -> Iterator[Wanted]:
    """Features that a labeller has not labelled and scored in full, the most worth first.

    Worth is 2 for a feature that people wrote about, 1 for one whose title scores near chance,
    its disagreement between weights and measurement, 1 less its title's score or support, up to 1
    for how often it fires, and 1 less for one that fires on more than a fifth of all tokens.
    Features on which this labeller failed before come last; those with fewer than FIRINGS
    firings are left out.

    Args:
        labeller: method, model and prompt version.
        scorers: scores that it is to have.
        saes: only features of these; None for all.
        noted: features that people wrote about.
    """
    keys = _keys(evidence, noted)
    method, model, prompt = labeller
    found = evidence.query(
        _WANTED,
        method=method,
        model=model,
        prompt=prompt,
        scorers=list(scorers),
        saes=None if saes is None else [evidence.sae(name).number for name in saes],
        noted_saes=[sae for sae, _ in keys],
        noted=[feature for _, feature in keys],
        chance=CHANCE,
        firings=FIRINGS,
    )
    for row in found:
        yield Wanted(FeatureId(evidence.numbered(row["sae"]).id, row["feature"]), row["worth"])


def review(
    evidence: Evidence,
    limit: int,
    sae: str | SaeId | None,
    reason: ReviewReason | None,
    seen: Collection[FeatureId],
    disputed: Collection[FeatureId],
) -> tuple[ReviewItem, ...]:
    """Features that wait for a person, most urgent first.

    Args:
        limit: at most so many.
        sae: only features of this one.
        reason: only features that wait for this reason.
        seen: features that are left out, because somebody has named them.
        disputed: features with a label that people reject.

    Raises:
        NotFound: no such SAE.
        QueryError: no such reason.
    """
    if reason is not None and reason not in WEIGHTS:
        raise QueryError(f"no reason {reason!r} for a review", f"reasons: {', '.join(WEIGHTS)}")
    held, calls = evidence.lists, evidence.lists.column("calls")
    gone, contested = (facets.rows_of(evidence, names) for names in (seen, disputed))
    contested = contested[held.column("firings")[contested] >= FIRINGS]
    urgency = _URGENCY[calls]
    urgency[contested] += WEIGHTS["disputed"]
    waits = urgency > 0
    if reason is not None:
        waits = (calls & _CALLS.get(reason, 0)) > 0
        waits[contested] |= reason == "disputed"
    if sae is not None:
        waits &= held.column("place") == evidence.saes.index(evidence.sae(sae))
    waits[gone] = False
    rows = np.flatnonzero(waits)
    # Of equal urgency first what fires more: urgencies are quarters, so that both fit one number.
    order = urgency[rows] * 2.0**40 + held.column("firings")[rows]
    shown = rows[first(-order, limit)]
    keys = zip(*(part.tolist() for part in held.keys(shown)), strict=True)
    return tuple(
        ReviewItem(card, _reasons(int(calls[row]), row in contested), float(urgency[row]))
        for card, row in zip(evidence.rows_of(keys), shown, strict=True)
    )


def _reasons(calls: int, is_disputed: bool) -> tuple[ReviewReason, ...]:
    bits = {**_CALLS, "disputed": 0}
    return tuple(
        name for name in WEIGHTS if calls & bits[name] or (is_disputed and name == "disputed")
    )


def _keys(evidence: Evidence, names: Collection[FeatureId]) -> list[Key]:
    """Keys of those that this snapshot has: notes may speak of features that are gone."""
    return [evidence.key(name) for name in names if evidence.has(name)]


def fired_nearby(
    evidence: Evidence, name: FeatureId, contexts: Collection[int]
) -> tuple[tuple[int, int], ...]:
    """(context, position) where kept examples say that a neighbour of a feature fires.

    Args:
        evidence: the snapshot.
        name: a feature that exists.
        contexts: only in these.
    """
    key = evidence.key(name)
    found = evidence.query(_NEARBY, sae=key[0], feature=key[1], contexts=list(contexts))
    return tuple((row["ctx"], row["pos"]) for row in found)


def random_contexts(evidence: Evidence, run: str, count: int, seed: int) -> tuple[Context, ...]:
    """Text windows of a run, drawn at random."""
    found = evidence.query(_SOME, run=run, count=count, seed=seed)
    return evidence.contexts(row["ctx"] for row in found)
