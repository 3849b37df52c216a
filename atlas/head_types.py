"""What features and weights say of a head: machine roles, polysemanticity, composition."""

from dataclasses import dataclass

from atlas.ids import FeatureId, HeadId, SaeId
from atlas.types import Interval


@dataclass(frozen=True, slots=True)
class RoleLink:
    """One thing that a machine claim rests on."""

    kind: str
    """target (a feature) or metric (of the head)."""
    target: str
    ref: str
    """For a metric its name, else empty."""
    sentence: str


@dataclass(frozen=True, slots=True)
class MachineRole:
    """A machine's claim of what a head does, from one cluster of its top features."""

    sae: SaeId
    by: str
    k: int
    """How many top features were clustered."""
    role: str
    """In the vocabulary of people's claims."""
    family: str | None
    words: tuple[str, ...]
    features: tuple[FeatureId, ...]
    share: float
    """Their part of the sum of the top features' shares."""
    cohesion: float
    evidence: tuple[RoleLink, ...]


@dataclass(frozen=True, slots=True)
class MassNeed:
    """How many clusters carry a share of a head's mass."""

    mass: float
    clusters: int | None
    """None where the features that were clustered do not reach it."""
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Polysemanticity:
    """Whether the top features of a head, or all by mass, are one thing."""

    sae: SaeId
    by: str
    """weights, measured, or mass."""
    k: int
    clusters: int
    largest: float
    """Share of the features (by mass: of the mass) in the largest cluster."""
    one_thing: bool | None
    cohesion: float | None
    interval: Interval | None
    chance: float | None
    """Mean cohesion with shares shuffled over the layer's features."""
    p: float | None
    """Share of such draws that are at least as cohesive."""
    needed: tuple[MassNeed, ...]
    covered: float | None
    """Share of the head's mass in the clustered features."""


@dataclass(frozen=True, slots=True)
class HeadRoles:
    """What the study of roles says of one head; empty where it was not run."""

    id: HeadId
    run: str | None
    """The run that says it."""
    roles: tuple[MachineRole, ...]
    polysemanticity: tuple[Polysemanticity, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """How strongly one head's output reaches what a later head reads, by weights."""

    head: HeadId
    later: HeadId
    kind: str
    """q, k or v."""
    score: float


@dataclass(frozen=True, slots=True)
class HeadComposition:
    """The heads that compose most with a head, strongest first for each of q, k and v."""

    id: HeadId
    chance: float
    """About what heads score that have nothing to do with each other: 1 / sqrt(d_model)."""
    earlier: tuple[Edge, ...]
    later: tuple[Edge, ...]
    said: tuple[str, ...]
    """What must be known of the scores."""
