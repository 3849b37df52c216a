"""How long to wait before a request may be sent, as a server's headers say or with back-off."""

import asyncio
import random
import re
from collections.abc import Callable, Mapping

LONGEST = 120.0
"""Seconds that are waited at most, whatever a server says."""
_PART = re.compile(r"([0-9.]+)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float | None:
    """Seconds that a reset header means: `1.5`, `20ms`, `6m0s`; None for what is no duration."""
    try:
        return max(0.0, float(text))
    except ValueError:
        parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def told_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a refused request was told to wait: Retry-After first, then limits."""
    after = _number(headers.get("retry-after-ms"))
    if after is not None:
        return after / 1000
    after = seconds_of(headers.get("retry-after", ""))
    return after if after is not None else exhausted_for(headers)


def exhausted_for(headers: Mapping[str, str]) -> float | None:
    """Seconds until a limit that has nothing left is reset; None where none is exhausted."""
    waits = [
        seconds_of(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if _number(headers.get(f"x-ratelimit-remaining-{what}")) == 0
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


class Gate:
    """Holds all requests back while the server asks for a pause."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock, self._rng, self._opens = clock, rng, 0.0

    async def passed(self) -> None:
        """Return when no pause is on."""
        while (left := self._opens - self._clock()) > 0:
            await asyncio.sleep(left)

    def pause(self, seconds: float) -> None:
        """Nobody sends for so long."""
        self._opens = max(self._opens, self._clock() + min(seconds, LONGEST))

    def back_off(self, attempt: int) -> float:
        """Seconds after try number `attempt`, from 1: half a second doubled each time, jittered."""
        return min(LONGEST, 0.5 * 2.0 ** (attempt - 1)) * (0.5 + self._rng.random() / 2)
