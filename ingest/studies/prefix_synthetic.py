"""Induction by length of the repeated prefix, on random tokens (PAPER.md section 8.1, step 1).

A sequence of distinct random tokens in which P tokens at `a` stand again at `b`. At the last of
the second copy, an induction head attends to the token after the first copy and raises its logit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.logits import head_logits
from atlas.model import LanguageModel
from atlas.model.probe import attended

LENGTHS = range(1, 10)
ROOM = 12
"""Positions kept free behind the last first copy, so that second copies have places to stand."""


class Sequences(NamedTuple):
    """Sequences with one repeated prefix each."""

    tokens: Tensor  # [n, pos]
    dst: Tensor  # [n], last token of the second copy
    src: Tensor  # [n], the token after the first copy


class Scored(NamedTuple):
    """What every head did at the destinations."""

    attention: Tensor  # [n, layer, head], to the source
    logit: Tensor  # [n, layer, head], direct effect on the source's token against all tokens


def sequences(
    n: int, length: int, context: int, allowed: Tensor, bos: int | None, draw: torch.Generator
) -> Sequences:
    """Draw `n` sequences whose repeated prefix has `length` tokens.

    Args:
        n: sequences.
        length: P, 1 to 9.
        context: tokens of a sequence, the start token included.
        allowed: `[m]` token ids to draw from.
        bos: the start token, or None for none.
        draw: draws tokens and places.
    """
    order = torch.rand(n, len(allowed), generator=draw).topk(context, dim=1).indices
    tokens = allowed[order]
    if bos is not None:
        tokens[:, 0] = bos
    latest = context - 2 * max(LENGTHS) - ROOM
    first = _between(torch.ones(n), torch.full((n,), float(latest)), draw)
    second = _between(first + length + 1, torch.full((n,), float(context - 1 - length)), draw)
    rows = torch.arange(n)
    for step in range(length):
        tokens[rows, second + step] = tokens[rows, first + step]
    return Sequences(tokens, second + length - 1, first + length)


def _between(low: Tensor, high: Tensor, draw: torch.Generator) -> Tensor:
    """Whole numbers drawn from low to high, both included."""
    return (low + torch.rand(len(low), generator=draw) * (high - low + 1)).floor().long()


def score(
    model: LanguageModel,
    drawn: Sequences,
    layers: Sequence[int],
    batch: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Scored:
    """Attention and direct logit attribution of every head at the destinations.

    The logit is that of the token behind the first copy minus the mean logit of all tokens, with
    the final norm's scale of the destination (trap 14).

    Args:
        model: the model.
        drawn: sequences.
        layers: layers to look at.
        batch: sequences per pass.
        advance: told the tokens that were run.
    """
    weights = [model.layer(n) for n in layers]
    norm, mean = model.final_norm, model.mean_column
    parts: list[Scored] = []
    order = drawn.dst.argsort()
    for some in order.split(batch):
        tokens, dst, src = (one[some].to(model.device) for one in drawn)
        tokens = tokens[:, : int(dst.max()) + 1]  # what follows changes nothing
        seen, rows = attended(model, tokens, layers), torch.arange(len(tokens))
        columns, _ = model.unembed(tokens[rows, src])
        read = norm.pull(columns - mean, seen.final_scale[rows, dst])
        logit = [
            head_logits(seen.layers[n].z[rows, dst], own, seen.post_scale[n][rows, dst], read)
            for n, own in zip(layers, weights, strict=True)
        ]
        attention = [seen.layers[n].pattern[rows, :, dst, src].float() for n in layers]
        parts.append(Scored(torch.stack(attention, 1).cpu(), torch.stack(logit, 1).cpu()))
        advance(len(some) * drawn.tokens.shape[1])
    return Scored(*(torch.cat(column)[order.argsort()] for column in zip(*parts, strict=True)))
