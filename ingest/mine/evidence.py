"""Mining from first firing to written tables: count, choose, attribute, label."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.bundle import sync_and_rename, write_table
from atlas.lens.sae import Sae, head_shares
from atlas.model import LanguageModel
from atlas.progress import Reporter
from ingest.config import Job
from ingest.corpus import Corpus
from ingest.label.rules import Facts, normalise
from ingest.label.tokens import TokenLabel, label_features
from ingest.mine import fold as folds
from ingest.mine import heads, tables
from ingest.mine.attribute import Attributed, Places, attribute
from ingest.mine.choose import KINDS, Chosen, choose, limits_of
from ingest.mine.count import count_contexts
from ingest.mine.fold import Fold
from ingest.mine.tables import Examples
from ingest.mine.weights import logit_effects, nearest
from ingest.train.stream import valid_positions

LABELLED = KINDS[:3]
"""Kinds of examples that labels are formed and judged on."""
PROMOTED = 12
"""Promoted tokens that a label's logit rule looks at."""


class Mining(NamedTuple):
    """What is mined."""

    job: Job
    model: LanguageModel
    exact: Callable[[], LanguageModel]
    """Gives the model in float32, in which kept examples are attributed."""
    saes: dict[int, Sae]
    sinks: Tensor  # [layer], norms of z beyond which a position is a sink
    corpus: Corpus
    names: dict[int, str]
    """Layer to SAE id."""


def write_evidence(
    mining: Mining, folder: Path, scratch: Path, run: str, reporter: Reporter
) -> None:
    """Write all tables of a bundle but those of the SAEs' evaluation and of the run itself."""
    state = _count(mining, scratch, reporter)
    chosen = {layer: choose(state[layer], mining.job.mine) for layer in mining.saes}
    attributed, means = _attribute(mining, chosen, scratch, reporter)
    reporter.stage("label and write", len(mining.saes), "SAEs")
    texts = mining.model.vocabulary()
    words = np.array([normalise(text) for text in texts], dtype=object)
    alive = {layer: one.firings > 0 for layer, one in state.items()}
    near = nearest(mining.model, mining.saes, alive, mining.job.mine.neighbours)
    parts: dict[str, list[pa.Table]] = {}
    for layer, sae in mining.saes.items():
        examples = tables.ranked(chosen[layer], attributed[layer])
        found = _tables_of(mining, layer, sae, state[layer], examples, words)
        found["neighbour"] = tables.neighbour_table(mining.names[layer], near[layer], mining.names)
        for name, table in found.items():
            parts.setdefault(name, []).append(table)
        reporter.advance(1)
    for name, some in parts.items():
        write_table(folder, name, tables.joined(some))
    used = np.unique(np.concatenate([chosen[layer].ctx for layer in mining.saes]))
    write_table(folder, "context", _contexts(mining.corpus, used, run))
    write_table(folder, "vocab", _vocab(mining.model, texts))
    write_table(folder, "head", _heads(mining.model))
    write_table(folder, "head_metric", heads.metric_table(mining.model.info.id, means, run))


def _count(mining: Mining, scratch: Path, reporter: Reporter) -> dict[int, Fold]:
    """First pass, a file per shard of contexts."""
    contexts, job = mining.corpus.mine, mining.job
    limits = limits_of(job.mine)
    reporter.stage("mine", contexts.tokens.size, "tokens")
    shards = []
    for first, rows in _shards(mining):
        path = scratch / f"count-{first:09d}.npz"
        if path.is_file():
            reporter.advance(contexts.tokens[rows].size)
        else:
            found = count_contexts(
                mining.model,
                mining.saes,
                torch.from_numpy(contexts.tokens[rows]).long(),
                torch.from_numpy(contexts.length[rows]).long(),
                first,
                job.positions,
                mining.sinks,
                limits,
                job.model.batch_contexts,
                reporter.advance,
            )
            arrays = [folds.to_arrays(one, f"{layer}/") for layer, one in found.items()]
            _save(path, dict(item for part in arrays for item in part.items()))
        shards.append(path)
    merge = functools.partial(folds.merge, limits=limits)
    return {
        layer: functools.reduce(merge, (_fold_of(path, layer) for path in shards))
        for layer in mining.saes
    }


