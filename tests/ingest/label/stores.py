"""A toy store whose features have enough examples to explain and to judge by."""

from pathlib import Path
from typing import Any

from atlas.store.publish import publish
from tests.builders import WORDS, a_bundle

THE, CAT = WORDS.index(" the"), WORDS.index(" cat")
TEXTS = 40
KINDS = ["top"] * 12 + ["interval"] * 8 + ["random"] * 4


def tokens_of(text: int) -> list[int]:
    """Sixteen tokens, the start token first, in which " the" stands at 8 and nowhere else."""
    filler = [token for token in range(2, len(WORDS)) if token != WORDS.index("\n")]
    row = [0, *(filler[(text * 7 + n * n) % len(filler)] for n in range(15))]
    row[8] = THE
    return row


def a_store(folder: Path) -> Path:
    """One SAE of which feature 2 fires on " the" alone and the other live ones likewise."""
    publish(folder / "store", [a_bundle(folder / "first", layers=(1,), **_changes()).path])
    return folder / "store"


def _changes() -> dict[str, dict[str, list[Any]]]:
    contexts = {
        "ctx": list(range(TEXTS)),
        "run": ["run-1"] * TEXTS,
        "doc": [f"doc-{n}" for n in range(TEXTS)],
        "source": ["hand-made"] * TEXTS,
        "start": [16 * n for n in range(TEXTS)],
        "tokens": [tokens_of(n) for n in range(TEXTS)],
    }
    rows = [_example(feature, n) for feature in range(5) for n in range(len(KINDS))]
    examples = {name: [row[name] for row in rows] for name in rows[0]}
    rule = '{"kind": "token", "words": ["the"]}'
    labels = {"rule": [rule] * 20}
    return {"context": contexts, "example": examples, "label": labels}


def _example(feature: int, n: int) -> dict[str, Any]:
    kind = KINDS[n]
    top = (8.0, 4.0, 2.0, 6.0, 3.0)[feature]
    act, text = top * (1 - n / len(KINDS)), (n + feature) % TEXTS
    return {
        "sae": "toy/1-t",
        "feature": feature,
        "kind": kind,
        "band": n % 4 if kind == "interval" else None,
        "rank": n if kind == "top" else n,
        "ctx": text,
        "pos": 8,
        "act": act,
        "token": THE,
        "act_pos": [8],
        "act_val": [act],
        "head_dfa": [act / 2, act / 2 + 0.5],
        "src_pos": [7, 0],
        "src_dfa": [act, 0.5],
        "src_head": [1, 0],
        "src_rest": 0.0,
        "src_token": tokens_of(text)[7],
        "distance": 1,
        "residual": 1e-6,
    }
