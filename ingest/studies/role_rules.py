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


class Traits(NamedTuple):
    """What features of one head are compared by."""

    mechanism: Indices  # [feature], index into MECHANISMS, -1 for none
    content: Numbers  # [feature, trait]; products of rows are similarities, up to 1

    def of(self, rows: Indices) -> "Traits":
        """The traits of some features."""
        return Traits(self.mechanism[rows], self.content[rows])


class Shared(NamedTuple):
    """Traits that features have whatever the head: computed once per SAE."""

    mechanism: Indices  # [feature]
    content: Numbers  # [feature, trait], weighted
    similar: Numbers  # [feature, feature], products of its rows
    weight: float  # of the parts that are there


def shared(families: list[str | None], words: list[set[str]]) -> Shared:
    """What families and the words of titles say of features.

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
    parts = [(weight, part) for weight, part in ((WORDS, by_word), (FAMILY, by_family))
             if part.any()]  # fmt: skip
    none = np.zeros((len(families), 0))
    content = np.concatenate([none, *(np.sqrt(weight) * _unit(part) for weight, part in parts)], 1)
    mechanism = [MECHANISMS.index(one) if one in MECHANISMS else -1 for one in families]
    total = sum(weight for weight, _ in parts)
    return Shared(np.array(mechanism, np.int64), content, content @ content.T, total)


def traits(directions: Numbers, known: Shared) -> Traits:
    """Traits of features, the direction of their decoder rows within the head among them.

    Args:
        directions: `[feature, d_head]`, decoder rows within the head.
        known: their other traits.
    """
    own = np.sqrt(DIRECTION) * _unit(directions)
    total = known.weight + DIRECTION * bool(directions.any())
    content = np.concatenate([own, known.content], 1) / np.sqrt(max(total, 1e-12))
    return Traits(known.mechanism, content)


def clusters(found: Traits) -> Indices:
    """Cluster of each feature, `[feature]`, numbered in the order in which they come up.

    One cluster per mechanism; every other feature, in order, joins the cluster to whose members it
    is most similar on average, or begins one.
    """
    number = np.zeros(len(found.mechanism), np.int64)
    sums, sizes = np.zeros(found.content.shape), np.zeros(len(number))
    by_mechanism: dict[int, int] = {}
    free: list[int] = []  # clusters by content
    made = 0
    for row, (mechanism, content) in enumerate(zip(*found, strict=True)):
        if mechanism >= 0:
            one = by_mechanism.setdefault(int(mechanism), made)
        else:
            means = (sums[:made] @ content / np.maximum(sizes[:made], 1))[free]
            joins = len(means) > 0 and means.max() >= JOIN
            one = free[int(means.argmax())] if joins else made
            free += [] if joins else [one]
        made = max(made, one + 1)
        sums[one] += content
        sizes[one] += 1
        number[row] = one
    return number


def sameness(directions: Numbers, known: Shared) -> Numbers:
    """`[feature, feature]`: 1 within a mechanism, 0 between two, else the similarity of content.

    Args:
        directions: `[feature, d_head]`, decoder rows within the head.
        known: the other traits.
    """
    own = _unit(directions)
    total = known.weight + DIRECTION * bool(directions.any())
    similar = (DIRECTION * own @ own.T + known.similar) / max(total, 1e-12)
    mechanism = known.mechanism
    told = (mechanism[:, None] >= 0) | (mechanism >= 0)
    same: Numbers = np.where(
        told, (mechanism[:, None] == mechanism).astype(float), similar.clip(0, 1)
    )
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
