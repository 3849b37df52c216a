"""Mining from first firing to written tables: count, choose, attribute, label."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from atlas.bundle import GrowingTable, write_table
from atlas.errors import BundleError
from atlas.lens.sae import Sae, head_shares
from atlas.model import LanguageModel
from atlas.progress import Reporter
from atlas.tables import TABLES
from ingest.corpus import Corpus
from ingest.elsewhere import Where
from ingest.engine import TRIES, Engine, Work, run_all
from ingest.label.rules import Facts, normalise
from ingest.label.tokens import TokenLabel, label_features
from ingest.mine import heads, tables
from ingest.mine.attribute import Places
from ingest.mine.choose import KINDS, Chosen, choose
from ingest.mine.fold import Fold
from ingest.mine.neighbours import neighbours, pairs_to_count
from ingest.mine.passes import Mining, Wanted, attributions, common_firings, joined, merged
from ingest.mine.tables import Examples
from ingest.mine.units import (
    Stage,
    Unit,
    hand_over,
    keep_wanted,
    plan,
    run,
    run_elsewhere,
)
from ingest.mine.weights import Nearest, directions, logit_effects, nearest

_STAGES = {"count": "mine", "attribute": "attribute"}
LABELLED = KINDS[:3]
"""Kinds of examples that labels are formed and judged on."""
PROMOTED = 12
"""Promoted tokens that a label's logit rule looks at."""


def write_evidence(
    mining: Mining, folder: Path, run: str, reporter: Reporter, engine: Engine
) -> None:
    """Write all tables of a bundle but those of the SAEs' evaluation and of the run itself.

    Raises:
        BundleError: units failed again and again; names them.
    """
    here = Here(mining, folder, reporter, engine)
    state = merged(mining, _pass(here, "count", None))
    plan = after_first_pass(mining, state)
    chosen, pairs = plan.chosen, plan.wanted.pairs
    files = _pass(here, "attribute", plan.wanted)
    reporter.stage("label and write", len(mining.saes), "SAEs")
    together = common_firings(files)
    beside = neighbours(plan.near, pairs, together, plan.written, mining.job.mine.neighbours)
    texts = mining.model.vocabulary()
    words = np.array([normalise(text) for text in texts], dtype=object)
    growing: dict[str, GrowingTable] = {}
    for layer, sae in mining.saes.items():
        found = attributions(files, layer, len(chosen[layer].ctx))
        examples = tables.ranked(chosen[layer], found)
        some = _tables_of(mining, layer, sae, state[layer], examples, words)
        some["neighbour"] = tables.neighbour_table(mining.names[layer], beside[layer], mining.names)
        for name, table in some.items():
            growing.setdefault(name, GrowingTable(folder, name)).add(table)
        reporter.advance(1)
    for one in growing.values():
        one.close()
    used = np.unique(np.concatenate([chosen[layer].ctx for layer in mining.saes]))
    write_table(folder, "context", _contexts(mining.corpus, used, run))
    write_table(folder, "vocab", _vocab(mining.model, texts))
    write_table(folder, "head", _heads(mining.model))
    means = {layer: joined(files, f"{layer}/heads") for layer in mining.saes}
    write_table(folder, "head_metric", heads.metric_table(mining.model.info.id, means, run))


class Plan(NamedTuple):
    """What follows from the first pass, and what the second one is to do."""

    chosen: dict[int, Chosen]
    """Layer to its examples."""
    written: dict[int, Tensor]
    """Layer to unit directions, `[feature, d_model]`."""
    near: dict[int, Nearest]
    wanted: Wanted


def after_first_pass(mining: Mining, state: Mapping[int, Fold]) -> Plan:
    """Choose examples, and pairs of features to count; `state` is the fold of every layer."""
    count = mining.job.mine.neighbours
    chosen = {layer: choose(one, mining.job.mine) for layer, one in state.items()}
    written = directions(mining.exact(), mining.saes)
    near = nearest(written, {layer: one.firings > 0 for layer, one in state.items()}, count)
    sketches = {layer: one.sketch for layer, one in state.items()}
    d_sae = {layer: sae.d_sae for layer, sae in mining.saes.items()}
    pairs = pairs_to_count(near, sketches, d_sae, count)
    places = {layer: Places(one.feature, one.ctx, one.pos) for layer, one in chosen.items()}
    return Plan(chosen, written, near, Wanted(places, pairs))


class Here(NamedTuple):
    """Where a mining happens and who does its units."""

    mining: Mining
    folder: Path
    reporter: Reporter
    engine: Engine

    @property
    def scratch(self) -> Path:
        """Where units leave their files."""
        return self.folder / "work"


def _pass(here: Here, stage: Stage, wanted: Wanted | None) -> list[Path]:
    """One pass over the mined text, a file per unit; only missing ones are computed."""
    mining, reporter = here.mining, here.reporter
    tokens = mining.corpus.mine.tokens
    reporter.stage(_STAGES[stage], tokens.size, "tokens")
    key = keep_wanted(wanted, here.scratch) if wanted else ""
    units = {unit.name: unit for unit in plan(mining, stage, here.scratch, key)}
    hand_over(mining, here.scratch)

    def work(unit: Unit) -> Work:
        if here.engine.elsewhere:
            where = Where(mining.job.model_dump_json(), str(here.folder.resolve()))
            return partial(run_elsewhere, where, unit)
        return partial(run, mining, unit, wanted, reporter.advance)

    def size(unit: Unit) -> int:
        return (unit.last - unit.first) * int(tokens.shape[1])

    missing = {name: unit for name, unit in units.items() if not unit.path.is_file()}
    reporter.advance(sum(size(unit) for name, unit in units.items() if name not in missing))

    def finished(name: str) -> None:
        if here.engine.elsewhere:
            reporter.advance(size(missing[name]))

    failed = run_all(here.engine, {n: work(unit) for n, unit in missing.items()}, finished)
    if failed:
        told = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
        raise BundleError(
            f"{len(failed)} of {len(units)} units failed {TRIES} times: {told}",
            "mend the cause and give the same command again: all others are done",
        )
    return [unit.path for unit in units.values()]


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
    logits = logit_effects(mining.exact(), layer, sae, mining.job.mine.logits)
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
    contexts, chosen = corpus.mine, examples.chosen
    source = tables.strongest_source(examples)

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
    columns = {
        "feature": [label.feature for label in labels],
        "side": [label.side for label in labels],
        "method": ["tokens"] * count,
        "model": [None] * count,
        "prompt": [None] * count,
        "text": [label.text for label in labels],
        "support": [label.support for label in labels],
        "support_low": [label.low for label in labels],
        "support_high": [label.high for label in labels],
        "n": [label.n for label in labels],
        "rule": [label.rule.to_json() for label in labels],
    }
    types = TABLES["label"]
    typed = {name: pa.array(rows, types.field(name).type) for name, rows in columns.items()}
    return pa.table({"sae": key, **typed})


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
