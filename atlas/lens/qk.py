"""QK attribution: an attention score as a sum over pairs of query-side and key-side pieces.

With norm scales frozen a query is linear in the residual stream at its position, and so is a key;
a rotary position turns each by a fixed angle. The score before softmax (and before a cap, where a
model has one) is then a sum over all pairs of pieces (PAPER.md section 12). Only differences
between the scores of one query matter to the pattern; `contrast` is the difference from the
average that the pattern itself makes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.frozen import Internals, Norm

FROZEN = ("norm scales", "rotary angles")


class Side(NamedTuple):
    """One head's queries or keys on one prompt."""

    w: Tensor  # [d_model, d_head]
    b: Tensor  # [d_head]
    norm: Norm  # of the query or key itself, as in Qwen 3; does nothing in most families
    norm_scale: Tensor  # [pos, 1]
    cos: Tensor  # [pos, turned], of the rotary position; none turned without one
    sin: Tensor  # [pos, turned]


class Scoring(NamedTuple):
    """How one head scores, on one prompt."""

    before: Norm  # before the attention
    before_scale: Tensor  # [pos, 1]
    query: Side
    key: Side
    factor: float
    cap: float | None  # scores go through cap * tanh(score / cap)

    def project(self, side: Side, x: Tensor, pos: Tensor) -> Tensor:
        """What pieces `x` `[n, d_model]` at positions `[n]` make of the query or key."""
        y = self.before.apply(x, self.before_scale[pos]) @ side.w
        return rotate(side.norm.apply(y, side.norm_scale[pos]), side.cos[pos], side.sin[pos])

    def bias(self, side: Side, pos: Tensor) -> Tensor:
        """What biases make of the query or key at positions `[n]`: `[n, d_head]`."""
        y = (self.before.bias @ side.w + side.b).expand(len(pos), -1)
        y = side.norm.apply(y, side.norm_scale[pos]) + side.norm.bias
        return rotate(y, side.cos[pos], side.sin[pos])


def rotate(y: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`[n, d_head]` with its first dimensions turned by `[n, turned]` angles, half against half."""
    turned = y[:, : cos.shape[1]]
    left, right = turned.chunk(2, dim=1)
    return torch.cat([turned * cos + torch.cat([-right, left], 1) * sin, y[:, cos.shape[1] :]], 1)


class Pairs(NamedTuple):
    """One score taken apart; the last row and column stand for biases."""

    value: Tensor  # [query piece + 1, key piece + 1], sums to the score
    contrast: Tensor  # [query piece + 1], sums to the score less the pattern's average score


def pairs(
    scoring: Scoring,
    internals: Internals,
    place: tuple[int, int],
    dst: tuple[int, Tensor],
    src: tuple[int, Tensor],
) -> Pairs:
    """What each pair of pieces gives to a score before softmax and cap.

    Args:
        scoring: of the head.
        internals: of the prompt.
        place: (layer, head).
        dst: position and pieces `[n, d_model]` of the query's residual stream.
        src: position and pieces `[m, d_model]` of the key's residual stream.
    """
    query, key = _vectors(scoring, scoring.query, *dst), _vectors(scoring, scoring.key, *src)
    row = internals.pattern[place[0], place[1], dst[0]]
    keys = _whole(scoring, scoring.key, internals, place[0])
    value = query @ key.T * scoring.factor
    return Pairs(value, query @ (key.sum(0) - row @ keys) * scoring.factor)


def scores(scoring: Scoring, internals: Internals, layer: int) -> Tensor:
    """`[dst, src]` before softmax, mask and cap, rebuilt from the residual stream."""
    query = _whole(scoring, scoring.query, internals, layer)
    return query @ _whole(scoring, scoring.key, internals, layer).T * scoring.factor


def objection(scoring: Scoring, internals: Internals, layer: int, head: int) -> str | None:
    """Why the rebuilt scores do not make the model's own pattern, or None when they do."""
    pattern, raw = internals.pattern[layer, head], scores(scoring, internals, layer)
    capped = scoring.cap * torch.tanh(raw / scoring.cap) if scoring.cap else raw
    rebuilt = capped.masked_fill(pattern == 0, -torch.inf).softmax(-1)
    if (rebuilt - pattern).abs().max() > 1e-3:
        return "its attention scores are more than query times key with rotary positions"
    return None


def _vectors(scoring: Scoring, side: Side, pos: int, pieces: Tensor) -> Tensor:
    at = torch.full((len(pieces),), pos, device=pieces.device)
    return torch.cat([scoring.project(side, pieces, at), scoring.bias(side, at[:1])])


def _whole(scoring: Scoring, side: Side, internals: Internals, layer: int) -> Tensor:
    """Every position's query or key, `[pos, d_head]`."""
    pos = torch.arange(len(internals.tokens), device=internals.embed.device)
    return scoring.project(side, internals.residual(layer), pos) + scoring.bias(side, pos)
