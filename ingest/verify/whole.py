"""What only whole texts can tell: an SAE's evaluation and a feature's counts, done once more.

Both need the run's corpus. It is cut anew from the run's settings and taken only where its hash is
the one that the run stored.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from atlas.errors import AtlasError
from atlas.lens.sae import Sae
from atlas.model import LanguageModel
from atlas.store.sample import Rows
from atlas.types import Run
from atlas.types import Sae as SaeRow
from ingest.config import Job, make_job
from ingest.corpus import Corpus
from ingest.job import build_corpus
from ingest.mine.choose import limits_of
from ingest.mine.count import count_contexts
from ingest.mine.fold import FIXED, Fold
from ingest.train.evaluate import evaluate
from ingest.verify.compare import Value

TOKENS = 60_000
"""Largest text that is gone through again."""
LOOSE = 20.0
"""What is allowed more where the job ran in bfloat16, whose sums differ between machines."""


class Unable(Exception):
    """Why a whole check cannot be made."""


class Whole(NamedTuple):
    """What the checks over whole texts share."""

    run: Run
    job: Job
    model: LanguageModel
    """In the run's own precision."""
    corpus: Corpus
    saes: Mapping[int, Sae]
    sinks: torch.Tensor  # [layer]

    @property
    def slack(self) -> float:
        """Factor on what is allowed."""
        return 1.0 if self.model.dtype == torch.float32 else LOOSE


def open_whole(
    run: Run, rows: list[SaeRow], saes: Mapping[str, Sae], load: Any, largest: int = TOKENS
) -> Whole:
    """The texts and limits of a run.

    Args:
        run: the run.
        rows: its SAEs as they are stored.
        saes: by id.
        load: gives the model in a precision, `load("float32")`.
        largest: tokens beyond which nothing is gone through again.

    Raises:
        Unable: says why.
    """
    try:
        job = make_job(run.config)
    except AtlasError as error:
        raise Unable(f"run {run.id} has settings of another program: {error.message}") from error
    if job.positions.sink_norm is not None and any(row.sink_norm is None for row in rows):
        raise Unable(f"run {run.id} did not store which positions were sinks")
    if max(job.evaluate.tokens, job.mine.tokens) > largest:
        raise Unable(f"the texts of run {run.id} are longer than {largest:,} tokens")
    model = load(job.model.dtype)
    try:
        corpus = build_corpus(job, model)
    except AtlasError as error:
        raise Unable(f"the corpus of run {run.id} cannot be had: {error.message}") from error
    if corpus.sha256 != run.corpus_sha256:
        raise Unable(f"the corpus of run {run.id} is another one by now")
    by_layer = {row.id.layer: saes[str(row.id)] for row in rows}
    sinks = {row.id.layer: torch.inf if row.sink_norm is None else row.sink_norm for row in rows}
    return Whole(run, job, model, corpus, by_layer, torch.tensor(list(sinks.values())))


def evaluation_values(whole: Whole, rows: list[SaeRow]) -> Iterator[Value]:
    """Every figure of the evaluation."""
    found = evaluate(
        whole.model,
        whole.saes,
        whole.corpus.evaluate,
        whole.job.positions,
        whole.sinks,
        whole.job.batch_contexts,
    )
    for row in rows:
        stored = row.evaluation
        if stored is None:
            continue
        one = found.alone[row.id.layer]
        figures = {"l0": one.l0, "fvu": one.fvu, "tokens": one.tokens, **one.losses._asdict()}
        yield from _figures(f"sae {row.id}", stored, figures, whole.slack)
    joint, together = whole.run.joint, found.together
    if joint is not None and together is not None and set(joint.layers) == set(whole.saes):
        yield from _figures("joint_evaluation", joint, together._asdict(), whole.slack)


def _figures(what: str, stored: Any, again: Mapping[str, Any], slack: float) -> Iterator[Value]:
    for column, now in again.items():
        was = getattr(stored, column)
        if column.endswith("_cost"):
            was, now = [was.low, was.high], [now.low, now.high]
        yield Value(what, column, was, now, slack)


def count_values(whole: Whole, rows: Rows) -> Iterator[Value]:
    """Firings, activations and mean DFA of some features over all mined text."""
    by_layer: dict[int, Rows] = {}
    for row in rows:
        if row["layer"] in whole.saes:
            by_layer.setdefault(row["layer"], []).append(row)
    if not by_layer:
        return
    few = {
        layer: _part(whole.saes[layer], [row["feature"] for row in some])
        for layer, some in by_layer.items()
    }
    for layer, fold in _folds(whole, few).items():
        for place, row in enumerate(by_layer[layer]):
            at = row["feature"] if whole.saes[layer].k else place
            yield from _counts(row, fold, at, whole.slack)


def _part(sae: Sae, features: list[int]) -> Sae:
    """An SAE of some features alone; whole for TopK, where all features decide which fire."""
    if sae.k:
        return sae
    rows = torch.tensor(features, device=sae.w_enc.device)
    return sae._replace(
        w_enc=sae.w_enc[rows],
        b_enc=sae.b_enc[rows],
        w_dec=sae.w_dec[rows],
        threshold=sae.threshold[rows],
    )


def _folds(whole: Whole, few: dict[int, Sae]) -> dict[int, Fold]:
    # All layers stay, since a position is left out when it is a sink in any of them.
    everything = {layer: few.get(layer, _part(sae, [0])) for layer, sae in whole.saes.items()}
    mined = whole.corpus.mine
    folds = count_contexts(
        whole.model,
        everything,
        torch.from_numpy(mined.tokens).long(),
        torch.from_numpy(mined.length).long(),
        0,
        whole.job.positions,
        whole.sinks,
        limits_of(whole.job.mine),
        whole.job.batch_contexts,
    )
    return {layer: folds[layer] for layer in few}


def _counts(row: dict[str, Any], fold: Fold, at: int, slack: float) -> Iterator[Value]:
    name, fired = f"feature {row['sae_id']}/{row['feature']}", max(int(fold.firings[at]), 1)
    mean = fold.act[at] / FIXED / fired
    spread = max(fold.square[at] / FIXED / fired - mean**2, 0.0) ** 0.5
    found = {
        "tokens": fold.tokens[0],
        "firings": fold.firings[at],
        "max_act": fold.max_act[at],
        "mean_act": mean,
        "std_act": spread,
        "histogram": fold.histogram[at],
    }
    for column, now in found.items():
        yield Value(name, column, row[column], now, slack)
    if fold.firings[at]:
        heads = {
            "dfa_mean": fold.dfa[at] / FIXED / fired,
            "dfa_share": fold.abs_dfa[at] / max(fold.abs_dfa[at].sum(), 1),
            "won": fold.won[at] / fired,
        }
        for column, now in heads.items():
            stored = [head[column] for head in row["heads"]]
            yield Value(name, f"feature_head.{column}", stored, now, slack)
