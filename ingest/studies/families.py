"""The study of feature families: rules on stored examples, tested on text that was held out.

1. Stored examples of every SAE: how their DFA is shared out over sources, and which families hold.
2. Held-out text: the model and the SAEs run on it, every firing attributed to its sources; do the
   families explain these firings as well?
3. The same text without the model: do the families predict, from words alone, where features fire?
4. Random tokens said twice: the paper's own induction detector, beside the rule on DFA.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from atlas.errors import CorpusError
from atlas.ids import SaeId
from atlas.lens.dfa import context_dfa
from atlas.lens.sae import Sae, encode
from ingest.config import Count, StudyPart
from ingest.label.rules import normalise
from ingest.studies import family_tables as tables
from ingest.studies import family_text as texts
from ingest.studies import induction
from ingest.studies.family_rules import FAMILIES, Judged, Shares, explained, judge, shares
from ingest.studies.family_tables import Examples, Fired
from ingest.studies.rows import table_of
from ingest.studies.study import Arrays, Batch, Findings, Study

BLOCK = 2048
"""Firings of one context that are attributed at a time."""
TABLES_MADE = (
    "feature_family", "family_share", "family_bin", "feature_induction", "induction_share",
)  # fmt: skip


class FamiliesPart(StudyPart):
    """Settings of the study of feature families."""

    tokens: Count = 20_000
    boosted: Count = 2
    """Tokens per feature, boosted most by its decoder, on which the induction detector tests it."""
    trials: Count = 6
    """Random sequences in which each of these tokens is tested."""


def study_families(study: Study, settings: FamiliesPart) -> Findings:
    """Families of all features of the model's SAEs, with precision, recall and shares per SAE."""
    words = _words(study)
    judged = {name: _judge(study, name, words) for name in study.saes}
    text = study.text.text.contexts
    unseen = _unseen(study)
    fired = _fired(study, words, unseen)
    places = np.arange(text.tokens.shape[1])
    valid = (places >= 1) & (places < text.length[:, None]) & unseen[:, None]
    context_words = np.where(places < text.length[:, None], words[text.tokens], -1)
    context_words[:, 0] = -1
    index = texts.index(context_words, valid)
    names = np.array(_vocabulary(words, study), dtype=object)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES_MADE}
    detected = induction.detect(study, settings.boosted, settings.trials)
    study.work.reporter.stage("judge", len(judged), "SAEs")
    for name, (examples, found) in judged.items():
        own = list(tables.feature_rows(str(name), examples, found, fired[name], index, names))
        live, rule = int((found.examples > 0).sum()), found.holds["induction"]
        rows["feature_family"] += own
        rows["family_share"] += tables.share_rows(str(name), own, live)
        rows["family_bin"] += tables.bin_rows(str(name), own)
        rows["feature_induction"] += induction.feature_rows(name, detected[name], rule)
        rows["induction_share"].append(induction.share_row(name, detected[name], rule))
        study.work.reporter.advance(1)
    run = study.work.run
    samples = {
        "contexts": int(unseen.sum()),
        "contexts left out": int((~unseen).sum()),
        "held-out positions": int(valid.sum()),
        "held-out firings": sum(len(one.feature) for one in fired.values()),
        "stored examples": sum(len(one.feature) for one, _ in judged.values()),
        "boosted tokens per feature": settings.boosted,
        "sequences per boosted token": settings.trials,
    }
    return Findings({name: table_of(name, own, run) for name, own in rows.items()}, samples)


def _words(study: Study) -> NDArray[Any]:
    """Number of the word of every token id."""
    texts_ = [normalise(text) for text in study.atlas.vocab(study.info.id)]
    numbers = np.unique(np.array(texts_, dtype=object), return_inverse=True)[1]
    found: NDArray[Any] = numbers.astype(np.int32)
    return found


def _vocabulary(words: NDArray[Any], study: Study) -> list[str]:
    """Text of every word number."""
    names = [""] * (int(words.max()) + 1)
    for number, text in zip(words.tolist(), study.atlas.vocab(study.info.id), strict=True):
        names[number] = normalise(text)
    return names


def _judge(study: Study, name: SaeId, words: NDArray[Any]) -> tuple[Examples, Judged]:
    examples = _examples(study, name, words)
    found = judge(
        examples.feature,
        examples.word,
        examples.pos,
        explained(examples.shares),
        study.atlas.sae(name).d_sae,
    )
    return examples, found


def _examples(study: Study, name: SaeId, words: NDArray[Any]) -> Examples:
    contexts = pa.Table.from_batches(study.atlas.export(name, "context").batches)
    width = max(map(len, contexts["tokens"]), default=1)
    numbers = contexts["ctx"].to_numpy()
    context_words = np.full((len(contexts), width), -1, np.int32)
    for row, tokens in zip(context_words, contexts["tokens"].to_pylist(), strict=True):
        row[: len(tokens)] = words[tokens]
    context_words[:, 0] = -1
    parts = []
    for batch in study.atlas.export(name, "example").batches:
        table = pa.Table.from_batches([batch]).select(
            ["feature", "kind", "ctx", "pos", "src_pos", "src_dfa", "src_rest"]
        )
        table = table.filter(pa.compute.not_equal(table["kind"], "near_miss"))
        rows = np.searchsorted(numbers, table["ctx"].to_numpy())
        parts.append(_example_part(table, context_words[rows]))
    columns = [np.concatenate(column) for column in zip(*(part[:4] for part in parts), strict=True)]
    found = Shares(*(np.concatenate(c) for c in zip(*(part[4] for part in parts), strict=True)))
    order = np.argsort(columns[0], kind="stable")
    feature, pos, word, source = (column[order] for column in columns)
    return Examples(feature, pos, word, source, Shares(*(column[order] for column in found)))


