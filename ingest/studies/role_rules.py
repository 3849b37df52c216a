"""What makes features of one head one thing: clusters, cohesion, and how many things there are.

Features that share a mechanism (induction, previous token, ...) are one thing whatever words they
are about. All others are compared by content: the direction of their decoder rows within the head,
the words of their titles, and their family.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

MECHANISMS = ("induction", "duplicate_token", "previous_token", "first_token", "positional")
"""Families that say what a head does, whatever the words."""
ROLE_OF = {
    "induction": "induction",
    "duplicate_token": "duplicate_token",
    "previous_token": "previous_token",
    "first_token": "attention_sink",
    "positional": "positional",
    "single_token": "current_token",
    "current_token": "current_token",
    "local_context": "local_context",
    "long_range_context": "long_range_context",
}
"""Family to a role of the vocabulary of people's claims (atlas.note_types.ROLES)."""
DIRECTION, WORDS, FAMILY = 0.5, 0.25, 0.25
"""Weights of the parts of content; those that no feature has give theirs to the others."""
JOIN = 0.4
"""Mean content similarity to a cluster's members from which a feature joins it."""
DRAWS = 200
"""Draws of every null and every interval."""


class Likeness(NamedTuple):
    """How alike features are: of one head, or in what does not depend on the head."""

    mechanism: Indices  # [feature], index into MECHANISMS, -1 for none
    similar: Numbers  # [feature, feature], of content: up to the weight
    weight: float  # of the parts of content that are there

    def of(self, rows: Indices) -> "Likeness":
        """That of some features."""
        return Likeness(self.mechanism[rows], self.similar[np.ix_(rows, rows)], self.weight)


def shared(families: list[str | None], words: list[set[str]]) -> Likeness:
    """What families and the words of titles say, the same for every head of a layer.

    Args:
        families: of each feature.
        words: of each feature's title.
    """
    known = sorted({family for family in families if family})
    vocabulary = sorted(set().union(*words)) if words else []
    place = {word: number for number, word in enumerate(vocabulary)}
    by_word = np.zeros((len(words), len(vocabulary)))
    for row, own in zip(by_word, words, strict=True):
        row[[place[word] for word in own]] = 1.0
    by_family = np.array([[family == one for one in known] for family in families], float)
    by_family = by_family.reshape(len(families), len(known))
    similar, weight = np.zeros((len(families), len(families))), 0.0
    for size, part in ((WORDS, by_word), (FAMILY, by_family)):
        if part.any():
            similar += size * _unit(part) @ _unit(part).T
            weight += size
    mechanism = [MECHANISMS.index(one) if one in MECHANISMS else -1 for one in families]
    return Likeness(np.array(mechanism, np.int64), similar, weight)


def likeness(directions: Numbers, known: Likeness) -> Likeness:
    """How alike the features of one head are, up to 1.

    Args:
        directions: `[feature, d_head]`, decoder rows within the head.
        known: their other traits.
    """
    own = _unit(directions)
    weight = known.weight + DIRECTION * bool(directions.any())
    similar = (DIRECTION * own @ own.T + known.similar) / max(weight, 1e-12)
    return Likeness(known.mechanism, similar, 1.0)


def clusters(found: Likeness) -> Indices:
    """Cluster of each feature, `[feature]`, numbered in the order in which they come up.

    One cluster per mechanism; every other feature, in order, joins the cluster to whose members it
    is most similar on average, or begins one.
    """
    count = len(found.mechanism)
    number, sizes = np.zeros(count, np.int64), np.zeros(count)
    sums = np.zeros((count, count))  # [cluster, feature], similarity to its members
    by_mechanism: dict[int, int] = {}
    free: list[int] = []  # clusters by content
    made = 0
    for row, mechanism in enumerate(found.mechanism.tolist()):
        if mechanism >= 0:
            one = by_mechanism.setdefault(mechanism, made)
        else:
            means = sums[free, row] / sizes[free]
            joins = len(means) > 0 and means.max() >= JOIN
            one = free[int(means.argmax())] if joins else made
            free += [] if joins else [one]
        made = max(made, one + 1)
        sums[one] += found.similar[row]
        sizes[one] += 1
        number[row] = one
    return number


def sameness(found: Likeness) -> Numbers:
    """`[feature, feature]`: 1 within a mechanism, 0 between two, else the similarity of content."""
    mechanism = found.mechanism
    told = (mechanism[:, None] >= 0) | (mechanism >= 0)
    within = (mechanism[:, None] == mechanism).astype(float)
    same: Numbers = np.where(told, within, found.similar.clip(0, 1))
    return same


def cohesion(same: Numbers, rows: Indices) -> float:
    """Mean sameness over all pairs of different features among `rows`."""
    pairs = same[np.ix_(rows, rows)]
    apart = rows[:, None] != rows
    return float(pairs[apart].mean()) if apart.any() else 1.0


class Cohesion(NamedTuple):
    """How alike the top features of a head are, against chance."""

    value: float
    low: float  # 95 % bootstrap interval over the features
    high: float
    null: float  # mean over draws of as many of the layer's features: shares shuffled
    null_high: float  # 95th percentile of these
    p: float  # share of the draws that are as cohesive


def against_chance(same: Numbers, top: Indices, rng: np.random.Generator) -> Cohesion:
    """Cohesion of the features `top` of `[feature, feature]`, all live features of the layer."""
    drawn = [rng.choice(top, len(top)) for _ in range(DRAWS)]
    boot = [cohesion(same, rows) for rows in drawn]
    chance = [cohesion(same, rng.choice(len(same), len(top), replace=False)) for _ in range(DRAWS)]
    value = cohesion(same, top)
    p = (1 + sum(one >= value for one in chance)) / (1 + DRAWS)
    low, high = np.quantile(boot, (0.025, 0.975))
    return Cohesion(
        value, float(low), float(high), float(np.mean(chance)), float(np.quantile(chance, 0.95)), p
    )


class Needed(NamedTuple):
    """How many clusters carry a share of a head's mass; None where they do not reach it."""

    clusters: int | None
    low: int | None  # 95 % interval: firings counted again, as Poisson draws
    high: int | None


def needed(
    number: Indices,
    mass: Numbers,
    firings: Indices,
    total: float,
    share: float,
    rng: np.random.Generator,
) -> Needed:
    """Clusters, largest first, that carry `share` of `total`.

    Args:
        number: `[feature]`, cluster of each.
        mass: `[feature]`, proportional to its firings.
        firings: `[feature]`, what its mass was counted on.
        total: mass of these features and of those that were not clustered.
        share: 0 to 1.
        rng: draws the firings again.
    """

    def count(weights: Numbers, whole: float) -> int | None:
        sums = np.sort(np.bincount(number, weights))[::-1].cumsum()
        reached = np.nonzero(sums >= share * whole)[0]
        return int(reached[0]) + 1 if len(reached) else None

    found = count(mass, total)
    if found is None:
        return Needed(None, None, None)
    rest, drawn = total - mass.sum(), []
    for _ in range(DRAWS):
        weights = mass * rng.poisson(firings) / np.maximum(firings, 1)
        one = count(weights, weights.sum() + rest)
        drawn += [] if one is None else [one]
    low, high = (int(x) for x in np.quantile(drawn or [found], (0.025, 0.975)).round())
    return Needed(found, low, high)


def _unit(rows: Numbers) -> Numbers:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Numbers = rows / np.maximum(norms, 1e-12)
    return unit
