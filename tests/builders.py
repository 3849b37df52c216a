"""A small hand-made bundle, so that store and app are tested without a model.

Model `toy`: two layers of two heads, a dozen words. One SAE per layer asked for, six features
each: 0 is an induction-like feature of head 1, 1 a previous-token feature of head 0,
2 fires on " the", 3 disagrees between weights and measurement, 4 belongs to both heads, 5 is dead.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from atlas.bundle import WEIGHTS, Bundle, seal, sha256_file, write_table

WORDS = [
    "<s>",
    " the",
    " cat",
    " sat",
    " on",
    " mat",
    "\n",
    " board",
    " members",
    "▁x",
    ".",
    " dog",
]
CONTEXTS = [[0, 1, 2, 3, 4, 1, 5, 10], [0, 1, 7, 8, 10, 1, 7, 8], [0, 1, 11, 3, 6, 9, 10, 1]]
TITLES = [
    "predicts “ board” by induction",
    "token after “ cat”",
    "“ the”",
    "“ mat” near “ cat”",
    "end of sentence “.”",
]
#             firings max  weight shares  measured shares
FEATURES = [
    (120, 8.0, (0.1, 0.9), (0.05, 0.95)),
    (60, 4.0, (0.8, 0.2), (0.9, 0.1)),
    (900, 2.0, (0.6, 0.4), (0.7, 0.3)),
    (30, 6.0, (0.9, 0.1), (0.2, 0.8)),
    (300, 3.0, (0.5, 0.5), (0.5, 0.5)),
    (0, 0.0, (0.3, 0.7), None),
]
TOKENS = 3000


def a_bundle(
    folder: Path, run: str = "run-1", layers: tuple[int, ...] = (0, 1), **changes: Any
) -> Bundle:
    """Write and seal a bundle. `changes` replaces whole columns: `sae={"fvu": [0.1, 0.2]}`."""
    saes = [f"toy/{layer}-t" for layer in layers]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(f"weights of {run}".encode())
    tables = {
        "model": _model(),
        "run": _run(run),
        "training_curve": _curve(run, layers),
        "run_log": _log(run),
        "sae": _saes(run, layers, sha256_file(folder / WEIGHTS)),
        "feature": _features(saes),
        "feature_head": _feature_heads(saes),
        "context": _contexts(run),
        "vocab": {"model": ["toy"] * len(WORDS), "token": list(range(len(WORDS))), "text": WORDS},
        "example": _examples(saes),
        "neighbour": _neighbours(saes),
        "label": _labels(saes),
        "head": {
            "model": ["toy"] * 4,
            "layer": [0, 0, 1, 1],
            "head": [0, 1, 0, 1],
            "kv_head": [0, 0, 0, 0],
        },
    }
    for name, columns in tables.items():
        write_table(folder, name, _cast(name, {**columns, **changes.get(name, {})}))
    return seal(folder, run)


def _cast(name: str, columns: dict[str, list[Any]]) -> pa.Table:
    from atlas.tables import TABLES

    arrays = {}
    for field in TABLES[name]:
        kind = pa.string() if pa.types.is_dictionary(field.type) else field.type
        array = pa.array(columns[field.name], kind)
        arrays[field.name] = array.dictionary_encode() if kind is not field.type else array
    return pa.table(arrays)


def _model() -> dict[str, list[Any]]:
    return {
        "id": ["toy"],
        "name": ["hand-made"],
        "family": ["gpt2"],
        "n_layers": [2],
        "n_heads": [2],
        "n_kv_heads": [1],
        "d_head": [4],
        "d_model": [8],
        "vocab_size": [len(WORDS)],
        "bos_token": [0],
        "weights_sha256": ["0" * 64],
    }


def _run(run: str) -> dict[str, list[Any]]:
    return {
        "id": [run],
        "kind": ["atlas"],
        "model": ["toy"],
        "created_at": [datetime(2026, 1, 2, 3, 4, 5)],  # noqa: DTZ001 (stored without zone, UTC)
        "seconds": [12.5],
        "config": ['{"sae": {"k": 2}}'],
        "versions": ['{"torch": "2.13.0"}'],
        "device": ["cpu"],
        "bos": ["model"],
        "positions": ["skip 1"],
        "corpus": ["hand-made"],
        "corpus_sha256": ["1" * 64],
        "context_length": [8],
        "train_tokens": [9000],
        "mine_tokens": [TOKENS],
    }


def _curve(run: str, layers: tuple[int, ...]) -> dict[str, list[Any]]:
    steps = [(layer, step) for layer in layers for step in (1, 2, 4, 9)]
    return {
        "run": [run] * len(steps),
        "layer": [layer for layer, _ in steps],
        "step": [step for _, step in steps],
        "tokens": [1000 * step for _, step in steps],
        "fvu": [1 / step + layer / 10 for layer, step in steps],
        "l0": [2.0] * len(steps),
        "dead": [0.0] * len(steps),
        "loss": [1 / step for _, step in steps],
        "learning_rate": [0.001 * (10 - step) for _, step in steps],
    }


def _log(run: str) -> dict[str, list[Any]]:
    return {
        "run": [run] * 3,
        "rank": [0, 1, 2],
        "stage": ["train"] * 2 + ["mine"],
        "began_at": [datetime(2026, 1, 2, 3, 4, n) for n in range(3)],  # noqa: DTZ001 (UTC)
        "seconds": [None, 9.5, 2.0],
        "done": [0.0, 9000.0, float(TOKENS)],
        "unit": ["tokens"] * 3,
        "outcome": ["unfinished", "done", "done"],
        "message": [""] * 3,
    }


def _saes(run: str, layers: tuple[int, ...], weights: str) -> dict[str, list[Any]]:
    n = len(layers)
    numbers = {
        "l0": 2.0,
        "fvu": 0.25,
        "ce_clean": 3.0,
        "ce_sae": 3.02,
        "ce_zero": 3.2,
        "ce_mean": 3.1,
        "ce_sae_low": 0.01,
        "ce_sae_high": 0.03,
        "ce_zero_low": 0.15,
        "ce_zero_high": 0.25,
        "ce_mean_low": 0.05,
        "ce_mean_high": 0.15,
        "recovered_zero": 0.9,
        "recovered_mean": 0.8,
        "eval_tokens": 500,
        "dead_share": 1 / 6,
        "dead_window": 3000,
        "sink_norm": 40.0,
    }
    return {
        "id": [f"toy/{layer}-t" for layer in layers],
        "model": ["toy"] * n,
        "layer": list(layers),
        "set_name": ["t"] * n,
        "hook": [f"blocks.{layer}.attn.hook_z" for layer in layers],
        "architecture": ["jumprelu"] * n,
        "d_in": [8] * n,
        "d_sae": [len(FEATURES)] * n,
        "run": [run] * n,
        **{name: [value] * n for name, value in numbers.items()},
        "weights": [WEIGHTS] * n,
        "weights_sha256": [weights] * n,
    }


def _features(saes: list[str]) -> dict[str, list[Any]]:
    rows = []
    for sae in saes:
        for index, (firings, top, weights, measured) in enumerate(FEATURES):
            alive = measured is not None
            rows.append(
                {
                    "sae": sae,
                    "feature": index,
                    "firings": firings,
                    "tokens": TOKENS,
                    "density": firings / TOKENS,
                    "density_low": firings / TOKENS * 0.8,
                    "density_high": firings / TOKENS * 1.2,
                    "max_act": top,
                    "mean_act": top / 2,
                    "std_act": top / 8,
                    "histogram": [firings if b == 40 else 0 for b in range(64)],
                    "top_tokens": [7, 8],
                    "top_logits": [1.5, 0.5],
                    "bottom_tokens": [1, 10],
                    "bottom_logits": [-1.0, -0.25],
                    "bias": -0.5,
                    "weight_head": int(np.argmax(weights)),
                    "weight_share": max(weights),
                    "weight_entropy": _entropy(weights),
                    "dfa_head": int(np.argmax(measured)) if alive else None,
                    "dfa_share": max(measured) if alive else None,
                    "dfa_entropy": _entropy(measured) if alive else None,
                    "disagreement": abs(weights[0] - measured[0]) if alive else None,
                    "disagree": index == 3,
                    "residual": 1e-6 if alive else None,
                    "family": "induction" if index == 0 else None,
                    "family_score": 0.9 if index == 0 else None,
                }
            )
    return _columns(rows)


def _entropy(shares: tuple[float, ...]) -> float:
    return float(-sum(p * np.log2(p) for p in shares))


def _feature_heads(saes: list[str]) -> dict[str, list[Any]]:
    rows = []
    for sae in saes:
        for index, (_, top, weights, measured) in enumerate(FEATURES):
            for head in (0, 1):
                share = measured[head] if measured else None
                rows.append(
                    {
                        "sae": sae,
                        "feature": index,
                        "head": head,
                        "weight_share": weights[head],
                        "dfa_mean": share and share * top / 2,
                        "dfa_share": share,
                        "won": None if share is None else float(share >= 0.5),
                    }
                )
    return _columns(rows)


def _contexts(run: str) -> dict[str, list[Any]]:
    return {
        "ctx": list(range(len(CONTEXTS))),
        "run": [run] * len(CONTEXTS),
        "doc": [f"doc-{n}" for n in range(len(CONTEXTS))],
        "source": ["hand-made"] * len(CONTEXTS),
        "start": [0] * len(CONTEXTS),
        "tokens": CONTEXTS,
    }


def _examples(saes: list[str]) -> dict[str, list[Any]]:
    """Three top examples per live feature; act = bias + sources, split over heads by share."""
    rows = []
    for sae in saes:
        for index, (_, top, _, measured) in enumerate(FEATURES):
            if measured is None:
                continue
            for rank, tokens in enumerate(CONTEXTS):
                pos, src = 6 - rank, 2
                act = top - rank
                given = act + 0.5  # the bias is -0.5
                rows.append(
                    {
                        "sae": sae,
                        "feature": index,
                        "kind": "top",
                        "band": None,
                        "rank": rank,
                        "ctx": rank,
                        "pos": pos,
                        "act": act,
                        "token": tokens[pos],
                        "act_pos": [pos],
                        "act_val": [act],
                        "head_dfa": [given * measured[0], given * measured[1]],
                        "src_pos": [src, 0],
                        "src_dfa": [given * 0.75, given * 0.25],
                        "src_head": [int(np.argmax(measured))] * 2,
                        "src_rest": 0.0,
                        "src_token": tokens[src],
                        "distance": pos - src,
                        "residual": 1e-6,
                    }
                )
    return _columns(rows)


def _neighbours(saes: list[str]) -> dict[str, list[Any]]:
    rows = [
        {
            "sae": sae,
            "feature": 0,
            "rank": 0,
            "other_sae": sae,
            "other_feature": 3,
            "cosine": 0.8,
            "jaccard": 0.1,
            "fire_rank": None,
        }
        for sae in saes
    ]
    return _columns(rows)


def _labels(saes: list[str]) -> dict[str, list[Any]]:
    rows = [
        {
            "sae": sae,
            "feature": index,
            "side": side,
            "method": "tokens",
            "model": None,
            "prompt": None,
            "text": text if side == "title" else f"{side}: {text}",
            "support": 0.75,
            "support_low": 0.5,
            "support_high": 0.9,
            "n": 12,
            "rule": "{}",
        }
        for sae in saes
        for index, text in enumerate(TITLES)
        for side in ("title", "when", "fetches", "says")
    ]
    return _columns(rows)


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