def _fold_of(path: Path, layer: int) -> Fold:
    with np.load(path, allow_pickle=False) as arrays:
        return folds.from_arrays(arrays, f"{layer}/")


def _attribute(
    mining: Mining, chosen: dict[int, Chosen], scratch: Path, reporter: Reporter
) -> tuple[dict[int, Attributed], dict[int, NDArray[Any]]]:
    """Second pass, in float32, a file per shard: attribution, and head metrics per context."""
    reporter.stage("attribute", mining.corpus.mine.tokens.size, "tokens")
    places = {layer: Places(one.feature, one.ctx, one.pos) for layer, one in chosen.items()}
    model: LanguageModel | None = None
    paths = []
    for first, rows in _shards(mining):
        path = scratch / f"attribute-{first:09d}.npz"
        if path.is_file():
            reporter.advance(mining.corpus.mine.tokens[rows].size)
        else:
            model = model or mining.exact()
            _save(path, _attributed_shard(mining, model, places, first, rows, reporter))
        paths.append(path)
    attributed = {layer: _in_order(paths, layer, len(places[layer].ctx)) for layer in mining.saes}
    return attributed, {layer: _joined(paths, f"{layer}/heads") for layer in mining.saes}


def _joined(paths: list[Path], name: str) -> NDArray[Any]:
    parts = []
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            parts.append(arrays[name])
    return np.concatenate(parts)


def _attributed_shard(
    mining: Mining,
    model: LanguageModel,
    places: dict[int, Places],
    first: int,
    rows: slice,
    reporter: Reporter,
) -> dict[str, NDArray[Any]]:
    contexts, job = mining.corpus.mine, mining.job
    tokens = torch.from_numpy(contexts.tokens[rows]).long()
    length = torch.from_numpy(contexts.length[rows]).long()
    valid = valid_positions(length, tokens.shape[1], job.positions.skip_first)
    step = job.model.batch_contexts
    found: dict[str, list[NDArray[Any]]] = {}
    for at in range(0, len(tokens), step):
        numbers = list(range(first + at, first + min(at + step, len(tokens))))
        group = slice(at, at + step)
        attention = model.attention(tokens[group], tuple(mining.saes))
        parts = attribute(
            attention,
            model.kv_head,
            mining.saes,
            numbers,
            places,
            job.mine.sources,
            valid[group],
        )
        for layer, one in attention.items():
            means = heads.context_means(one.pattern, tokens[group], valid[group])
            found.setdefault(f"{layer}/heads", []).append(means)
        for layer, (which, given) in parts.items():
            for name, values in {"row": which, **given._asdict()}.items():
                found.setdefault(f"{layer}/{name}", []).append(values)
        reporter.advance(tokens[group].numel())
    return {name: np.concatenate(values) for name, values in found.items()}


def _in_order(paths: list[Path], layer: int, count: int) -> Attributed:
    """The attribution of one layer's examples from all shards, in the order of their places."""
    parts: dict[str, list[NDArray[Any]]] = {}
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            for name in ("row", *Attributed._fields):
                if f"{layer}/{name}" in arrays:
                    parts.setdefault(name, []).append(arrays[f"{layer}/{name}"])
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    order = np.argsort(columns["row"])
    assert np.array_equal(columns["row"][order], np.arange(count)), "an example was lost"
    return Attributed(*(columns[name][order] for name in Attributed._fields))


