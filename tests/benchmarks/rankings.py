"""Heads of an atlas ranked again with plain transformers: are the study's rankings right?

python -m tests.benchmarks.rankings STORE --text FILE.parquet

No line of this is shared with the study: eager attention of the model's own code, other random
tokens, other text, scores read off the diagonals. Printed for each ranking: Spearman's correlation
over all heads, how many of the ten highest heads are the same, and both lists.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from atlas.api import Atlas
from atlas.model.fetch import locate

SEQUENCES, LENGTH, CONTEXTS, POSITIONS = 16, 60, 16, 128
TOP = 10
Scores = NDArray[np.float64]


def main() -> None:
    """Print every comparison."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("store", type=Path)
    ask.add_argument("--text", type=Path, required=True, help="Parquet with a column text")
    ask.add_argument("--seed", type=int, default=4321)
    given = ask.parse_args()
    with Atlas.open(given.store) as atlas:
        (model,) = atlas.models()
        ranked = {name: _ranking(atlas, name) for name in ROLES}
    began = time.perf_counter()
    plain = Plain(model.name, given.seed)
    measured = {
        "random, start token": plain.on_random(start=True),
        "random, no start token": plain.on_random(start=False),
        "text, start token": plain.on_text(given.text, start=True),
        "text, no start token": plain.on_text(given.text, start=False),
    }
    print(f"{SEQUENCES} sequences of {LENGTH} random tokens said twice, {CONTEXTS} contexts of"
          f" {POSITIONS} tokens, float32, {time.perf_counter() - began:.0f} s")  # fmt: skip
    for role, own in ranked.items():
        print(f"\n{role}: study's ten highest: {_names(own)}")
        for where, scores in measured.items():
            _tell(where, own, scores[role])


ROLES = ("induction", "previous_token", "duplicate_token")


def _ranking(atlas: Atlas, role: str) -> Scores:
    """`[layer, head]`, the values that the study ranks by."""
    found = atlas.sql(
        "SELECT layer, head, value FROM head_ranking WHERE ranking = $role AND run = (SELECT id"
        " FROM run WHERE kind = 'heads' ORDER BY created_at DESC LIMIT 1)".replace(
            "$role", f"'{role}'"
        )
    )
    layers, heads = (1 + max(row[place] for row in found.rows) for place in (0, 1))
    values = np.full((layers, heads), np.nan)
    for layer, head, value in found.rows:
        values[layer, head] = value
    return values


class Plain:
    """The model in transformers, eager attention."""

    def __init__(self, name: str, seed: int) -> None:
        folder = str(locate(name))
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        ).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.draw = torch.Generator().manual_seed(seed)

    def on_random(self, *, start: bool) -> Mapping[str, Scores]:
        """Scores on random tokens said twice, read off the diagonals of the second copies."""
        size, first = len(self.tokenizer), int(start)
        special = set(self.tokenizer.all_special_ids)
        plain = torch.tensor([token for token in range(size) if token not in special])
        drawn = plain[torch.randint(len(plain), (SEQUENCES, LENGTH), generator=self.draw)]
        begin = torch.full((SEQUENCES, first), self.tokenizer.bos_token_id)
        sums: list[Tensor] = []
        for layer in self._patterns(torch.cat([begin, drawn, drawn], 1)):
            later = [
                layer.diagonal(-back, 2, 3)[..., -LENGTH:].mean((0, 2))
                for back in (LENGTH - 1, 1, LENGTH)
            ]
            sums.append(torch.stack(later))
        return dict(zip(ROLES, torch.stack(sums, 1).double().numpy(), strict=True))

    def on_text(self, path: Path, *, start: bool) -> Mapping[str, Scores]:
        """Scores on text: what does not go to the first position, where there is something to see.

        Induction and duplicates count destinations whose token stood before in the context.
        """
        tokens = self._contexts(path, start=start)
        over = np.zeros((3, self.model.config.num_hidden_layers, self._heads))
        under = np.zeros(3)
        for row in tokens:
            kinds = _relations(row.tolist())
            for number, pairs in enumerate(kinds):
                under[number] += len({dst for dst, _ in pairs})
            for place, layer in enumerate(self._patterns(row[None])):
                for number, pairs in enumerate(kinds):
                    if pairs:
                        dst, src = torch.tensor(pairs).T
                        over[number, place] += layer[0][:, dst, src].sum(1).double().numpy()
        return dict(zip(ROLES, over / under[:, None, None], strict=True))

    @property
    def _heads(self) -> int:
        return int(self.model.config.num_attention_heads)

    @torch.no_grad()
    def _patterns(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return self.model(tokens, output_attentions=True).attentions  # type: ignore[no-any-return]

    def _contexts(self, path: Path, *, start: bool) -> Tensor:
        """Contexts from the last documents of a file, the longest first."""
        texts = sorted(pq.read_table(path, columns=["text"])["text"].to_pylist()[-400:], key=len)
        rows = []
        for text in reversed(texts[-CONTEXTS:]):
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            begin = [self.tokenizer.bos_token_id] * start
            rows.append((begin + ids)[:POSITIONS])
        return torch.tensor([row for row in rows if len(row) == POSITIONS])


def _relations(row: list[int]) -> tuple[list[tuple[int, int]], ...]:
    """Pairs (destination, source) of each role; source 0 is never one."""
    before: list[tuple[int, int]] = []
    copies: list[tuple[int, int]] = []
    follow: list[tuple[int, int]] = []
    for dst, token in enumerate(row):
        before += [(dst, dst - 1)] if dst > 1 else []
        for src in range(1, dst):
            if row[src] == token:
                copies.append((dst, src))
                follow.append((dst, src + 1))
    return follow, before, copies


def _names(values: Scores) -> str:
    order = np.argsort(-values.ravel())[:TOP]
    return ", ".join(f"L{n // values.shape[1]}H{n % values.shape[1]} {values.ravel()[n]:.2f}"
                     for n in order)  # fmt: skip


def _tell(where: str, own: Scores, other: Scores) -> None:
    ranks = [values.ravel().argsort().argsort() for values in (own, other)]
    correlation = np.corrcoef(np.stack(ranks))[0, 1]
    best = [set(np.argsort(-values.ravel())[:TOP].tolist()) for values in (own, other)]
    shared = len(best[0] & best[1])
    print(f"  {where}: rank correlation {correlation:.3f}, {shared} of {TOP}: {_names(other)}")


if __name__ == "__main__":
    main()
