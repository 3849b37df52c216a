"""What is known of labels beside their words: judgements, failures, methods compared, reviews."""

from dataclasses import dataclass
from typing import Literal

from atlas.ids import FeatureId
from atlas.types import FeatureRow, Interval

ReviewReason = Literal["disagree", "weak_label", "contradicted", "disputed", "failed", "unscored"]
"""Why a feature waits for a person:

disagree      its weights and its measurement name different heads
weak_label    what its title says is recognised little better than by chance
contradicted  the sources measured on held-back examples are not those that its label names
disputed      more people reject a label of it than agree
failed        a labeller gave up on it
unscored      a language model's title was never scored
"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One place that a judge was asked about."""

    kind: str
    """Where it comes from: an example's kind, or silent, near_miss, neighbour, random."""
    ctx: int | None
    """The context in this snapshot; None when it is no longer kept."""
    doc: str
    start: int
    """Tokens of the document before the context."""
    pos: int
    token: str
    act: float
    """Activation there; 0 where it does not fire."""
    decile: int | None
    """Tenth of the feature's activations, 0 the weakest; None where it does not fire."""
    fires: bool
    said: float
    """What the judge said: 1 fires, 0 does not; for simulation the strength, 0 to 9."""


@dataclass(frozen=True, slots=True)
class JudgedScore:
    """All judgements behind one score."""

    method: str
    model: str | None
    prompt: str | None
    scorer: str
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class LabelFailure:
    """A step that a labeller could not do for a feature; it is tried again by the next run."""

    method: str
    model: str | None
    prompt: str | None
    step: str
    """explain, or a scorer."""
    reason: str


@dataclass(frozen=True, slots=True)
class LabelMethod:
    """How one way of labelling does by one scorer, over all features that it scored."""

    method: str
    model: str | None
    prompt: str | None
    scorer: str
    features: int
    """Features with this score."""
    mean: float
    interval: Interval | None
    """95 % interval of the mean over features; None for a single one."""
    common: int
    """Features that every method has this score of."""
    common_mean: float | None
    """Mean over those alone, which makes methods comparable."""
    labelled: int
    """Features with a title by this method."""
    failures: int
    """Features where this scorer, or the explanation before it, failed."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A feature that waits for a person."""

    row: FeatureRow
    reasons: tuple[ReviewReason, ...]
    urgency: float
    """Sum of what the reasons weigh; larger first."""


@dataclass(frozen=True, slots=True)
class ToEmbed:
    """A label that has no vector yet."""

    feature: FeatureId
    text: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A feature in the order of labelling."""

    feature: FeatureId
    worth: float
