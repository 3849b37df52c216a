"""One study from settings to a sealed bundle: what it is handed, what it gives, how it is run.

A study is a function from a Study (model, SAEs, held-out text, the atlas) and its own settings to
Findings (tables and sample sizes). It writes nothing itself; what takes long it keeps with
`Study.keep`, so that a study that was stopped goes on when it is started again.
"""

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas import model as models
from atlas import progress
from atlas.api import Atlas
from atlas.bundle import Bundle, seal, sync_and_rename, write_table
from atlas.errors import ModelError, NotFound
from atlas.ids import SaeId
from atlas.lens import sae as saes
from atlas.lens.sae import Sae
from atlas.model import LanguageModel, fingerprint
from atlas.types import Model, Run
from ingest import run as runs
from ingest.config import CorpusPart, StudyPart, make_study
from ingest.run import Work, write_record
from ingest.studies.text import HeldOut, corpus_of, held_out

Arrays = dict[str, NDArray[Any]]


class Batch(NamedTuple):
    """Some contexts of the held-out text."""

    first: int
    """Number of the first one."""
    tokens: Tensor  # [context, pos]
    length: Tensor  # [context], tokens of each
    valid: Tensor  # [context, pos], positions that hold text, the first one left out


class Findings(NamedTuple):
    """What a study gives."""

    tables: Mapping[str, Any]
    """Table of a bundle to its rows: an Arrow table, or columns by name."""
    samples: Mapping[str, int]
    """What was sampled to how much of it, such as contexts to 400; kept with the run."""
    said: tuple[str, ...] = ()
    """What a reader must know: what was not measured, and why."""


class Study:
    """What a study works on. Model and text are loaded when they are first asked for."""

    def __init__(self, atlas: Atlas, model: Model, settings: StudyPart, work: Work) -> None:
        self.atlas = atlas
        """Held at one snapshot."""
        self.info = model
        self.work = work
        self._settings = settings

    @cached_property
    def model(self) -> LanguageModel:
        """The model. Raises ModelError when it is not the one that the atlas was made with."""
        return self._loaded(self._settings.dtype)

    def model_in(self, dtype: str) -> LanguageModel:
        """The model in another precision, as `dtype` of the settings names it."""
        wanted = models.pick_dtype(dtype, self.device)
        return self.model if wanted == self.model.dtype else self._loaded(dtype)

    def _loaded(self, dtype: str) -> LanguageModel:
        self.work.reporter.stage("load model", 1, "model")
        device = self._settings.device
        loaded = models.load(self.info.name, id=self.info.id, device=device, dtype=dtype)
        if fingerprint(loaded.bridge.original_model) != self.info.weights_sha256:
            raise ModelError(
                f"model {self.info.name} on this machine has other weights than the atlas' runs",
                "put the weights back; `atlas show MODEL` has their fingerprint",
            )
        self.work.reporter.advance(1)
        return loaded

    @property
    def corpus(self) -> CorpusPart:
        """Which text, and how contexts are cut and started."""
        return self._settings.corpus

    @property
    def batch_contexts(self) -> int:
        """Contexts per forward pass."""
        return self._settings.batch_contexts

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self._settings.seed

    @property
    def device(self) -> str:
        """Where model and SAEs are."""
        return models.pick_device(self._settings.device)

    @cached_property
    def saes(self) -> tuple[SaeId, ...]:
        """The SAEs of the model."""
        return tuple(one.id for one in self.atlas.saes() if one.id.model == self.info.id)

    def sae(self, name: SaeId) -> Sae:
        """The weights of an SAE, on the model's device."""
        return saes.load(self.atlas.weights(name), str(name), self.device)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of the model's SAEs, newest first."""
        return _runs_of(self.atlas, self.info)

    @cached_property
    def text(self) -> HeldOut:
        """Held-out text as the settings ask for it."""
        part, model = self._settings, self.model
        self.work.reporter.stage("tokenise", 1, "corpus")
        found = held_out(model, part.corpus, part.tokens, self.runs)
        self.work.reporter.advance(1)
        return found

    def batches(
        self, stage: str, contexts: slice = slice(None), size: int | None = None
    ) -> Iterator[Batch]:
        """The held-out text with progress under a stage's name, its first position not valid.

        Args:
            stage: its name.
            contexts: which contexts; all by default.
            size: contexts at a time; by default as many as the settings run at once.
        """
        text, step = self.text.text.contexts, size or self._settings.batch_contexts
        numbers = range(*contexts.indices(len(text.tokens)))
        self.work.reporter.stage(stage, len(numbers) * text.tokens.shape[1], "tokens")
        for at in range(0, len(numbers), step):
            chosen = numbers[at : at + step]
            rows = slice(chosen.start, chosen.stop)
            tokens = torch.from_numpy(text.tokens[rows]).long()
            length = torch.from_numpy(text.length[rows]).long()
            places = torch.arange(tokens.shape[1])
            valid = (places >= 1) & (places < length[:, None])
            yield Batch(chosen.start, tokens, length, valid)
            self.work.reporter.advance(tokens.numel())

    def each(
        self,
        stage: str,
        make: Callable[[Batch], Arrays],
        contexts: slice = slice(None),
        size: int | None = None,
    ) -> Iterator[Arrays]:
        """What `make` gives for every batch of the text, each kept as `keep` does."""
        for batch in self.batches(stage, contexts, size):
            yield self.keep(f"{stage}-{batch.first:07d}", partial(make, batch))

    def keep(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays that are made once: read from the run's folder when an earlier try left them."""
        path = self.work.scratch / f"{name}.npz"
        if not path.is_file():
            draft = path.with_suffix(".partial")
            with draft.open("wb") as handle:
                np.savez(handle, allow_pickle=False, **make())
            sync_and_rename(draft, path)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)


