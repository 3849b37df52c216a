"""What a test of a hypothesis gives."""

from dataclasses import dataclass

from atlas.ids import FeatureId
from atlas.types import Interval


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something held."""

    held: int
    n: int
    share: float | None
    """held / n; None where n is 0."""
    interval: Interval | None
    """95 % Wilson interval of the share."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One place where the hypothesis and the feature disagree."""

    feature: FeatureId
    ctx: int
    pos: int
    source: int | None
    """Position of the strongest source; None at a place without attribution."""
    token: str
    source_token: str | None
    head: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A hypothesis about one feature, or about several together."""

    target: str
    features: int
    density: float
    """Share of tokens on which a feature fires, the mean over features."""
    recall: Rate
    """Of firings drawn at random, where the measured source makes it hold; of all kept firings
    where none were drawn at random."""
    by_kind: dict[str, Rate]
    """The same by kind of example: top, interval, random."""
    chance: float | None
    """Of the same firings, the mean share of the sources at or before each, and of heads, that
    would make it hold: recall if any of them were as likely to give most. None for a hypothesis
    that does not speak of sources."""
    anywhere: Rate
    """Of the same firings as recall: those where some earlier token and head would make it hold;
    the same as recall for a hypothesis that does not speak of sources."""
    alarms: Rate
    """Of places without firing in the same contexts: those where it holds of some earlier token
    and head. Sources are not measured there: what it says of them is tested as far as text can."""
    near_misses: Rate
    """Of stored near misses: those where their measured source makes it hold."""
    precision: float | None
    """Share of firings among the tokens where it holds of some earlier token and head: from
    anywhere, alarms and density, so both sides are judged by the same rule. None where there
    was no alarm: the interval then says how few places were looked at."""
    precision_interval: Interval | None
    """From the ends of the intervals of anywhere and alarms, so rather too wide than too narrow."""
    lift: float | None
    """precision / density: how much likelier a firing is where it holds."""
    lift_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Trial:
    """A hypothesis tested against stored firings and places without them."""

    hypothesis: str
    target: str
    snapshot: str
    seed: int
    of_source: bool
    """Whether it speaks of sources, which are measured at firings only."""
    candidates: int
    """Live features of the target with kept firings."""
    pooled: Verdict
    """All tested features together."""
    verdicts: tuple[Verdict, ...]
    """Feature by feature, largest lower end of lift first; the pooled one is not among them."""
    missed: tuple[Instance, ...]
    """Some firings of which it does not hold."""
    alarmed: tuple[Instance, ...]
    """Some places without firing where it does."""
