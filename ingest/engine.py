"""Who does the units of a job: this process, or the workers of a Dask cluster.

An engine holds no state that matters. Units leave their results on disk under a name of their
own, so a driver that is started again plans only what is missing.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any, NamedTuple, Protocol

from atlas.errors import AtlasError, ConfigError, StoreError
from ingest.config import EnginePart

TRIES = 3
"""Times a unit is tried before it is given up."""
Work = Callable[[], None]
_OF_THE_UNIT = (ArithmeticError, LookupError, RuntimeError, ValueError, AssertionError)
"""What a unit raises that cannot be computed; a full disk or a bad setting is everybody's."""


class Done(NamedTuple):
    """A unit that came to an end."""

    name: str
    error: str | None
    """Why it failed; None for a unit that is done."""


class Engine(Protocol):
    """What a job asks of an engine."""

    elsewhere: bool
    """Whether units run in other processes: their work must then be picklable."""

    def submit(self, name: str, work: Work) -> None:
        """Take a unit on. A name may be used again once its unit has ended."""

    def as_completed(self) -> Iterator[Done]:
        """Units as they end, those submitted meanwhile too, until none is left."""

    def cancel(self) -> None:
        """Begin no further unit."""

    def close(self) -> None:
        """Give back what the engine holds."""


def run_all(
    engine: Engine, units: Mapping[str, Work], finished: Callable[[str], None]
) -> dict[str, str]:
    """Run units, each up to TRIES times; gives those that failed, with the last reason.

    Args:
        engine: who runs them.
        units: name to work.
        finished: told the name of each unit that is done.
    """
    tries: Counter[str] = Counter()
    failed: dict[str, str] = {}
    for name, work in units.items():
        engine.submit(name, work)
    try:
        for name, error in engine.as_completed():
            tries[name] += 1
            if error is None:
                finished(name)
            elif tries[name] < TRIES:
                engine.submit(name, units[name])
            else:
                failed[name] = error
    except BaseException:
        engine.cancel()
        raise
    return failed


def open_engine(part: EnginePart) -> AbstractContextManager[Engine]:
    """The engine of a job, closed at the end.

    Raises:
        ConfigError: Dask is asked for and not installed.
        StoreError: its scheduler cannot be reached.
    """
    return closing(_Local() if part.kind == "local" else _dask(part))


class _Local:
    """One unit after the other, in this process."""

    elsewhere = False

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Work]] = deque()

    def submit(self, name: str, work: Work) -> None:
        self._waiting.append((name, work))

    def as_completed(self) -> Iterator[Done]:
        while self._waiting:
            name, work = self._waiting.popleft()
            try:
                work()
            except _OF_THE_UNIT as error:
                yield Done(name, _reason(error))
            else:
                yield Done(name, None)

    def cancel(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        self.cancel()


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _dask(part: EnginePart) -> "_Dask":
    try:
        import distributed  # noqa: PLC0415 (an extra, and a second to import)
    except ImportError as error:
        raise ConfigError(
            "engine.kind = 'dask' needs Dask, which is not installed",
            "install the extra 'cluster', or use engine.kind = 'local'",
        ) from error
    try:
        if part.scheduler:
            return _Dask(distributed.Client(part.scheduler, timeout="5s", set_as_default=False))
        cluster = distributed.LocalCluster(
            n_workers=part.workers, threads_per_worker=1, processes=True, dashboard_address=None
        )
        return _Dask(distributed.Client(cluster, set_as_default=False), cluster)
    except (OSError, TimeoutError, ValueError) as error:
        raise StoreError(
            f"no Dask scheduler answers at {part.scheduler or 'this machine'}: {_reason(error)}",
            "start one with `dask scheduler`, and workers that see the same store",
        ) from error


class _Dask:
    """The workers of a Dask cluster, all of which see the same store."""

    elsewhere = True

    def __init__(self, client: Any, cluster: Any = None) -> None:
        self._client, self._cluster = client, cluster
        self._futures: dict[Any, str] = {}
        self._ended: Any = None

    def submit(self, name: str, work: Work) -> None:
        future = self._client.submit(work, pure=False)
        self._futures[future] = name
        if self._ended is not None:
            self._ended.add(future)

    def as_completed(self) -> Iterator[Done]:
        from distributed import as_completed  # noqa: PLC0415

        self._ended = as_completed(list(self._futures), loop=self._client.loop)
        for future in self._ended:
            name = self._futures.pop(future)
            if future.status == "finished":
                yield Done(name, None)
            elif future.status == "error":
                error = future.exception()
                if isinstance(error, AtlasError | OSError):
                    raise error
                yield Done(name, _reason(error))
            else:
                raise StoreError(
                    f"the Dask scheduler is gone while {name} was going on",
                    "start it again and give the same command: what is done is kept",
                )
        self._ended = None

    def cancel(self) -> None:
        self._client.cancel(list(self._futures))
        self._futures.clear()

    def close(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