def _example_part(table: pa.Table, words: NDArray[Any]) -> Examples:
    pos = table["pos"].to_numpy().astype(np.int64)
    src, dfa = _padded(table["src_pos"], 0), _padded(table["src_dfa"], 0.0)
    src = src.astype(np.int64)
    found = shares(words, pos, src, dfa, table["src_rest"].to_numpy())
    row = np.arange(len(pos))
    top = src[row, np.where(dfa > 0, dfa, -np.inf).argmax(1)]
    source = np.where(top > 0, words[row, np.minimum(top, pos)], -1)
    return Examples(table["feature"].to_numpy(), pos, words[row, pos], source, found)


def _padded(lists: pa.ChunkedArray, fill: float) -> NDArray[Any]:
    """`[n, most]` of lists that may differ in length."""
    lists = lists.combine_chunks()
    sizes = pa.compute.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    padded = np.full((len(sizes), int(sizes.max(initial=1))), fill)
    padded[np.arange(padded.shape[1]) < sizes[:, None]] = lists.flatten().to_numpy()
    return padded


def _unseen(study: Study) -> NDArray[Any]:
    """`[context]`: whether no example of its document is among those that rules were judged on.

    Raises:
        CorpusError: there is no such context.
    """
    text = study.text.text
    mined: set[str] = set()
    for name in study.saes if study.text.mined else ():
        for batch in study.atlas.export(name, "context").batches:
            mined |= set(batch["doc"].to_pylist())
    unseen = np.array([text.doc_ids[doc] not in mined for doc in text.contexts.doc])
    if not unseen.any():
        raise CorpusError(
            "every held-out document gave examples to the atlas, on which no rule can be tested",
            "raise `tokens`, or give other text with `corpus.name`",
        )
    return unseen


def _fired(study: Study, words: NDArray[Any], unseen: NDArray[Any]) -> dict[SaeId, Fired]:
    """Every firing on contexts that were not seen, attributed to its sources."""
    loaded = {name: study.sae(name) for name in study.saes}
    batches = study.each("validate", partial(_fired_batch, study, loaded, words, unseen))
    parts: dict[SaeId, list[list[NDArray[Any]]]] = {name: [] for name in loaded}
    for found in batches:
        for name, kept in parts.items():
            kept.append([found[f"{name}:{column}"] for column in Fired._fields])
    return {
        name: Fired(*(np.concatenate(column) for column in zip(*kept, strict=True)))
        for name, kept in parts.items()
    }


@torch.inference_mode()
def _fired_batch(
    study: Study,
    loaded: dict[SaeId, Sae],
    words: NDArray[Any],
    unseen: NDArray[Any],
    batch: Batch,
) -> Arrays:
    model = study.model
    known = torch.from_numpy(unseen[batch.first : batch.first + len(batch.tokens)])
    valid = batch.valid & known[:, None]
    attention = model.attention(batch.tokens, sorted({name.layer for name in loaded}))
    width, found = batch.tokens.shape[1], {}
    for name, sae in loaded.items():
        layer = attention[name.layer]
        acts = encode(sae, layer.z.flatten(2).float().flatten(0, 1))
        acts = acts.view(*batch.tokens.shape, -1) * valid[..., None].to(acts.device)
        kept: list[tuple[Any, ...]] = []
        for row in range(len(batch.tokens)):
            context = np.where(np.arange(width) > 0, words[batch.tokens[row]], -1)
            pattern, v = layer.pattern[row].float(), layer.v[row].float()
            for at, features in _blocks(acts[row]):
                dfa = context_dfa(pattern[:, at], v, sae.w_enc[features], model.kv_head).sum(1)
                flags = _flags(context, at.cpu().numpy(), dfa.cpu().numpy())
                place = (batch.first + row) * width + at.cpu().numpy()
                kept.append((features.cpu().numpy(), place, acts[row, at, features].cpu().numpy(),
                             flags))  # fmt: skip
        columns = zip(*kept, strict=True) if kept else [[np.zeros(0, np.int64)]] * 4
        for column, values in zip(Fired._fields, columns, strict=True):
            found[f"{name}:{column}"] = np.concatenate(list(values))
    return found


def _blocks(acts: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(positions, features) of the firings in `[pos, feature]`, some at a time."""
    for part in acts.nonzero().split(BLOCK):
        if len(part):
            yield part[:, 0], part[:, 1]


def _flags(context: NDArray[Any], pos: NDArray[Any], dfa: NDArray[Any]) -> NDArray[Any]:
    """One bit per family that looks at DFA, of firings of one context with DFA `[n, src]`."""
    n, width = dfa.shape
    words = np.broadcast_to(context, (n, width))
    src = np.broadcast_to(np.arange(width), (n, width))
    by_family = explained(shares(words, pos, src, dfa, np.zeros(n)))
    flags = np.zeros(n, np.int64)
    for number, name in enumerate(FAMILIES):
        if name in by_family:
            flags |= by_family[name].astype(np.int64) << number
    return flags
