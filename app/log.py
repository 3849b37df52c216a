"""A run as log lines for machines: one JSON object per interval."""

import json
from collections.abc import Callable

from atlas.progress import Progress
from atlas.wire import plain


class JsonLines:
    """Writes a line at every new stage, at its end and every few seconds in between."""

    def __init__(self, write: Callable[[str], object], seconds: float = 10.0) -> None:
        self._write, self._seconds = write, seconds
        self._stage, self._told_at = "", 0.0

    def __call__(self, now: Progress) -> None:
        at = now.updated_at.timestamp()
        ends = now.state != "running" or now.done >= now.total > 0
        if now.stage != self._stage or ends or at - self._told_at >= self._seconds:
            self._stage, self._told_at = now.stage, at
            self._write(json.dumps(plain(now)) + "\n")
