"""What a search means as a vector, where an embedding model is set; else why there is none."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from atlas import embed
from atlas.embed import Embedder
from atlas.errors import ConfigError, LabelError
from atlas.store.meaning import Wanted

_KEPT = 512
_PAUSE = 30.0
"""Seconds in which an endpoint that failed is not asked again."""
_PATIENCE = 5.0
"""Seconds that a search waits for the endpoint."""


def from_environment() -> Embedder | None:
    """The embedder that the environment names, asked with little patience; None without one.

    Raises:
        ConfigError: the settings do not fit together, or the package `openai` is missing.
    """
    found = embed.settings()
    return embed.open_embedder(replace(found, seconds=_PATIENCE)) if found else None


class Meaning:
    """Embeds what people search for; the last texts stay in memory. Threads may share one."""

    def __init__(
        self,
        opened: Callable[[], Embedder | None] = from_environment,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open, self._clock = opened, clock
        self._known: OrderedDict[str, Wanted] = OrderedDict()
        self._embedder: Embedder | None = None
        self._failure: tuple[float, str] = (0.0, "")
        self._lock = threading.Lock()

    def of(self, text: str) -> Wanted | str:
        """The vector of a text, or the reason why it has none."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
            until, reason = self._failure
            if reason and self._clock() < until:
                return reason
            try:
                found = self._embedded(text)
            except (ConfigError, LabelError) as error:
                self._failure = (self._clock() + _PAUSE, str(error))
                return str(error)
            if isinstance(found, Wanted):
                self._known[text] = found
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return found

    def prepare(self) -> None:
        """Open the model on a thread of its own: one that runs here takes seconds to load.

        A search that comes earlier waits for it.
        """
        threading.Thread(target=self.of, args=("ready",), daemon=True).start()

    def _embedded(self, text: str) -> Wanted | str:
        self._embedder = self._embedder or self._open()
        if self._embedder is None:
            return (
                "no embedding model is set: ATLAS_EMBED_MODEL names one, see `atlas embed --help`"
            )
        (vector,) = self._embedder.embed([text])
        return Wanted(self._embedder.model, vector)