def _shards(mining: Mining) -> Iterator[tuple[int, slice]]:
    """First context and rows of every unit of work; whole batches, so results do not depend."""
    step = mining.job.model.batch_contexts
    size = max(1, mining.job.mine.shard_contexts // step) * step
    for first in range(0, len(mining.corpus.mine.tokens), size):
        yield first, slice(first, first + size)


def _tables_of(
    mining: Mining,
    layer: int,
    sae: Sae,
    state: Fold,
    examples: Examples,
    words: NDArray[Any],
) -> dict[str, pa.Table]:
    name = mining.names[layer]
    shares = head_shares(sae.w_dec, mining.model.info.n_heads).cpu().numpy()
    logits = logit_effects(mining.model, layer, sae, mining.job.mine.logits)
    bias = sae.b_enc.float().cpu().numpy()
    start = int(mining.job.corpus.bos == "model")
    facts = _facts(mining.corpus, examples, words, start)
    promoted = [tuple(dict.fromkeys(words[row[:PROMOTED]])) for row in logits.top_tokens]
    judged = examples.chosen.kind < len(LABELLED)
    labels = label_features(
        examples.chosen.feature[judged], _forming(examples)[judged], facts.rows(judged), promoted
    )
    return {
        "feature": tables.feature_table(name, state, shares, bias, logits, examples),
        "feature_head": tables.head_table(name, state, shares),
        "example": tables.example_table(name, examples, mining.corpus.mine.tokens),
        "label": _labels(name, labels),
    }


def _forming(examples: Examples) -> NDArray[Any]:
    """Which examples form labels; the others, spread evenly over activations, judge them."""
    kind = examples.chosen.kind
    every_other_top: NDArray[Any] = (kind == KINDS.index("top")) & (examples.rank % 2 == 0)
    forming: NDArray[Any] = every_other_top | (kind == KINDS.index("random"))
    return forming


def _facts(corpus: Corpus, examples: Examples, words: NDArray[Any], start: int) -> Facts:
    """What label rules look at; positions before `start` hold no word of the text."""
    contexts, chosen, found = corpus.mine, examples.chosen, examples.attributed
    strongest = np.where(found.src_dfa > 0, found.src_dfa, -np.inf).argmax(1)
    source = np.take_along_axis(found.src_pos, strongest[:, None], 1)[:, 0].astype(np.int64)

    def word_at(pos: NDArray[Any]) -> NDArray[Any]:
        inside = (pos >= start) & (pos < contexts.length[chosen.ctx])
        safe = np.clip(pos, 0, contexts.tokens.shape[1] - 1)
        return np.where(inside, words[contexts.tokens[chosen.ctx, safe]], "")

    return Facts(
        word_at(chosen.pos),
        word_at(chosen.pos - 1),
        word_at(chosen.pos + 1),
        word_at(source),
        word_at(source - 1),
        chosen.pos - source,
        source,
    )


def _labels(sae: str, labels: list[TokenLabel]) -> pa.Table:
    count = len(labels)
    key = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [sae])
    plain = {
        "side": [label.side for label in labels],
        "method": ["tokens"] * count,
        "model": pa.nulls(count, pa.string()),
        "prompt": pa.nulls(count, pa.string()),
        "text": [label.text for label in labels],
        "support": pa.array([label.support for label in labels], pa.float32()),
        "support_low": pa.array([label.low for label in labels], pa.float32()),
        "support_high": pa.array([label.high for label in labels], pa.float32()),
        "n": [label.n for label in labels],
        "rule": [label.rule.to_json() for label in labels],
    }
    return pa.table({"sae": key, "feature": [label.feature for label in labels], **plain})


def _contexts(corpus: Corpus, used: NDArray[Any], run: str) -> dict[str, Any]:
    contexts = corpus.mine
    return {
        "ctx": used.astype(np.int32),
        "run": [run] * len(used),
        "doc": [corpus.doc_ids[doc] for doc in contexts.doc[used]],
        "source": [corpus.doc_sources[doc] for doc in contexts.doc[used]],
        "start": contexts.start[used],
        "tokens": [contexts.tokens[ctx, : contexts.length[ctx]] for ctx in used],
    }


def _vocab(model: LanguageModel, texts: list[str]) -> dict[str, Any]:
    name = [model.info.id] * len(texts)
    return {"model": name, "token": np.arange(len(texts), dtype=np.int32), "text": texts}


def _heads(model: LanguageModel) -> dict[str, Any]:
    info = model.info
    layers = np.repeat(np.arange(info.n_layers), info.n_heads)
    return {
        "model": [info.id] * len(layers),
        "layer": layers.astype(np.int32),
        "head": np.tile(np.arange(info.n_heads), info.n_layers).astype(np.int32),
        "kv_head": np.tile(model.kv_head.cpu().numpy(), info.n_layers).astype(np.int32),
    }


def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    draft = path.with_suffix(".partial")
    with draft.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)
    sync_and_rename(draft, path)
