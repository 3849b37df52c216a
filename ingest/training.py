"""The stage of a job that trains: groups of layers are planned, done, and told of."""

import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple

from atlas import record
from atlas.errors import BundleError
from atlas.model import LanguageModel
from atlas.progress import Reporter
from ingest import engine as engines
from ingest.config import Job
from ingest.corpus import Contexts, Corpus
from ingest.elsewhere import Where
from ingest.engine import Engine
from ingest.pace import Pace
from ingest.run import Work
from ingest.train import groups
from ingest.train.groups import Fitted, Group, Told
from ingest.train.loop import Figures
from ingest.train.state import clear_drafts

LOOK = 5.0
"""Seconds between looks at what workers have written of their training."""


class Training(NamedTuple):
    """What is to be trained."""

    job: Job
    work: Work
    model: LanguageModel
    contexts: Contexts
    groups: list[Group]

    @property
    def tokens(self) -> int:
        """Trained on by each group."""
        return groups.steps_of(self.job) * self.job.train.batch


def train_saes(
    job: Job, work: Work, model: LanguageModel, corpus: Corpus, engine: Engine
) -> Fitted:
    """Train all SAEs of a job, going on where an earlier try stopped.

    Raises:
        CorpusError: there is too little text.
        BundleError: a group failed again and again; names it.
    """
    contexts = corpus.train
    groups.buffers_of(job, contexts)  # too little text is refused before anything begins
    planned = groups.plan(job, work.scratch, model.info.weights_sha256)
    training = Training(job, work, model, contexts, planned)
    missing = [group for group in planned if not groups.is_done(job, group)]
    clear_drafts(work.scratch)
    work.reporter.stage("train", training.tokens * len(planned), "tokens")
    work.reporter.resume(training.tokens * (len(planned) - len(missing)))
    units, told = (_elsewhere if engine.elsewhere else _here)(training, missing)
    with told:
        failed = engines.run_all(engine, units, lambda _: None)
    if failed:
        said = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
        many = f"{len(failed)} of {len(planned)}"
        raise BundleError(
            f"{many} groups of layers failed {engines.TRIES} times: {said}",
            "mend the cause and give the same command again: all others are done",
        )
    return groups.collect(job, model, contexts, planned, work.folder)


Units = tuple[dict[str, engines.Work], AbstractContextManager[None]]
"""Work by name, and what is told of it meanwhile."""


def _here(training: Training, missing: list[Group]) -> Units:
    telling = _Telling(training, len(missing))
    done = len(training.groups) - len(missing)
    units: dict[str, engines.Work] = {}
    for before, group in enumerate(missing, done):
        told = Told(telling.harvested, partial(telling.stepped, before * training.tokens))
        units[group.name] = partial(_run, training, group, told)
    return units, nullcontext()


def _run(training: Training, group: Group, told: Told) -> None:
    job, work, model, contexts, _ = training
    groups.run(job, model, contexts, group, work.folder, told)


class _Telling:
    """Tells of trainings in this process, one after the other."""

    def __init__(self, training: Training, count: int) -> None:
        self._reporter, self._batch = training.work.reporter, training.job.train.batch
        self._pace = _pace(training, count)
        self._read = 0
        self._group = -1

    def harvested(self, tokens: int) -> None:
        self._read += tokens
        self._pace.read(tokens)
        more = {} if self._pace.sees_steps else {"reading": self._pace.read_rate}
        self._reporter.advance(0, self._pace.left, read=self._read, **more)

    def stepped(self, before: int, figures: Figures) -> None:
        """A step was taken; groups before this one were trained on `before` tokens."""
        done = before + figures.tokens
        if self._group != before:  # this group's first step in this process
            self._group = before
            self._reporter.resume(done - self._batch)
        self._pace.stepped(self._batch, done)
        shown = {"fvu": figures.fvu, "l0": figures.l0, "dead": figures.dead, "reading": None}
        self._reporter.advance(self._batch, self._pace.left, **shown)


def _pace(training: Training, count: int) -> Pace:
    """The pace of `count` groups, each of which reads the text for itself."""
    job, contexts = training.job, training.contexts
    size = groups.buffers_of(job, contexts).contexts
    scored = groups.scored_tokens(job, contexts)
    uses = scored * job.train.repeats * size / len(contexts.tokens)  # of one buffer
    to_read = math.ceil(training.tokens / uses) * size * job.corpus.context_length
    every = len(training.groups) * training.tokens
    return Pace(to_read * count, every, training.work.reporter.clock)


def _elsewhere(training: Training, missing: list[Group]) -> Units:
    where = Where(training.job.model_dump_json(), str(training.work.folder.resolve()))
    units: dict[str, engines.Work] = {
        group.name: partial(groups.run_elsewhere, where, group) for group in missing
    }
    return units, _watched(training)


@contextmanager
def _watched(training: Training) -> Iterator[None]:
    """Tells now and then what workers have written of their training."""
    stop, seen = threading.Event(), _Seen(training)

    def watch() -> None:
        while not stop.wait(LOOK):
            with suppress(OSError):  # the next look makes up for it
                seen.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    seen.look()


class _Seen:
    """How far the curves of all groups were at the last look."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._tokens = self._now()[0]
        training.work.reporter.resume(self._tokens)

    def look(self) -> None:
        tokens, figures = self._now()
        reporter: Reporter = self._training.work.reporter
        reporter.advance(tokens - self._tokens, **figures)
        self._tokens = tokens

    def _now(self) -> tuple[int, dict[str, Any]]:
        curve = record.read_curve(self._training.work.folder)
        last = {point.layer: point for point in curve}  # they are by layer, then step
        tokens = [
            last[one.layers[0]].tokens for one in self._training.groups if one.layers[0] in last
        ]
        found = [last[layer] for layer in self._training.job.sae.layers if layer in last]
        names = ("fvu", "l0", "dead") if found else ()
        return sum(tokens), {name: tuple(getattr(one, name) for one in found) for name in names}
