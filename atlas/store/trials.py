"""Testing a hypothesis: kept firings with their measured sources against places without firing."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.errors import QueryError
from atlas.hypothesis import Bools, Hypothesis
from atlas.hypothesis_types import Instance, Rate, Trial, Verdict
from atlas.ids import FeatureId, Id, parse
from atlas.note_types import Note, SavedQuery
from atlas.store.evidence import Evidence
from atlas.store.trial_places import Places, Tested, features, gather, scene, somewhere
from atlas.types import Interval

SHOWN = 10
"""Instances and features that are listed."""
_FIRED = ("top", "interval", "random")


class Saved(NamedTuple):
    """A hypothesis that somebody kept, with what it is about."""

    hypothesis: str
    target: str
    seed: int


def of_note(note: Note[Any]) -> Saved:
    """What a note says is to be tested. Raises QueryError when it is no saved hypothesis."""
    found = note.content
    if not isinstance(found, SavedQuery) or found.form != "hypothesis":
        raise QueryError(f"note {note.id} is no saved hypothesis", "save one with form hypothesis")
    return Saved(
        found.text, str(found.parameters["target"]), int(found.parameters.get("seed") or 0)
    )


def test(evidence: Evidence, hypothesis: Hypothesis, target: str | Id, seed: int) -> Trial:
    """Test a hypothesis about a feature, about the features a head leads, or about an SAE's.

    Args:
        evidence: the snapshot.
        hypothesis: parsed.
        target: id of a feature, head or SAE.
        seed: of the features and places that are drawn.

    Raises:
        NotFound: no such thing, or it has no kept firings.
        QueryError: the target is a model, the seed is negative, or a regular expression is wrong.
    """
    if seed < 0:
        raise QueryError(f"the seed {seed} is negative", "give 0 or a larger whole number")
    target = parse(target) if isinstance(target, str) else target
    found, candidates = features(evidence, target, seed)
    tested = gather(evidence, found, seed)
    measured = hypothesis.holds(scene(tested, tested.firings))
    possible = somewhere(tested, hypothesis, tested.firings)
    alarms = somewhere(tested, hypothesis, tested.places) > 0
    every = np.ones(len(tested.keys), np.bool_)

    def verdict(name: str, chosen: Bools) -> Verdict:
        one = _verdict(name, chosen, tested, measured, possible, alarms)
        return one if hypothesis.of_source else replace(one, chance=None)

    names = [str(FeatureId(evidence.numbered(sae).id, index)) for sae, index in tested.keys]
    each = [verdict(name, _only(row, len(names))) for row, name in enumerate(names)]
    each.sort(key=lambda one: (-(one.lift_interval.low if one.lift_interval else -1), one.target))
    fired = np.array([kind in _FIRED for kind in tested.kinds], np.bool_)
    return Trial(
        hypothesis=hypothesis.text,
        target=str(target),
        snapshot=evidence.snapshot.name,
        seed=seed,
        of_source=hypothesis.of_source,
        candidates=candidates,
        pooled=verdict(str(target), every),
        verdicts=tuple(each[:SHOWN]) if len(each) > 1 else (),
        missed=_instances(evidence, tested, tested.firings.take((~measured & fired).nonzero()[0])),
        alarmed=_instances(evidence, tested, tested.places.take(alarms.nonzero()[0])),
    )


def _only(row: int, n: int) -> Bools:
    chosen = np.zeros(n, np.bool_)
    chosen[row] = True
    return chosen


def _verdict(
    name: str,
    chosen: Bools,
    tested: Tested,
    measured: Bools,
    possible: NDArray[np.float64],
    alarms: Bools,
) -> Verdict:
    """What was seen of the features `chosen` `[feature]`."""
    own = chosen[tested.firings.feature]
    kinds = np.array(tested.kinds)
    by_kind = {
        kind: rate(measured[own & (kinds == kind)])
        for kind in _FIRED
        if bool((own & (kinds == kind)).any())
    }
    drawn = own & (kinds == "random" if "random" in by_kind else np.isin(kinds, _FIRED))
    recall, alarm = rate(measured[drawn]), rate(alarms[chosen[tested.places.feature]])
    density = float(tested.density[chosen].mean())
    somewhere = rate(possible[drawn] > 0)
    precision, interval = precision_of(somewhere, alarm, density)
    return Verdict(
        target=name,
        features=int(chosen.sum()),
        density=density,
        recall=recall,
        by_kind=by_kind,
        chance=float(possible[drawn].mean()) if drawn.any() else None,
        anywhere=somewhere,
        alarms=alarm,
        near_misses=rate(measured[own & (kinds == "near_miss")]),
        precision=precision,
        precision_interval=interval,
        lift=None if precision is None else precision / density,
        lift_interval=interval and Interval(interval.low / density, interval.high / density),
    )


def precision_of(
    recall: Rate, alarms: Rate, density: float
) -> tuple[float | None, Interval | None]:
    """Share of firings where a hypothesis holds, by Bayes: d R / (d R + (1 - d) F).

    Args:
        recall: R, of firings.
        alarms: F, of places without.
        density: d, how often there are firings.

    Returns:
        None where one of them was not seen, or it holds nowhere; the share by itself is None where
        it never holds without a firing, which bounds it from below only.
    """
    if recall.share is None or alarms.share is None or recall.interval is None:
        return None, None
    assert alarms.interval is not None

    def share(r: float, f: float) -> float:
        hits = density * r
        return hits / (hits + (1 - density) * f) if hits + f > 0 else 0.0

    low = share(recall.interval.low, alarms.interval.high)
    high = share(recall.interval.high, alarms.interval.low)
    if recall.held == alarms.held == 0:
        return None, None
    # Without a single alarm the share would be 1 however few places were looked at.
    value = share(recall.share, alarms.share) if alarms.held else None
    return value, Interval(low, high)


def rate(held: Bools) -> Rate:
    """How often something held, with a 95 % Wilson interval."""
    n, count = len(held), int(held.sum())
    if not n:
        return Rate(0, 0, None, None)
    z2, share = 1.959964**2, count / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if count == 0 else float(middle - half)
    high = 1.0 if count == n else float(middle + half)
    return Rate(count, n, share, Interval(low, high))


def _instances(evidence: Evidence, tested: Tested, places: Places) -> tuple[Instance, ...]:
    """Some of the places: the first of every feature, before the second of any."""
    _, start, count = np.unique(places.feature, return_index=True, return_counts=True)
    nth = np.arange(len(places.feature)) - np.repeat(start, count)  # places lie feature by feature
    places = places.take(np.argsort(nth, kind="stable"))
    texts, found = tested.texts, []
    for feature, ctx, pos, src, head in zip(*(c[:SHOWN].tolist() for c in places), strict=True):
        sae, index = tested.keys[feature]
        known = evidence.numbered(sae).id
        vocab = evidence.vocab(known.model)
        found.append(
            Instance(
                FeatureId(known, index),
                int(texts.number[ctx]),
                pos,
                None if src < 0 else src,
                vocab.text(int(texts.tokens[ctx, pos])),
                None if src < 0 else vocab.text(int(texts.tokens[ctx, src])),
                None if head < 0 else head,
            )
        )
    return tuple(found)
