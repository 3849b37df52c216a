"""Recursive DFA: what wrote a feature's sources, and what made those, down to the embeddings.

With attention patterns, norm scales and the set of firing features frozen, a feature's
pre-activation is linear in the residual streams of its source positions (PAPER.md section 5.4):

    G(D,S) = norm.pull( sum_k A^k[D,S] W_V^k w_k )        what feature i at D reads at S
    a_i(D) = b_i + sum_S ( const(S) + sum_p x_p(S) . G(D,S) )

An upstream feature is such a piece p, and its activation is its own pre-activation, so it can be
replaced by its own pieces; the sum stays a_i(D). MLPs are crossed as wholes only, and nothing is
said about why a head attended: see atlas.lens.qk.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.frozen import Internals, Layer
from atlas.lens.pieces import FEATURE, Pieces
from atlas.lens.sae import Sae

FROZEN = ("attention patterns", "norm scales")
FROZEN_RECURSIVE = (*FROZEN, "which upstream features fire")


class Target(NamedTuple):
    """A number that is linear in the residual stream entering `layer`.

    value = bias + const.sum() + (read * residual).sum()
    """

    layer: int
    read: Tensor  # [pos, d_model]
    const: Tensor  # [pos], from biases of the value path
    bias: float
    value: float


def feature_target(
    internals: Internals,
    weights: Layer,
    kv_head: Tensor,
    layer: int,
    sae: Sae,
    feature: int,
    pos: int,
) -> Target:
    """The pre-activation of one feature at one position.

    Args:
        internals: of the prompt.
        weights: of the SAE's layer.
        kv_head: `[head]`, the key/value head that each query head reads.
        layer: the SAE's layer.
        sae: the SAE.
        feature: the feature's index.
        pos: the destination.
    """
    heads = internals.z.shape[2]
    w = sae.w_enc[feature].view(heads, -1)
    pattern = internals.pattern[layer, :, pos]  # [head, src]
    through_v = torch.einsum("hde,he->hd", weights.w_v[kv_head], w)
    normed = pattern.T @ through_v  # [src, d_model]
    biases = pattern.T @ (weights.b_v[kv_head] * w).sum(-1)
    bias = float(sae.b_enc[feature])
    return Target(
        layer,
        weights.norm.pull(normed, internals.norm_scale[layer]),
        normed @ weights.norm.bias + biases,
        bias,
        float((internals.z[layer, pos] * w).sum()) + bias,
    )


class Graph(NamedTuple):
    """The flow from pieces through expanded features to the target.

    Row 0 is the target, each further row an upstream feature that was expanded.
    """

    rows: tuple[int, ...]  # the table row of each expanded feature; -1 for the target
    direct: Tensor  # [expanded, n], what each piece gives to each one's pre-activation
    const: Tensor  # [expanded], biases of each pre-activation
    influence: Tensor  # [expanded], d target / d pre-activation
    flow: Tensor  # [n], what each piece gives to the target, directly and through expanded features

    @property
    def leaves(self) -> Tensor:
        """`[n]`: the flow of pieces that were not expanded; with `rest` it sums to the target."""
        leaves = self.flow.clone()
        leaves[list(self.rows[1:])] = 0
        return leaves

    @property
    def rest(self) -> float:
        """What biases on the way give to the target."""
        return float(self.influence @ self.const)


Expand = Callable[[Sequence[Target]], Tensor]
"""What each piece gives to each of several targets, `[target, n]`."""


def grow(
    target: Target,
    pieces: Pieces,
    expand: Expand,
    target_of: Callable[[int], Target],
    *,
    rounds: int,
    top: int,
    first: int = 0,
) -> Graph:
    """Expand the target, then `rounds` times the `top` features with most influence on it.

    Args:
        target: what is to be explained.
        pieces: the prompt's table.
        expand: see `Expand`.
        target_of: the pre-activation of the feature in a table row.
        rounds: how often to expand.
        top: features expanded each time.
        first: features at earlier positions than this are not expanded.
    """
    allowed = (pieces.kind == FEATURE) & (pieces.pos >= first)
    rows, targets, direct = [-1], [target], expand([target])
    graph = _flow(rows, targets, direct, pieces)
    for _ in range(rounds):
        candidates = graph.leaves.abs() * allowed
        best = candidates.topk(min(top, len(candidates)))
        new = [int(row) for row, size in zip(best.indices, best.values, strict=True) if size > 0]
        if not new:
            break
        fresh = [target_of(row) for row in new]
        rows, targets = rows + new, targets + fresh
        direct = torch.cat([direct, expand(fresh)])
        graph = _flow(rows, targets, direct, pieces)
    return graph


def _flow(rows: Sequence[int], targets: Sequence[Target], direct: Tensor, pieces: Pieces) -> Graph:
    influence = direct.new_zeros(len(rows))
    influence[0] = 1
    # A feature's influence is known once all that read it are done, and those are in later layers.
    order = sorted(range(1, len(rows)), key=lambda n: -targets[n].layer)
    for n in order:
        influence[n] = influence @ direct[:, rows[n]] / pieces.act[rows[n]]
    const = direct.new_tensor([float(t.const.sum()) + t.bias for t in targets])
    return Graph(tuple(rows), direct, const, influence, influence @ direct)
