"""A labelling run from settings to a sealed bundle: the table of contents.

Everything that a call gave is in the run's journal, so the same command after any end asks for
nothing that it has already; a run may be given more features later and keeps those it has.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from atlas import progress
from atlas.api import Atlas
from atlas.bundle import MANIFEST, Bundle
from atlas.embed import NO_KEY
from atlas.errors import AtlasError, ConfigError, StoreError
from atlas.ids import FeatureId, SaeId
from atlas.types import Context, Feature, Sae
from ingest.label import explain
from ingest.label.budget import Purse, Spent
from ingest.label.client import Client, Failed
from ingest.label.count import TokenCounter
from ingest.label.journal import Journal
from ingest.label.places import Split, split
from ingest.label.prompts import prompt
from ingest.label.replies import Explanation, read
from ingest.label.rules import Rule, from_json
from ingest.label.score import Judge, Judged, LlmJudge, RuleJudge, score
from ingest.label.settings import Settings
from ingest.label.tables import RULES, Labeller, Trouble, Work, write
from ingest.lock import only_one

ELSEWHERE = 400
"""Contexts from which silent places of other texts are drawn."""
AT_ONCE = 32
"""Features under way at a time where nothing is asked of an endpoint."""


class Nothing(AtlasError):
    """Every feature that is worth a label has one."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a run did."""

    bundle: Bundle | None
    """None where not a single feature was finished."""
    features: int
    """Finished in this process."""
    left: int
    """Not reached."""
    calls: int
    """Calls answered in this process."""
    stopped: str
    """Why it stopped early; empty when it did not."""


class Source:
    """Features with the places to explain and to judge them by, from one snapshot."""

    def __init__(self, atlas: Atlas, saes: Sequence[Sae], settings: Settings) -> None:
        self.atlas, self.settings = atlas.at(), settings
        model = self.atlas.model(saes[0].id.model)
        start = model.bos_token
        self._start = None if start is None else self.atlas.vocab(model.id)[start]
        self.runs = sorted({sae.run for sae in saes})
        self._elsewhere: dict[str, tuple[Context, ...]] = {
            run: tuple(self._context(one) for one in self.atlas.random_contexts(run, ELSEWHERE))
            for run in self.runs
        }

    def read(self, name: FeatureId) -> tuple[Feature, Split]:
        """A feature and its places."""
        feature, choice = self._without_start(self.atlas.measured(name)), self.settings.choice
        nearby = self.atlas.fired_nearby(name, {one.ctx for one in feature.examples})
        elsewhere = self._elsewhere[feature.sae.run]
        return feature, split(
            feature, nearby, elsewhere, choice.shown, choice.counter, choice.firings
        )

    def _without_start(self, feature: Feature) -> Feature:
        """The feature with the token that begins every context blank: it is no text."""
        examples = [replace(one, tokens=self._blank(one.tokens)) for one in feature.examples]
        return replace(feature, examples=tuple(examples))

    def _context(self, context: Context) -> Context:
        return replace(context, tokens=self._blank(context.tokens))

    def _blank(self, tokens: tuple[str, ...]) -> tuple[str, ...]:
        return ("", *tokens[1:]) if tokens[:1] == (self._start,) else tokens


def labeller_of(settings: Settings) -> Labeller:
    """Who labels in a run with these settings."""
    if settings.endpoint is None:
        return RULES
    return Labeller(explain.METHOD, settings.endpoint.model, explain.version())


def chosen_saes(atlas: Atlas, names: Sequence[str]) -> tuple[Sae, ...]:
    """The SAEs to label: those named, else all, which must be of one model.

    Raises:
        NotFound: one is not there.
        ConfigError: they are of several models.
    """
    saes = tuple(atlas.sae(name) for name in dict.fromkeys(names)) or atlas.saes()
    models = sorted({sae.id.model for sae in saes})
    if len(models) > 1:
        raise ConfigError(
            f"the atlas has several models: {', '.join(models)}", "name SAEs of one with --sae"
        )
    return saes


def todo(
    atlas: Atlas,
    settings: Settings,
    saes: Sequence[Sae],
    limit: int | None,
    seed: int | None,
) -> list[FeatureId]:
    """Features that are not labelled and scored in full yet, the most worth first.

    With a seed they are in a random order instead: for comparing methods, since what is most
    worth a label are the features that other labels do badly on.

    Raises:
        Nothing: there is none.
    """
    names: list[SaeId] = [sae.id for sae in saes]
    found = atlas.to_label(labeller_of(settings), settings.choice.scorers, names)
    wanted = [one.feature for one in found]
    if seed is not None:
        random.Random(seed).shuffle(wanted)
    if not wanted:
        raise Nothing(
            "nothing to label: every feature that fires often enough is labelled and scored",
            "name one with --feature to do it again",
        )
    return wanted[:limit]


