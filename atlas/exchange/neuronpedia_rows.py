"""Rows of a bundle's tables from records of a Neuronpedia export: pure functions."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from atlas.types import HISTOGRAM_BINS

Record = dict[str, Any]
Rows = list[Record]
_UNKNOWN = math.nan


@dataclass(frozen=True, slots=True)
class Words:
    """Token ids by text, made as texts appear."""

    ids: dict[str, int] = field(default_factory=dict)

    def id(self, text: str) -> int:
        """The id of a token."""
        return self.ids.setdefault(text, len(self.ids))


@dataclass(frozen=True, slots=True)
class Contexts:
    """Numbers of contexts by their tokens, made as they appear."""

    numbers: dict[tuple[int, ...], int] = field(default_factory=dict)

    def number(self, tokens: tuple[int, ...]) -> int:
        """The number of a context."""
        return self.numbers.setdefault(tokens, len(self.numbers))


@dataclass(frozen=True, slots=True)
class Source:
    """What an export says of one source."""

    model: Record
    source: Record
    layer: int
    set: str
    features: tuple[Record, ...]
    """By index, none missing."""

    @property
    def sae(self) -> str:
        """The SAE's id."""
        return f"{self.model['id']}/{self.layer}-{self.set}"

    @property
    def run(self) -> str:
        """Name of the run that this import is."""
        return f"neuronpedia-{self.sae.replace('/', '-')}"

    @property
    def n_heads(self) -> int:
        """Heads per layer."""
        return len(self.features[0]["decoder_weights_dist"])

    @property
    def tokens(self) -> int:
        """Positions that the export was mined on."""
        return int(self.source["num_prompts"]) * int(self.source["num_tokens_in_prompt"])

    @property
    def config(self) -> Record:
        """The SAE's own configuration, where the export has it."""
        return self.source.get("saelensConfig") or {}


def features(source: Source, words: Words) -> Rows:
    """Table `feature`; what depends on measured head shares is NULL."""
    return [_feature(source, words, record) for record in source.features]


def _feature(source: Source, words: Words, record: Record) -> Record:
    tokens, shares = source.tokens, _shares(record)
    firings = round(record["frac_nonzero"] * tokens)
    low, high = _wilson(firings, tokens)
    mean, std = _moments(record)
    return {
        "sae": source.sae,
        "feature": int(record["index"]),
        "firings": firings,
        "tokens": tokens,
        "density": record["frac_nonzero"],
        "density_low": low,
        "density_high": high,
        "max_act": record.get("maxActApprox") or 0.0,
        "mean_act": mean if firings else 0.0,
        "std_act": std if firings else 0.0,
        "histogram": _histogram(record),
        "top_tokens": [words.id(text) for text in record.get("pos_str") or ()],
        "top_logits": record.get("pos_values") or [],
        "bottom_tokens": [words.id(text) for text in record.get("neg_str") or ()],
        "bottom_logits": record.get("neg_values") or [],
        "bias": _UNKNOWN,
        "weight_head": shares.index(max(shares)),
        "weight_share": max(shares),
        "weight_entropy": -sum(p * math.log2(p) for p in shares if p > 0),
        "disagree": False,
    }


def _shares(record: Record) -> list[float]:
    """The record's head shares, made to sum to 1."""
    given = [float(one) for one in record["decoder_weights_dist"]]
    total = sum(given) or 1.0
    return [one / total for one in given]


def _bars(record: Record) -> list[tuple[float, float]]:
    """(value, count) of the record's histogram of firings."""
    values = record.get("freq_hist_data_bar_values") or ()
    heights = record.get("freq_hist_data_bar_heights") or ()
    return [(v, n) for v, n in zip(values, heights, strict=True) if v > 0 and n > 0]


def _moments(record: Record) -> tuple[float, float]:
    """Mean and standard deviation over the histogram; unknown without one."""
    bars = _bars(record)
    total = sum(n for _, n in bars)
    if not total:
        return _UNKNOWN, _UNKNOWN
    mean = sum(v * n for v, n in bars) / total
    return mean, math.sqrt(sum(n * (v - mean) ** 2 for v, n in bars) / total)


def _histogram(record: Record) -> list[int]:
    """The counts in this project's bins: four an octave from 2^-8 to 2^8."""
    counts = [0] * HISTOGRAM_BINS
    for value, count in _bars(record):
        place = math.floor((math.log2(value) + 8) * 4)
        counts[min(max(place, 0), HISTOGRAM_BINS - 1)] += round(count)
    return counts


def _wilson(count: int, total: int) -> tuple[float, float]:
    """95 % Wilson interval of count / total; (0, 1) where total is 0."""
    if not total:
        return 0.0, 1.0
    z2, p = 1.96**2, count / total
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = 1.96 * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def feature_heads(source: Source) -> Rows:
    """Table `feature_head`, by weights alone."""
    return [
        {"sae": source.sae, "feature": int(one["index"]), "head": head, "weight_share": share}
        for one in source.features
        for head, share in enumerate(_shares(one))
    ]


def neighbours(source: Source) -> Rows:
    """Table `neighbour`, within the SAE."""
    rows = []
    for one in source.features:
        index = int(one["index"])
        pairs = zip(
            one.get("topkCosSimIndices") or (), one.get("topkCosSimValues") or (), strict=True
        )
        near = {int(other): cosine for other, cosine in pairs}
        near.pop(index, None)  # some exports list a feature as its own neighbour
        rows += [
            {"sae": source.sae, "feature": index, "rank": rank, "other_sae": source.sae,
             "other_feature": other, "cosine": cosine}
            for rank, (other, cosine) in enumerate(near.items())
            if other < len(source.features)
        ]  # fmt: skip
    return rows


