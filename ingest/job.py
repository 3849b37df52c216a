"""One ingest job from settings to a sealed bundle: the table of contents of a run.

Every stage leaves its result in the run's `work` folder and is skipped when that is there, so a
job that was stopped at any moment goes on when it is started again.
"""

import json
import math
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from atlas import progress
from atlas.bundle import WEIGHTS, Bundle, seal, sha256_file, sync_and_rename, write_table
from atlas.errors import CorpusError
from atlas.ids import SaeId
from atlas.lens import sae as saes
from atlas.model import LanguageModel
from ingest import corpus as corpora
from ingest import run
from ingest.config import Job
from ingest.corpus import Corpus
from ingest.elsewhere import load_model
from ingest.engine import Engine, open_engine
from ingest.imported import measure_limits, read_saes
from ingest.memory import Room, check_room, room_of, shape_of
from ingest.mine.evidence import write_evidence
from ingest.mine.passes import Mining
from ingest.mine.units import exact
from ingest.run import Work, versions, write_json, write_record
from ingest.train.evaluate import Evaluated, Evaluations, Losses, evaluate
from ingest.train.groups import Fitted
from ingest.training import train_saes


def run_id(job: Job) -> str:
    """The run's name: the job's, and a hash of all settings that its result depends on."""
    return run.name_of(job.name, job.model_dump(mode="json", exclude={"engine"}))


def run_job(
    job: Job,
    store: Path,
    listen: progress.Listener = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    room: Room = room_of,
) -> Bundle:
    """Make the job's bundle in the store, going on where an earlier try stopped.

    Args:
        job: all settings.
        store: the store's folder; made when missing.
        listen: told the progress, a few times a second.
        clock: seconds.
        room: how many bytes a device has.

    Raises:
        AtlasError: a model, corpus or setting that cannot work or fit, or the run is already
            going on.
    """
    return run.make(store, run_id(job), partial(_stages, job, room), listen, clock)


def _stages(job: Job, room: Room, work: Work, seconds: Callable[[], float]) -> Bundle:
    work.reporter.stage("load model", 1, "model")
    model = _load(job)
    job = job.on(model.device)
    needs = check_room(job, shape_of(model), room)
    work.reporter.advance(1, needs=needs)
    corpus = _corpus(job, work, model)
    with open_engine(job.engine) as engine:
        return _made(job, work, model, corpus, engine, seconds)


def _made(
    job: Job,
    work: Work,
    model: LanguageModel,
    corpus: Corpus,
    engine: Engine,
    seconds: Callable[[], float],
) -> Bundle:
    if job.sae.source is None:
        fitted = train_saes(job, work, model, corpus, engine)
    else:
        fitted = _import(job, work, model, corpus)
    evaluated = _evaluate(job, work, model, corpus, fitted)
    names = {layer: SaeId(model.info.id, layer, job.sae.set) for layer in job.sae.layers}
    _write_weights(work, fitted, names)
    mining = Mining(
        job,
        model,
        cache(lambda: exact(job, model)),
        fitted.saes,
        fitted.limits,
        corpus,
        {layer: str(name) for layer, name in names.items()},
        sha256_file(work.folder / WEIGHTS),
    )
    write_evidence(mining, work.folder, work.run, work.reporter, engine)
    _write_saes(work, model, job, fitted, evaluated, names)
    _write_run(work, model, job, fitted, corpus, seconds())
    write_record(work)
    bundle = seal(work.folder, work.run)
    shutil.rmtree(work.scratch)
    return bundle


def _load(job: Job) -> LanguageModel:
    model = load_model(job, job.model.dtype)
    model.check_layers(job.sae.layers)
    if job.corpus.context_length > model.context_length:
        raise CorpusError(
            f"corpus.context_length = {job.corpus.context_length} is more than model "
            f"{model.info.id} takes",
            f"it takes up to {model.context_length}",
        )
    return model


def _corpus(job: Job, work: Work, model: LanguageModel) -> Corpus:
    path = work.scratch / "corpus.npz"
    total = sum(_tokens_wanted(job))
    work.reporter.stage("tokenise", total, "tokens")
    if path.is_file():
        work.reporter.advance(total)
    else:
        corpora.save(path, build_corpus(job, model, work.reporter.advance))
    return corpora.load(path)


def _tokens_wanted(job: Job) -> tuple[int, int, int]:
    """For evaluation, mining and training."""
    # A tenth more: start tokens and sinks are not trained on, last batches not filled.
    trained = 1 if job.sae.source else job.train.tokens
    unique = math.ceil(1.1 * trained / job.train.repeats)
    return job.evaluate.tokens, job.mine.tokens, unique