def chosen(
    atlas: Atlas,
    settings: Settings,
    saes: Sequence[str],
    features: Sequence[str],
    limit: int | None,
    seed: int | None = None,
) -> tuple[tuple[Sae, ...], list[FeatureId]]:
    """The SAEs and features of a run: the features named, else those with most to gain.

    A run's SAEs do not depend on which features are named, so that one more feature joins the run
    that labelled the others.

    Raises:
        NotFound, ConfigError: as `chosen_saes`; Nothing: as `todo`.
    """
    found = chosen_saes(atlas, saes)
    if not features:
        return found, todo(atlas, settings, found, limit, seed)
    named = [atlas.feature(name).id for name in features]
    for name in named:
        if name.sae not in {sae.id for sae in found}:
            raise ConfigError(f"{name} is not in the SAEs of this run", "name its SAE with --sae")
    return found, named


def run_id(settings: Settings, saes: Sequence[Sae]) -> str:
    """The run's name: the labeller's, and a hash of all that its labels depend on."""
    endpoint = settings.endpoint
    parts: list[Any] = [
        endpoint and endpoint.model,
        settings.choice.model_dump(mode="json"),
        [prompt(name).version for name in ("explain", *settings.choice.scorers)],
        sorted(sae.weights_sha256 for sae in saes),
    ]
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", endpoint.model if endpoint else "rules")
    return f"label-{slug[-40:].strip('-.')}-{sha256(json.dumps(parts).encode()).hexdigest()[:8]}"