class Kind(NamedTuple):
    """A study as it is registered."""

    about: str
    """One sentence."""
    settings: type[StudyPart]
    make: Callable[[Study, Any], Findings]
    reads: tuple[str, ...] = ()
    """Kinds of runs whose results it reads from the snapshot: new ones make it another run."""


def run_study(
    name: str,
    kind: Kind,
    store: Path,
    model: str | None = None,
    changes: Sequence[str] = (),
    listen: progress.Listener = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Bundle:
    """Make a study's bundle from the newest snapshot of a store.

    Args:
        name: of the study; becomes `run.kind`.
        kind: the study.
        store: the store's folder.
        model: id of the model; None where the atlas has one model only.
        changes: settings as `a.b=value`.
        listen: told the progress, a few times a second.
        clock: seconds.

    Raises:
        AtlasError: no store, no such model, settings or text that cannot work, or the same study
            is already going on.
    """
    with Atlas.open(store) as opened:
        atlas = opened.at()
        info = _model(atlas, model)
        settings = settings_of(kind, atlas, info, changes)
        config = {
            "study": name,
            "model": info.id,
            "weights_sha256": info.weights_sha256,
            "saes": {str(one.id): one.run for one in atlas.saes() if one.id.model == info.id},
            "reads": {one: _newest(atlas, one, info) for one in kind.reads},
            "settings": settings.model_dump(mode="json"),
        }
        run = runs.name_of(name, config)
        stages = partial(_stages, name, kind, atlas, info, settings, config)
        return runs.make(store, run, stages, listen, clock)


def settings_of(kind: Kind, atlas: Atlas, model: Model, changes: Sequence[str]) -> StudyPart:
    """A study's settings; the corpus is that of the SAEs' run unless `corpus.name` is changed."""
    named = any(change.partition("=")[0].strip() == "corpus.name" for change in changes)
    corpus = {} if named else corpus_of(_runs_of(atlas, model))
    return make_study(kind.settings, {"corpus": corpus}, changes)


def _newest(atlas: Atlas, kind: str, model: Model) -> str | None:
    """The newest run of a kind; None where there is none."""
    fit = (run.id for run in atlas.runs() if (run.kind, run.model) == (kind, model.id))
    return next(fit, None)


def _model(atlas: Atlas, name: str | None) -> Model:
    known = atlas.models()
    if name is None and len(known) != 1:
        told = ", ".join(model.id for model in known) or "no model"
        raise NotFound(f"this atlas has {told}", "name one with --model")
    return atlas.model(name or known[0].id)


def _runs_of(atlas: Atlas, model: Model) -> tuple[Run, ...]:
    names = {one.run for one in atlas.saes() if one.id.model == model.id}
    return tuple(run for run in atlas.runs() if run.id in names)


def _stages(
    name: str,
    kind: Kind,
    atlas: Atlas,
    info: Model,
    settings: StudyPart,
    config: dict[str, Any],
    work: Work,
    seconds: Callable[[], float],
) -> Bundle:
    study = Study(atlas, info, settings, work)
    found = kind.make(study, settings)
    work.reporter.stage("write", len(found.tables), "tables")
    for table, rows in found.tables.items():
        write_table(work.folder, table, rows)
        work.reporter.advance(1)
    config = config | {"samples": dict(found.samples), "said": list(found.said)}
    _write_run(study, name, settings, config, seconds())
    write_record(work)
    bundle = seal(work.folder, work.run)
    shutil.rmtree(work.scratch)
    return bundle


def _write_run(
    study: Study, name: str, settings: StudyPart, config: dict[str, Any], seconds: float
) -> None:
    corpus, used = settings.corpus, "text" in study.__dict__
    text = study.text if used else None
    row = {
        "id": study.work.run,
        "kind": name,
        "model": study.info.id,
        "created_at": datetime.now(UTC).replace(tzinfo=None),
        "seconds": seconds,
        "config": json.dumps(config | {"held_out": text.said if text else "no text was read"}),
        "versions": json.dumps(runs.versions()),
        "device": f"{study.device} ({platform.processor() or platform.machine()})",
        "bos": corpus.bos,
        "positions": "first 1 left out",
        "corpus": corpus.name if text else "none",
        "corpus_sha256": text.text.sha256 if text else "",
        "context_length": corpus.context_length,
        "train_tokens": 0,
        "mine_tokens": int(text.text.contexts.length.sum()) if text else 0,
    }
    write_table(study.work.folder, "run", {column: [value] for column, value in row.items()})