def build_corpus(
    job: Job, model: LanguageModel, report: Callable[[int], None] = lambda _: None
) -> Corpus:
    """The job's contexts, always the same for the same text.

    Args:
        job: all settings.
        model: for its tokens.
        report: told the tokens of every document.

    Raises:
        CorpusError: there is too little text, or the model has no start token.
    """
    bos = model.info.bos_token if job.corpus.bos == "model" else None
    if job.corpus.bos == "model" and bos is None:
        raise CorpusError(f"model {model.info.id} has no start token", "set corpus.bos = 'none'")
    documents, wanted = corpora.read(job.corpus), _tokens_wanted(job)
    return corpora.build(documents, model.tokenise_many, job.corpus, bos, wanted, report)


def _import(job: Job, work: Work, model: LanguageModel, corpus: Corpus) -> Fitted:
    layers, text = job.sae.layers, corpus.evaluate
    work.reporter.stage("import", len(layers), "SAEs")
    found = read_saes(job.sae, model)
    limits = measure_limits(model, text, layers, job.positions, job.batch_contexts)
    work.reporter.advance(len(layers))
    return Fitted(found, limits, 0)


def _evaluate(
    job: Job, work: Work, model: LanguageModel, corpus: Corpus, fitted: Fitted
) -> Evaluations:
    path = work.scratch / "evaluation.json"
    work.reporter.stage("evaluate", corpus.evaluate.tokens.size, "tokens")
    if not path.is_file():
        found = evaluate(
            model,
            fitted.saes,
            corpus.evaluate,
            job.positions,
            fitted.limits,
            job.batch_contexts,
            work.reporter.advance,
        )
        columns = {layer: one.to_columns() for layer, one in found.alone.items()}
        joint = found.together and found.together.to_columns()
        write_json(path, {"alone": columns, "together": joint})
    content = json.loads(path.read_text())
    alone = {int(n): Evaluated.from_columns(one) for n, one in content["alone"].items()}
    together = content["together"]
    return Evaluations(alone, None if together is None else Losses.from_columns(together))


def _write_weights(work: Work, fitted: Fitted, names: dict[int, SaeId]) -> None:
    draft = work.folder / f"{WEIGHTS}.partial"
    saes.save(draft, {str(names[layer]): sae for layer, sae in fitted.saes.items()})
    sync_and_rename(draft, work.folder / WEIGHTS)


def _write_saes(
    work: Work,
    model: LanguageModel,
    job: Job,
    fitted: Fitted,
    evaluated: Evaluations,
    names: dict[int, SaeId],
) -> None:
    weights = sha256_file(work.folder / WEIGHTS)
    rows = []
    sinks = fitted.limits.tolist()
    for index, (layer, sink) in enumerate(zip(job.sae.layers, sinks, strict=True)):
        one, sae = evaluated.alone[layer], fitted.saes[layer]
        trained = {}
        if fitted.dead_share is not None:
            trained = {"dead_share": fitted.dead_share[index], "dead_window": fitted.dead_window}
        rows.append(
            {
                "id": str(names[layer]),
                "model": model.info.id,
                "layer": layer,
                "set_name": job.sae.set,
                "hook": f"blocks.{layer}.attn.hook_z",
                "architecture": sae.architecture,
                "d_in": sae.d_in,
                "d_sae": sae.d_sae,
                "run": work.run,
                **one.to_columns(),
                **trained,
                "sink_norm": sink if math.isfinite(sink) else None,
                "weights": WEIGHTS,
                "weights_sha256": weights,
            }
        )
    write_table(work.folder, "sae", {name: [row[name] for row in rows] for name in rows[0]})
    if evaluated.together is not None:
        joint = {
            "run": work.run,
            "layers": list(job.sae.layers),
            **evaluated.together.to_columns(),
            "eval_tokens": max(one.tokens for one in evaluated.alone.values()),
        }
        write_table(work.folder, "joint_evaluation", {name: [it] for name, it in joint.items()})


def _write_run(
    work: Work, model: LanguageModel, job: Job, fitted: Fitted, corpus: Corpus, seconds: float
) -> None:
    skipped = job.positions
    sinks = f"; z beyond {skipped.sink_norm} medians" if skipped.sink_norm else ""
    row = {
        "id": work.run,
        "kind": "atlas",
        "model": model.info.id,
        "created_at": datetime.now(UTC).replace(tzinfo=None),
        "seconds": seconds,
        "config": job.model_dump_json(),
        "versions": json.dumps(versions()),
        "device": f"{model.device} ({platform.processor() or platform.machine()})",
        "bos": job.corpus.bos,
        "positions": f"first {skipped.skip_first} left out{sinks}",
        "corpus": job.corpus.name,
        "corpus_sha256": corpus.sha256,
        "context_length": job.corpus.context_length,
        "train_tokens": fitted.tokens,
        "mine_tokens": int((corpus.mine.length - skipped.skip_first).clip(min=0).sum()),
    }
    write_table(work.folder, "run", {name: [value] for name, value in row.items()})
    described = asdict(model.info)
    write_table(work.folder, "model", {name: [value] for name, value in described.items()})