def run_labels(
    atlas: Atlas,
    settings: Settings,
    saes: Sequence[Sae],
    features: Sequence[FeatureId],
    *,
    key: str = NO_KEY,
    salt: str = "",
    listen: progress.Listener = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Labelled:
    """Label and score features, going on where an earlier try stopped.

    Args:
        atlas: where evidence is read.
        settings: the endpoint, if any, and what is asked of it.
        saes: of the run; the features' among them.
        features: in the order in which they are done.
        key: secret of the endpoint; it is written nowhere.
        salt: another one asks again for what was answered.
        listen: told the progress.
        clock: seconds.

    Raises:
        LabelError: the endpoint cannot work; what was answered is kept.
        StoreError: the run is already going on, or the disk is full.
    """
    run = run_id(settings, saes)
    folder = atlas.store / "bundles" / run
    with only_one(folder):
        reporter = progress.Reporter(folder, run, listen, clock)
        try:
            return asyncio.run(
                _Run(atlas, settings, saes, folder, reporter, salt, clock).go(features, key)
            )
        except KeyboardInterrupt:
            reporter.end("stopped", "stopped by hand")
            raise
        except AtlasError as error:
            reporter.end("failed", str(error))
            raise
        except OSError as error:
            with suppress(OSError):
                reporter.end("failed", str(error))
            raise StoreError(
                f"run {run} cannot go on: {error.strerror or error}",
                "make room, then give the same command again: it goes on where it stopped",
            ) from error


class _Run:
    """One run in one event loop."""

    def __init__(
        self,
        atlas: Atlas,
        settings: Settings,
        saes: Sequence[Sae],
        folder: Path,
        reporter: progress.Reporter,
        salt: str,
        clock: Callable[[], float],
    ) -> None:
        self._settings, self._saes, self._folder = settings, saes, folder
        self._reporter, self._salt, self._clock = reporter, salt, clock
        self._source = Source(atlas, saes, settings)
        self._counter = TokenCounter(self._source.atlas.vocab(saes[0].id.model))
        self._journal = Journal(folder)
        self._purse = Purse(settings.budget, self._journal.tokens_in, self._journal.tokens_out)
        self._client: Client | None = None
        self._done: list[Work] = []
        self._finished, self._failed, self._stopped = 0, 0, ""

    async def go(self, features: Sequence[FeatureId], key: str) -> Labelled:
        endpoint, begun = self._settings.endpoint, self._clock()
        self._reporter.stage("label", len(features), "features")
        if endpoint is not None:
            temperature = self._settings.choice.temperature
            self._client = Client(
                endpoint, key, temperature, self._journal, self._purse, self._counter, self._salt
            )
        try:
            await self._all(iter(features), endpoint.concurrency if endpoint else AT_ONCE)
        finally:
            if self._client:
                await self._client.close()
            self._journal.close()
        bundle = self._write(self._clock() - begun)
        self._reporter.end("stopped" if self._stopped else "done", self._stopped)
        calls = self._client.sent if self._client else 0
        left = len(features) - self._finished
        return Labelled(bundle, self._finished, left, calls, self._stopped)

    async def _all(self, features: Iterator[FeatureId], at_once: int) -> None:
        """Work on several features at a time; the first error ends all."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(self._worker(features))
        except* AtlasError as errors:
            raise _first(errors) from None

    async def _worker(self, features: Iterator[FeatureId]) -> None:
        for name in features:
            try:
                work = await self._feature(name)
            except Spent as end:
                self._stopped = str(end)
            if self._stopped:
                return
            self._done += work
            self._finished += 1
            self._failed += any(one.failures for one in work)
            self._tell()

    def _tell(self) -> None:
        figures: dict[str, Any] = {"failed": self._failed}
        if self._client:
            figures |= {"calls": self._client.sent, "spent": self._purse.told()}
        self._reporter.advance(1, **figures)

    async def _feature(self, name: FeatureId) -> list[Work]:
        feature, places = await asyncio.to_thread(self._source.read, name)
        work = []
        if rule := _title_rule(feature):
            work.append(await self._work(feature, RULES, None, RuleJudge(rule), places))
        if self._client:
            work.append(await self._explained(self._client, feature, places))
        return work

    async def _explained(self, client: Client, feature: Feature, places: Split) -> Work:
        choice, by = self._settings.choice, labeller_of(self._settings)
        try:
            ask = explain.request(feature, places, choice, self._counter)
            found = await read(client, ask, Explanation)
        except Failed as failure:
            return Work(feature.id, by, None, (), (Trouble("explain", str(failure)),))
        judge = LlmJudge(client, found.told(), choice)
        return await self._work(feature, by, found, judge, places)

    async def _work(
        self,
        feature: Feature,
        by: Labeller,
        explanation: Explanation | None,
        judge: Judge,
        places: Split,
    ) -> Work:
        """Every score of one label; what fails is told beside those that do not."""
        scorers = self._settings.choice.scorers
        found = await asyncio.gather(
            *(score(scorer, judge, places) for scorer in scorers), return_exceptions=True
        )
        pairs = tuple(zip(scorers, found, strict=True))
        for _, one in pairs:
            if isinstance(one, BaseException) and not isinstance(one, Failed):
                raise one
        return Work(
            feature.id,
            by,
            explanation,
            tuple(one for _, one in pairs if isinstance(one, Judged)),
            tuple(Trouble(name, str(one)) for name, one in pairs if isinstance(one, Failed)),
        )

    def _write(self, seconds: float) -> Bundle | None:
        if not self._done and not (self._folder / MANIFEST).is_file():
            return None
        return write(self._folder, self._folder.name, self._done, self._row(seconds))

    def _row(self, seconds: float) -> dict[str, Any]:
        """The run as table `run` has it; what is not true of labelling is empty."""
        atlas, settings = self._source.atlas, self._settings
        mined = atlas.run(self._saes[0].run)
        spent = {
            "calls": self._journal.calls,
            "tokens_in": self._purse.tokens_in,
            "tokens_out": self._purse.tokens_out,
            "usd": self._purse.usd,
        }
        names = ("explain", *settings.choice.scorers)
        prompts = {name: prompt(name).version for name in names}
        config = {**settings.model_dump(mode="json"), "prompts": prompts, "spent": spent}
        return {
            "id": self._folder.name,
            "kind": "labels",
            "model": self._saes[0].id.model,
            "created_at": datetime.now(UTC).replace(tzinfo=None),
            "seconds": seconds,
            "config": json.dumps(config),
            "versions": json.dumps({name: version(name) for name in ("openai",)}),
            "device": settings.endpoint.url if settings.endpoint else "none: by rule",
            "bos": mined.bos,
            "positions": mined.positions,
            "corpus": mined.corpus,
            "corpus_sha256": mined.corpus_sha256,
            "context_length": mined.context_length,
            "train_tokens": 0,
            "mine_tokens": mined.mine_tokens,
        }


def _title_rule(feature: Feature) -> Rule | None:
    """The rule of the title by rule; None for a feature without one."""
    found = [
        one.rule
        for one in feature.labels
        if (one.method, one.side) == (RULES.method, "title") and one.rule
    ]
    return from_json(found[0]) if found else None


def _first(errors: BaseExceptionGroup[AtlasError]) -> AtlasError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
