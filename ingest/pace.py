"""How long training goes on: two kinds of work, reading text and taking steps, each at its rate."""

from collections.abc import Callable


class Pace:
    """Times what was just done by the clock, and from that what is left."""

    def __init__(self, to_read: float, steps: float, clock: Callable[[], float]) -> None:
        """Begin.

        Args:
            to_read: tokens that the model reads in the whole training.
            steps: tokens that are trained on in the whole training.
            clock: seconds.
        """
        self._to_read, self._steps, self._clock = to_read, steps, clock
        self._begun = clock()
        self._reading = self._stepping = 0.0
        self._read = self._done = 0.0
        self._before: float | None = None

    @property
    def read_rate(self) -> float:
        """Tokens that the model reads per second of reading."""
        return self._read / max(self._reading, 1e-9)

    @property
    def sees_steps(self) -> bool:
        """Whether a step was timed, so that `left` holds both kinds of work."""
        return self._done > 0

    def read(self, tokens: float) -> None:
        """The model has just read so many tokens."""
        self._reading += self._lap()
        self._read += tokens

    def stepped(self, tokens: float, done: float) -> None:
        """A step on so many tokens was just taken; `done` were trained on in all runs together."""
        self._stepping += self._lap()
        self._done += tokens
        if self._before is None:
            self._before = done - tokens

    def _lap(self) -> float:
        before, self._begun = self._begun, self._clock()
        return self._begun - before

    @property
    def left(self) -> float | None:
        """Seconds to go; None before anything was timed. Only reading while `sees_steps` is not."""
        if not self._read:
            return None
        open_steps = self._steps - (self._before or 0.0)
        reads = max(self._to_read * open_steps / self._steps - self._read, 0.0)
        left = reads / max(self.read_rate, 1e-9)
        if not self.sees_steps:
            return left
        return left + (open_steps - self._done) * self._stepping / self._done
