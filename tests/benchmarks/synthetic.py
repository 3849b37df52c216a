"""A SYNTHETIC atlas of any size, to time serving with. Nothing in it was measured on a model.

Shapes, cardinalities and skew follow a real one: Zipf tokens, log-normal densities, features that
prefer one token, a few heads that take most of a feature, sparse activations per context.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from atlas.bundle import WEIGHTS, Bundle, seal, sha256_file, write_table
from atlas.tables import TABLES

Array = np.ndarray[Any, Any]
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
RULES = ("token after “{a}”", "predicts “{a}” by induction", "“{a}” near “{b}”", "“{a}” in {b}")


@dataclass(frozen=True, slots=True)
class Size:
    """How large the atlas is."""

    saes: int = 14
    features: int = 25_000
    """Per SAE."""
    examples: int = 57
    """Per live feature."""
    contexts: int = 60_000
    """Per SAE."""
    length: int = 128
    """Tokens per context."""
    heads: int = 12
    vocab: int = 50_000


def make(folder: Path, size: Size, seed: int = 0) -> list[Path]:
    """Write one bundle per SAE; gives their folders."""
    words = _words(size.vocab)
    return [
        _bundle(
            folder / f"synthetic-{n:02d}", size, n, words, np.random.default_rng([seed, n])
        ).path
        for n in range(size.saes)
    ]


def _words(n: int) -> list[str]:
    """`n` different words, short ones first; every third continues a word, as subwords do."""
    words = []
    for i in range(n):
        word, rest = "", i
        while rest or not word:
            rest, digit = divmod(rest, len(SYLLABLES))
            word += SYLLABLES[digit]
        words.append(word if i % 3 == 2 else f" {word}")
    return ["<s>", *words[1:]]


def _bundle(
    folder: Path, size: Size, number: int, words: list[str], rng: np.random.Generator
) -> Bundle:
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(f"synthetic {number}".encode())
    sae, run, n = f"synthetic/{number}-z", f"synthetic-{number}", size.features
    tokens = np.minimum(rng.zipf(1.3, (size.contexts, size.length)), size.vocab - 1)
    tokens = tokens.astype(np.int32)
    tokens[:, 0] = 0
    alive = rng.random(n) > 0.04
    shares = rng.dirichlet(np.full(size.heads, 0.25), n).astype(np.float32)
    measured = shares * 0.7 + 0.3 * rng.dirichlet(np.full(size.heads, 0.3), n).astype(np.float32)
    likes = tokens[rng.integers(0, size.contexts, n), rng.integers(1, size.length, n)]
    _write(folder, "model", _model(size))
    _write(folder, "run", _run(run))
    _write(folder, "sae", _sae(sae, run, number, size, sha256_file(folder / WEIGHTS)))
    _write(folder, "vocab", {"model": ["synthetic"] * size.vocab, "token": np.arange(size.vocab),
                             "text": words})  # fmt: skip
    _write(folder, "context", _contexts(run, tokens))
    _write(folder, "feature", _features(sae, size, alive, shares, measured, rng))
    _write(folder, "feature_head", _feature_heads(sae, alive, shares, measured))
    _write(folder, "example", _examples(sae, size, tokens, alive, likes, measured, rng))
    _write(folder, "neighbour", _neighbours(sae, n, rng))
    _write(folder, "label", _labels(sae, alive, likes, words, rng))
    _write(folder, "label_score", _scores(sae, alive, rng))
    layer, head = (grid.ravel() for grid in np.mgrid[0 : size.saes, 0 : size.heads])
    _write(folder, "head", {"model": ["synthetic"] * len(layer), "layer": layer, "head": head,
                            "kv_head": head})  # fmt: skip
    return seal(folder, run)


def _write(folder: Path, name: str, columns: dict[str, Any]) -> None:
    """Write a table; columns left out are NULL, a single text is repeated."""
    rows = next(len(column) for column in columns.values() if not isinstance(column, str))
    arrays = {}
    for field in TABLES[name]:
        column = columns.get(field.name)
        if isinstance(column, str):
            index = pa.array(np.zeros(rows, np.int32))
            arrays[field.name] = pa.DictionaryArray.from_arrays(index, [column])
        elif column is None:
            arrays[field.name] = pa.nulls(rows)
        else:
            arrays[field.name] = column if isinstance(column, pa.Array) else pa.array(column)
    write_table(folder, name, pa.table(arrays))


def _lists(values: Array) -> pa.Array:
    """Rows of a matrix as lists."""
    ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(ends, pa.array(values.ravel()))


def _masked(values: Array, known: Array) -> pa.Array:
    return pa.array(values, mask=~known)


def _model(size: Size) -> dict[str, Any]:
    return {
        "id": ["synthetic"], "name": ["SYNTHETIC, for timing"], "family": ["none"],
        "n_layers": [size.saes], "n_heads": [size.heads], "n_kv_heads": [size.heads],
        "d_head": [64], "d_model": [64 * size.heads], "vocab_size": [size.vocab],
        "weights_sha256": ["0" * 64],
    }  # fmt: skip


def _run(run: str) -> dict[str, Any]:
    return {
        "id": [run], "kind": ["synthetic"], "model": ["synthetic"],
        "created_at": [datetime(2026, 1, 1)],  # noqa: DTZ001
        "seconds": [0.0], "config": ["{}"], "versions": ["{}"], "device": ["none"],
        "bos": ["model"], "positions": ["skip 1"], "corpus": ["SYNTHETIC"],
        "corpus_sha256": [""], "context_length": [128], "train_tokens": [0],
        "mine_tokens": [10_000_000],
    }  # fmt: skip


def _sae(sae: str, run: str, layer: int, size: Size, weights: str) -> dict[str, Any]:
    return {
        "id": [sae], "model": ["synthetic"], "layer": [layer], "set_name": ["z"],
        "hook": [f"blocks.{layer}.attn.hook_z"], "architecture": ["jumprelu"],
        "d_in": [64 * size.heads], "d_sae": [size.features], "run": [run], "weights": [WEIGHTS],
        "weights_sha256": [weights],
    }  # fmt: skip


def _contexts(run: str, tokens: Array) -> dict[str, Any]:
    n = len(tokens)
    return {"ctx": np.arange(n), "run": [run] * n, "doc": [f"doc-{i // 8}" for i in range(n)],
            "source": ["synthetic"] * n, "start": np.arange(n) % 8 * 128,
            "tokens": _lists(tokens)}  # fmt: skip


def _features(
    sae: str, size: Size, alive: Array, shares: Array, measured: Array, rng: np.random.Generator
) -> dict[str, Any]:
    n = size.features
    density = np.where(alive, np.minimum(np.exp(rng.normal(-7, 1.5, n)), 0.5), 0)
    top = np.where(alive, rng.gamma(4, 1, n) + 0.1, 0).astype(np.float32)
    apart = np.abs(shares - measured).sum(1) / 2
    families = np.array(["induction", "previous token", "local context"], dtype=object)
    family = [families[i] if i < 3 else None for i in rng.integers(0, 9, n)]
    return {
        "sae": sae, "feature": np.arange(n), "firings": (density * 1e7).astype(np.int64) + alive,
        "tokens": np.full(n, 10_000_000), "density": density, "density_low": density * 0.98,
        "density_high": density * 1.02, "max_act": top, "mean_act": top / 3, "std_act": top / 6,
        "histogram": _lists(rng.poisson(50, (n, 64)).astype(np.int32)),
        "top_tokens": _lists(rng.integers(1, size.vocab, (n, 10)).astype(np.int32)),
        "top_logits": _lists(-np.sort(-rng.random((n, 10)).astype(np.float32))),
        "bottom_tokens": _lists(rng.integers(1, size.vocab, (n, 10)).astype(np.int32)),
        "bottom_logits": _lists(np.sort(-rng.random((n, 10)).astype(np.float32))),
        "bias": np.full(n, -0.1, np.float32), "weight_head": shares.argmax(1).astype(np.int16),
        "weight_share": shares.max(1), "weight_entropy": _entropy(shares),
        "dfa_head": _masked(measured.argmax(1).astype(np.int16), alive),
        "dfa_share": _masked(measured.max(1), alive),
        "dfa_entropy": _masked(_entropy(measured), alive), "disagreement": _masked(apart, alive),
        "disagree": (shares.argmax(1) != measured.argmax(1)) & (apart > 0.25),
        "residual": _masked(np.full(n, 1e-6, np.float32), alive), "family": family,
    }  # fmt: skip


def _entropy(shares: Array) -> Array:
    entropy: Array = -(shares * np.log2(np.maximum(shares, 1e-12))).sum(1)
    return entropy.astype(np.float32)


def _feature_heads(sae: str, alive: Array, shares: Array, measured: Array) -> dict[str, Any]:
    n, heads = shares.shape
    known = np.repeat(alive, heads)
    return {
        "sae": sae, "feature": np.repeat(np.arange(n), heads), "head": np.tile(np.arange(heads), n),
        "weight_share": shares.ravel(), "dfa_mean": _masked(measured.ravel(), known),
        "dfa_share": _masked(measured.ravel(), known), "won": _masked(measured.ravel(), known),
    }  # fmt: skip


def _examples(
    sae: str,
    size: Size,
    tokens: Array,
    alive: Array,
    likes: Array,
    measured: Array,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Every live feature fires on its token; 20 top examples, the others by interval."""
    live = np.flatnonzero(alive)
    feature = np.repeat(live, size.examples)
    rank = np.tile(np.arange(size.examples), len(live))
    flat = tokens.ravel()
    order = np.argsort(flat, kind="stable")
    starts, counts = np.searchsorted(flat[order], likes), np.bincount(flat, minlength=size.vocab)
    at = order[starts[feature] + rng.integers(0, counts[likes[feature]])]
    ctx, pos = np.divmod(at, size.length)
    act = np.sort(rng.gamma(4, 1, (len(live), size.examples)).astype(np.float32))[:, ::-1].ravel()
    sources = rng.integers(0, np.maximum(pos, 1)[:, None], (len(feature), 5)).astype(np.int16)
    parts = rng.dirichlet(np.full(5, 0.5), len(feature)).astype(np.float32)
    head_dfa = measured[feature] * act[:, None]
    near = np.minimum(pos[:, None] + np.arange(3), size.length - 1).astype(np.int16)
    is_top, others = rank < 20, np.maximum(rank - 20, 0)
    kinds = pa.DictionaryArray.from_arrays(
        pa.array((~is_top).astype(np.int32)), ["top", "interval"]
    )
    return {
        "sae": sae, "feature": feature, "kind": kinds.cast(pa.string()),
        "band": _masked(others // 5, ~is_top), "rank": np.where(is_top, rank, others % 5),
        "ctx": ctx, "pos": pos, "act": act, "token": flat[at], "act_pos": _lists(near),
        "act_val": _lists(act[:, None] * np.array([1, 0.5, 0.25], np.float32)),
        "head_dfa": _lists(head_dfa), "src_pos": _lists(sources),
        "src_dfa": _lists(parts * act[:, None]),
        "src_head": _lists(np.tile(measured[feature].argmax(1)[:, None], 5).astype(np.int16)),
        "src_rest": np.zeros(len(feature), np.float32), "src_token": tokens[ctx, sources[:, 0]],
        "distance": pos - sources[:, 0], "residual": np.full(len(feature), 1e-6, np.float32),
    }  # fmt: skip


def _neighbours(sae: str, n: int, rng: np.random.Generator) -> dict[str, Any]:
    step = rng.choice(n - 1, 10, replace=False) + 1
    other = (np.arange(n)[:, None] + step[None, :]) % n
    return {
        "sae": sae, "feature": np.repeat(np.arange(n), 10), "rank": np.tile(np.arange(10), n),
        "other_sae": sae, "other_feature": other.ravel(),
        "cosine": np.tile(np.linspace(0.9, 0.3, 10, dtype=np.float32), n),
    }  # fmt: skip


def _labels(
    sae: str, alive: Array, likes: Array, words: list[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Four sides by rule for every live feature, a title by a model for every third."""
    rows = []
    for feature in np.flatnonzero(alive):
        a, b = words[likes[feature]].strip(), words[int(rng.integers(1, 2000))].strip()
        title = RULES[feature % len(RULES)].format(a=a, b=b)
        sides = {"title": title, "when": f"fires on “{a}”", "fetches": f"from “{b}”"}
        rows += [(feature, side, "tokens", text) for side, text in sides.items()]
        if feature % 3 == 0:
            picked = " ".join(words[i].strip() for i in rng.integers(1, 3000, 9))
            rows.append((feature, "title", "llm", f"{a} as in {picked}"))
    feature, side, method, text = (list(column) for column in zip(*rows, strict=True))
    return {
        "sae": sae, "feature": np.array(feature), "side": side, "method": method, "text": text,
        "support": rng.random(len(rows)).astype(np.float32),
        "model": [None if one == "tokens" else "synthetic" for one in method],
    }  # fmt: skip


def _scores(sae: str, alive: Array, rng: np.random.Generator) -> dict[str, Any]:
    """Two scorers on every title by a model."""
    titled = [feature for feature in np.flatnonzero(alive) if feature % 3 == 0]
    rows = 2 * len(titled)
    return {
        "sae": sae, "feature": np.repeat(titled, 2), "method": "llm", "model": "synthetic",
        "scorer": ["detection", "fuzzing"] * len(titled), "n": np.full(rows, 40),
        "score": np.clip(rng.normal(0.72, 0.14, rows), 0, 1).astype(np.float32),
        "judgements": "[]",
    }  # fmt: skip
