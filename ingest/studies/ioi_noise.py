"""The noising test (PAPER.md section 9.3): attention at S2 taken from a corrupted run.

What is kept when only names and surroundings change, and what when the words' relation does. The
baselines are placed at S2 alone, prompt by prompt (trap 16).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.model import Edits, Replace
from ingest.studies.ioi_effects import Read, put
from ingest.studies.ioi_prompts import Draw, Family, Prompts, join, prompts, renamed, unrelated
from ingest.studies.ioi_words import ORDERS, Tokenise, Words

Patch = Callable[[slice], Edits]


class Case(NamedTuple):
    """A way to spell the same draws."""

    name: str
    prompts: Prompts


def corruptions(
    chosen: Sequence[Draw], words: Words, tokenise: Tokenise, bos: int | None, seed: int
) -> list[Case]:
    """The clean prompts first, then each corruption of them, both orders behind each other."""
    first, *others = words.conjunctions
    new = renamed(chosen, words, seed)

    def spelled(
        some: Sequence[Draw], word: str = first, *, room: bool = False, filler: bool = False
    ) -> Prompts:
        families = [Family(order, word) for order in ORDERS]
        return join(
            [prompts(some, f, words, tokenise, bos, room=room, filler=filler) for f in families]
        )

    clean = spelled(chosen)
    third = clean._replace(tokens=unrelated(clean, [*chosen, *chosen], words))
    return [
        Case("clean", clean),
        Case("kept: other names", spelled(new)),
        Case("kept: a sentence before", spelled(chosen, room=True)),
        Case("kept: a clause within", spelled(chosen, filler=True)),
        Case("kept: all three", spelled(new, room=True, filler=True)),
        *(Case(f'broken: "{first}" becomes "{word}"', spelled(chosen, word)) for word in others),
        Case("broken: a third name at S2", third),
    ]


def patches(
    clean: Prompts,
    own: Read,
    cases: Sequence[Case],
    read: Callable[[Prompts], Read],
    layers: Sequence[int],
) -> list[Patch]:
    """The zero and the mean baseline, then one patch per corruption, all at each prompt's S2."""
    at = clean.at["S2"]
    here = {n: own.at(n, at) for n in layers}
    values = [
        {n: torch.zeros_like(z) for n, z in here.items()},
        {n: z.mean(0).expand_as(z) for n, z in here.items()},
    ]
    for case in cases:
        corrupt = read(case.prompts)
        values.append({n: corrupt.at(n, case.prompts.at["S2"]) for n in layers})
    return [_patch(one, at) for one in values]


def _patch(values: dict[int, Tensor], at: Tensor) -> Patch:
    def edits(rows: slice) -> dict[int, Replace]:
        return {n: put(new[rows], at[rows]) for n, new in values.items()}

    return edits
