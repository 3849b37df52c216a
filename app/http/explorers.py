"""The model that prompts are run through: one in memory, prompts in turn, and only so many wait."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from atlas.api import Atlas
from atlas.errors import Busy

if TYPE_CHECKING:
    from atlas.prompt import Explorer

T = TypeVar("T")
Key = tuple[str, ...]


class Explorers:
    """Explorers of prompts, opened when first asked for. Threads may share one.

    What a prompt may cost is bounded by its size; a client besides waits no longer than `seconds`,
    while its work is done or given up before it begins.
    """

    def __init__(self, seconds: float, waiting: int) -> None:
        """Load nothing yet.

        Args:
            seconds: how long a client waits for its answer.
            waiting: prompts that may wait for the one that is run.
        """
        self.seconds, self.waiting = seconds, waiting
        self._turns = ThreadPoolExecutor(1, "prompts")
        self._places = threading.BoundedSemaphore(waiting + 1)
        self._key: Key = ()
        self._explorer: Explorer | None = None

    @property
    def loaded(self) -> str | None:
        """Id of the model in memory."""
        return self._key[0] if self._explorer is not None else None

    def run(self, atlas: Atlas, model: str | None, ask: Callable[["Explorer"], T]) -> T:
        """The answer of a model's explorer, loaded first where another one is in memory.

        Args:
            atlas: the snapshot whose SAEs the prompt is seen through.
            model: id of the model; None where the atlas has SAEs of one only.
            ask: what is asked of the explorer.

        Raises:
            Busy: too many wait, or the answer takes too long.
            NotFound, ModelError: as `Atlas.explorer`.
            AtlasError: whatever `ask` raises.
        """
        if not self._places.acquire(blocking=False):
            raise Busy("too many prompts are waiting", "try again in a moment")
        answer = self._turns.submit(self._answer, atlas, model, ask)
        answer.add_done_callback(lambda _: self._places.release())
        try:
            return answer.result(self.seconds)
        except TimeoutError:
            answer.cancel()
            raise Busy(
                f"no answer within {self.seconds:g} s",
                "the model may still be loading: try again in a moment, or with a shorter prompt",
            ) from None

    def close(self) -> None:
        """Give up what waits; what is being run ends by itself."""
        self._turns.shutdown(wait=False, cancel_futures=True)

    def _answer(self, atlas: Atlas, model: str | None, ask: Callable[["Explorer"], T]) -> T:
        key = _key(atlas, model)
        if self._explorer is None or key != self._key:
            self._explorer = None  # its memory is free before the next model is loaded
            self._explorer, self._key = atlas.explorer(model), key
        return ask(self._explorer)


def _key(atlas: Atlas, model: str | None) -> Key:
    """The model and the weights of its SAEs, which a new snapshot may leave as they were."""
    saes = [sae for sae in atlas.saes() if model in (None, sae.id.model)]
    name = model or (saes[0].id.model if saes else "")
    return (name, *(f"{sae.id} {sae.weights_sha256}" for sae in saes))
