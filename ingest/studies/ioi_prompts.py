"""Indirect-object prompts in families, with the places of their names (PAPER.md section 9.1).

One draw (template, names, place, object) is spelled in every family, so that families are paired.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ingest.studies.ioi_words import FILLER, ROOM, TEMPLATES, Tokenise, Words

PLACES = ("IO", "S1", "conjunction", "S2", "end")


class Draw(NamedTuple):
    """What a prompt is made of; `other` is a third name for corrupted runs."""

    template: str
    io: str
    s: str
    other: str
    place: str
    object: str


class Family(NamedTuple):
    """How draws are spelled."""

    order: str
    conjunction: str


class Prompts(NamedTuple):
    """Prompts of equal or different length, padded behind their end."""

    tokens: Tensor  # [n, pos]
    io: Tensor  # [n], token of the answer
    s: Tensor  # [n], token of the name that stands twice
    at: dict[str, Tensor]  # name of a place to [n], its position

    @property
    def text(self) -> Tensor:
        """`[n, pos]`: positions up to the end, all but the first."""
        places = torch.arange(self.tokens.shape[1])
        return (places >= 1) & (places <= self.at["end"][:, None])

    def take(self, rows: slice) -> "Prompts":
        """Some of the prompts."""
        at = {name: place[rows] for name, place in self.at.items()}
        return Prompts(self.tokens[rows], self.io[rows], self.s[rows], at)


def draws(n: int, words: Words, seed: int) -> list[Draw]:
    """`n` draws, templates in turn, three different names each."""
    source = random.Random(seed)  # noqa: S311
    names, places, objects = (list(one) for one in words[:3])
    made = []
    for number in range(n):
        io, s, other = source.sample(names, 3)
        template = TEMPLATES[number % len(TEMPLATES)]
        made.append(Draw(template, io, s, other, source.choice(places), source.choice(objects)))
    return made


def spell(draw: Draw, family: Family) -> str:
    """The prompt's text. In ABBA the answer stands first, in BABA second."""
    first, second = (draw.io, draw.s) if family.order == "ABBA" else (draw.s, draw.io)
    return draw.template.format(
        a=first, b=second, c=family.conjunction, s=draw.s, place=draw.place, object=draw.object
    )


def prompts(
    chosen: Sequence[Draw],
    family: Family,
    words: Words,
    tokenise: Tokenise,
    bos: int | None,
    *,
    room: bool = False,
    filler: bool = False,
) -> Prompts:
    """Draws as tokens of a family.

    Args:
        chosen: the draws.
        family: order and conjunction.
        words: tokens of the words.
        tokenise: text to tokens.
        bos: start token, or None for none.
        room: whether a sentence stands before.
        filler: whether a clause stands before the punctuation behind the place.
    """
    texts = [spell(draw, family) for draw in chosen]
    if filler:
        texts = [_filled(text) for text in texts]
    texts = [ROOM + text for text in texts] if room else texts
    start = [] if bos is None else [bos]
    ids = [start + tokenise(text) for text in texts]
    tokens = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    for row, one in zip(tokens, ids, strict=True):
        row[: len(one)] = torch.tensor(one)
    conjunction = words.conjunctions[family.conjunction]
    io = torch.tensor([words.names[draw.io] for draw in chosen])
    s = torch.tensor([words.names[draw.s] for draw in chosen])
    return Prompts(tokens, io, s, _places(ids, io, s, conjunction))


def join(parts: Sequence[Prompts]) -> Prompts:
    """Prompts of several families behind each other."""
    width = max(part.tokens.shape[1] for part in parts)
    padded = [
        torch.nn.functional.pad(part.tokens, (0, width - part.tokens.shape[1])) for part in parts
    ]
    at = {name: torch.cat([part.at[name] for part in parts]) for name in PLACES}
    io, s = torch.cat([part.io for part in parts]), torch.cat([part.s for part in parts])
    return Prompts(torch.cat(padded), io, s, at)


def _filled(text: str) -> str:
    """The clause stands before the first punctuation behind the names: `. S gave` or `, S gave`."""
    begin = text.index(",") + 1 if text.startswith("Then,") else 0
    end = min(place for mark in ".," if (place := text.find(mark, begin)) >= 0)
    return text[:end] + FILLER + text[end:]


def _places(ids: list[list[int]], io: Tensor, s: Tensor, conjunction: int) -> dict[str, Tensor]:
    found: dict[str, list[int]] = {name: [] for name in PLACES}
    for one, io_token, s_token in zip(ids, io.tolist(), s.tolist(), strict=True):
        first, second = (place for place, token in enumerate(one) if token == s_token)
        (answer,) = (place for place, token in enumerate(one) if token == io_token)
        between = one.index(conjunction, min(first, answer))
        for name, place in zip(PLACES, (answer, first, between, second, len(one) - 1), strict=True):
            found[name].append(place)
    return {name: torch.tensor(places) for name, places in found.items()}


def renamed(chosen: Sequence[Draw], words: Words, seed: int) -> list[Draw]:
    """The same draws with both names replaced by two others (ABB becomes CDD)."""
    source, names = random.Random(seed), list(words.names)  # noqa: S311
    made = []
    for draw in chosen:
        io, s = source.sample([name for name in names if name not in (draw.io, draw.s)], 2)
        made.append(draw._replace(io=io, s=s))
    return made


def unrelated(found: Prompts, chosen: Sequence[Draw], words: Words) -> Tensor:
    """Tokens in which the second S is a third name, so that nobody stands twice."""
    tokens = found.tokens.clone()
    others = torch.tensor([words.names[draw.other] for draw in chosen])
    tokens[torch.arange(len(tokens)), found.at["S2"]] = others
    return tokens
