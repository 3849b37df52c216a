"""Held-out text of a study: documents that no SAE of the model was trained on, where known."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from atlas.errors import CorpusError
from atlas.model import LanguageModel
from atlas.types import Run
from ingest import corpus as corpora
from ingest.config import CorpusPart, make_job
from ingest.corpus import Document, Text

SAME = ("name", "subset", "split", "text")
"""Settings that say which documents a corpus has, whatever their order and cut."""


class HeldOut(NamedTuple):
    """Text and what is known of its being unseen."""

    text: Text
    said: str
    """One sentence: which documents were left out, or that it cannot be known."""
    mined: bool
    """Whether documents of this corpus were mined for the SAEs' examples."""


def corpus_of(runs: Iterable[Run]) -> dict[str, Any]:
    """Corpus settings of the newest run that made SAEs; nothing where none says."""
    known = (run.config["corpus"] for run in runs if "corpus" in run.config)
    return dict(next(known, {}))


def held_out(model: LanguageModel, part: CorpusPart, tokens: int, runs: Iterable[Run]) -> HeldOut:
    """Contexts of whole documents that the SAEs' runs kept from training.

    Args:
        model: tokenises.
        part: which text, and how it is cut.
        tokens: how many, start tokens counted.
        runs: the runs of the SAEs.

    Raises:
        CorpusError: there is less held-out text, or none at all.
    """
    ours = [run for run in runs if "corpus" in run.config]
    same = [run for run in ours if _same(part, run.config["corpus"])]
    trained = [run for run in ours if run.train_tokens > 0]
    shared = [run for run in same if run in trained]
    bos = start_token(model, part)
    apart = list(_apart(model, shared)) if shared else corpora.read(part)
    text = corpora.take(apart, model.tokenise_many, part, bos, tokens)
    return HeldOut(text, _said(part, trained, shared), bool(same))


def start_token(model: LanguageModel, part: CorpusPart) -> int | None:
    """What starts every context. Raises CorpusError for a model that lacks what is asked for."""
    if part.bos == "none":
        return None
    if model.info.bos_token is None:
        raise CorpusError(f"model {model.info.id} has no start token", "set corpus.bos = 'none'")
    return model.info.bos_token


def _same(part: CorpusPart, other: Mapping[str, Any]) -> bool:
    return all(getattr(part, name) == other.get(name) for name in SAME)


def _apart(model: LanguageModel, runs: list[Run]) -> Iterator[Document]:
    """Documents that every run kept from training, in the order of the first one."""
    kept = []
    for run in runs:
        job = make_job(run.config)
        wanted = (job.evaluate.tokens, job.mine.tokens)
        documents, bos = corpora.read(job.corpus), start_token(model, job.corpus)
        kept.append(
            list(corpora.kept_apart(documents, model.tokenise_many, job.corpus, bos, wanted))
        )
    common = set.intersection(*({document.id for document in some} for some in kept))
    return (document for document in kept[0] if document.id in common)


def _said(part: CorpusPart, trained: list[Run], shared: list[Run]) -> str:
    if shared:
        names = ", ".join(run.id for run in shared)
        return f"documents that {names} evaluated and mined; none of them was trained on"
    if trained:
        return f"{part.name} is not the corpus the SAEs were trained on; shared text is not checked"
    return "the SAEs do not say what they were trained on: whether they saw this text is unknown"
