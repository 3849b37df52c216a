"""The way a reader took through a prompt: what was looked at before, so that a link leads back."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from atlas.errors import QueryError
from atlas.ids import FeatureId, parse_feature

_STOP = re.compile(r"([^:,]+):(\d{1,6})(?::(\d{1,6}))?")
_MOST = 20


class Stop(NamedTuple):
    """A feature at a position of the prompt, and the source that was looked at there."""

    feature: FeatureId
    pos: int
    src: int | None = None

    def __str__(self) -> str:
        parts = [self.feature, self.pos] if self.src is None else self
        return ":".join(map(str, parts))


@dataclass(frozen=True, slots=True)
class Trail:
    """Stops in the order of the visit, as `gpt2/5-att-kk/123:7:2,gpt2/3-att-kk/4:2` in a URL."""

    stops: tuple[Stop, ...] = ()

    def __str__(self) -> str:
        return ",".join(map(str, self.stops))

    def then(self, stop: Stop) -> "Trail":
        """One stop more; the oldest is forgotten when there are too many."""
        return Trail((*self.stops, stop)[-_MOST:])


def parse_trail(text: str) -> Trail:
    """The trail that a URL spells.

    Raises:
        QueryError: it is none.
        NotFound: a feature in it has not the form of one.
    """
    parts = text.split(",") if text else []
    if len(parts) > _MOST:
        raise QueryError(f"a trail of {len(parts)} stops", f"at most {_MOST} are kept")
    return Trail(tuple(map(_stop, parts)))


def _stop(text: str) -> Stop:
    found = _STOP.fullmatch(text)
    if found is None:
        raise QueryError(f"not a stop of a trail: {text[:60]!r}", "it looks like gpt2/5-att/1:7:2")
    name, pos, src = found.groups()
    return Stop(parse_feature(name), int(pos), None if src is None else int(src))