def labels(source: Source, records: Iterable[Record]) -> Rows:
    """Table `label`: one title per feature, model and type; the first where there are several."""
    found: dict[tuple[Any, ...], Record] = {}
    for one in records:
        key = (int(one["index"]), one.get("explanationModelName"), one.get("typeName"))
        row = {"sae": source.sae, "feature": key[0], "side": "title", "method": "llm",
               "model": key[1], "prompt": key[2], "text": one["description"]}  # fmt: skip
        if str(one["description"]).strip():
            found.setdefault(key, row)
    return list(found.values())


def examples(source: Source, words: Words, contexts: Contexts, records: Iterable[Record]) -> Rows:
    """Table `example` of some features: top ones, strongest first, one per context.

    Args:
        records: all activations of these features.
    """
    best: dict[tuple[int, int], Record] = {}
    for one in records:
        tokens = tuple(words.id(text) for text in one["tokens"])
        if max(one["values"]) <= 0:
            continue
        row = _example(source, one, contexts.number(tokens), tokens)
        key = (row["feature"], row["ctx"])
        if key not in best or best[key]["act"] < row["act"]:
            best[key] = row
    return _ranked(best.values())


def contexts(source: Source, known: Contexts) -> Rows:
    """Table `context`."""
    same = {"run": source.run, "source": "neuronpedia", "start": 0}
    return [
        same | {"ctx": ctx, "doc": str(ctx), "tokens": tokens}
        for tokens, ctx in known.numbers.items()
    ]


def _example(source: Source, one: Record, ctx: int, tokens: tuple[int, ...]) -> Record:
    """One row; its sources carry no head, so only their strongest and their sum are kept."""
    values, dfa = one["values"], one.get("dfaValues") or []
    pos = values.index(max(values))
    reach = dfa[: pos + 1] if one.get("dfaTargetIndex", pos) == pos else []
    src = reach.index(max(reach)) if any(reach) else None
    fires = [(n, value) for n, value in enumerate(values) if value > 0]
    return {
        "sae": source.sae,
        "feature": int(one["index"]),
        "kind": "top",
        "ctx": ctx,
        "pos": pos,
        "act": values[pos],
        "token": tokens[pos],
        "act_pos": [n for n, _ in fires],
        "act_val": [value for _, value in fires],
        "head_dfa": [],
        "src_pos": [],
        "src_dfa": [],
        "src_head": [],
        "src_rest": float(sum(reach)) if src is not None else _UNKNOWN,
        "src_token": None if src is None else tokens[src],
        "distance": None if src is None else pos - src,
        "residual": _UNKNOWN,
    }


def _ranked(rows: Iterable[Record]) -> Rows:
    ordered = sorted(rows, key=lambda row: (row["feature"], -row["act"], row["ctx"]))
    ranks: dict[int, int] = {}
    for row in ordered:
        row["rank"] = ranks.get(row["feature"], 0)
        ranks[row["feature"]] = row["rank"] + 1
    return ordered


def model(source: Source, words: Words) -> Rows:
    """Table `model`; that heads share keys and values is not known, so each has its own."""
    width = source.model.get("dimension")
    return [
        {
            "id": source.model["id"],
            "name": source.model.get("displayName") or source.model["id"],
            "family": "unknown",
            "n_layers": int(source.model["layers"]),
            "n_heads": source.n_heads,
            "n_kv_heads": source.n_heads,
            "d_head": int(source.config.get("d_in") or width or 0) // source.n_heads,
            "d_model": int(width or 0),
            "vocab_size": len(words.ids),
            "weights_sha256": f"neuronpedia {source.model['id']}",
        }
    ]


def vocab(source: Source, words: Words) -> Rows:
    """Table `vocab`, of the tokens that the export shows."""
    return [
        {"model": source.model["id"], "token": n, "text": text} for text, n in words.ids.items()
    ]


def heads(source: Source) -> Rows:
    """Table `head`."""
    return [
        {"model": source.model["id"], "layer": layer, "head": head, "kv_head": head}
        for layer in range(int(source.model["layers"]))
        for head in range(source.n_heads)
    ]


def run(source: Source, now: datetime, length: int) -> Rows:
    """Table `run`: the import itself."""
    return [
        {
            "id": source.run,
            "kind": "import",
            "model": source.model["id"],
            "created_at": now.astimezone(UTC).replace(tzinfo=None),
            "seconds": 0.0,
            "config": json.dumps({"neuronpedia": source.source}, sort_keys=True),
            "versions": "{}",
            "device": "",
            "bos": "unknown",
            "positions": "unknown",
            "corpus": source.source.get("dataset") or "unknown",
            "corpus_sha256": "",
            "context_length": length,
            "train_tokens": 0,
            "mine_tokens": source.tokens,
        }
    ]


def sae(source: Source, weights: str) -> Rows:
    """Table `sae`, not evaluated; `weights` is the hash of the file that holds none."""
    hook = source.features[0].get("hookName") or source.config.get("hook_name")
    return [
        {
            "id": source.sae,
            "model": source.model["id"],
            "layer": source.layer,
            "set_name": source.set,
            "hook": hook or f"blocks.{source.layer}.attn.hook_z",
            "architecture": source.config.get("architecture") or "unknown",
            "d_in": int(source.config.get("d_in") or 0),
            "d_sae": len(source.features),
            "run": source.run,
            "weights": "weights.safetensors",
            "weights_sha256": weights,
        }
    ]
