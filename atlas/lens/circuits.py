"""What heads are by their weights alone: copying, and how they compose with later heads.

Norms are folded into the weights; their scales, which depend on the prompt, multiply all of one
head's reads alike and cancel in every score here. Frobenius norms of d_model x d_model matrices are
taken through their d_head x d_head factors.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.frozen import Layer, Norm


class Circuit(NamedTuple):
    """Weights of one layer's query heads, norms folded in, float32."""

    w_q: Tensor  # [head, d_model, d_head]
    w_k: Tensor  # [head, d_model, d_head], of the key/value head that each query head reads
    w_v: Tensor  # [head, d_model, d_head], likewise
    w_o: Tensor  # [head, d_head, d_model]


def fold(layer: Layer, w_q: Tensor, w_k: Tensor, kv_head: Tensor) -> Circuit:
    """The circuit of a layer.

    Args:
        layer: its value side.
        w_q: `[head, d_model, d_head]`, the norm before the attention not folded in.
        w_k: `[kv_head, d_model, d_head]`, likewise.
        kv_head: `[head]`, the key/value head that each query head reads.
    """
    return Circuit(
        _read(layer.norm, w_q),
        _read(layer.norm, w_k)[kv_head],
        _read(layer.norm, layer.w_v)[kv_head],
        layer.post.apply(layer.w_o, _one(layer.w_o)),
    )


def copying(circuit: Circuit, direct: Tensor) -> Tensor:
    """Copying score of each head, `[head]`, -1 to 1.

    The sum of the eigenvalues of the full OV circuit W_E W_V W_O W_U over the sum of their absolute
    values (Elhage et al. 2021, "copying heads"): 1 when every token raises its own logit. The
    non-zero eigenvalues are those of the d_head x d_head matrix W_O (W_U W_E) W_V.

    Args:
        circuit: of the layer.
        direct: `[d_model, d_model]`, the unembedding times the embedding.
    """
    values = torch.linalg.eigvals(circuit.w_o @ direct @ circuit.w_v)
    score: Tensor = values.real.sum(-1) / values.abs().sum(-1).clamp(min=1e-30)
    return score


class Composition(NamedTuple):
    """How strongly one head's output reaches what later heads read, each `[later head]`."""

    q: Tensor
    k: Tensor
    v: Tensor


def composition(circuit: Circuit, head: int, later: Circuit) -> Composition:
    """Composition scores of one head with later ones (Elhage et al. 2021, "composition").

    |W_OV of the head times W of the later head| / (|W_OV| |W|), Frobenius norms, W being its
    query-key matrix from the query side (Q), from the key side (K), or its OV matrix (V). Heads
    that have nothing to do with each other score about 1 / sqrt(d_model). Rotary positions turn
    queries against keys; Q and K are then those of a source at distance 0.

    Args:
        circuit: of the head's layer.
        head: which of its heads.
        later: of any heads of later layers.
    """
    w_v, w_o = circuit.w_v[head], circuit.w_o[head]
    gram = w_v.T @ w_v
    own = (gram * (w_o @ w_o.T)).sum().sqrt()
    sides = (
        (later.w_q, _gram(later.w_k)),
        (later.w_k, _gram(later.w_q)),
        (later.w_v, _gram(later.w_o.transpose(1, 2))),
    )
    scores = []
    for reads, then in sides:
        meet = w_o @ reads  # [later, d_head, d_head]
        joint = (gram @ meet @ then * meet).sum((1, 2)).clamp(min=0).sqrt()
        theirs = (_gram(reads) * then).sum((1, 2)).clamp(min=0).sqrt()
        scores.append(joint / (own * theirs).clamp(min=1e-30))
    return Composition(*scores)


def joined(circuits: list[Circuit]) -> Circuit:
    """The heads of several layers as if of one."""
    return Circuit(*(torch.cat(parts) for parts in zip(*circuits, strict=True)))


def _gram(w: Tensor) -> Tensor:
    """`[head, d_head, d_head]` of `[head, d_model, d_head]`."""
    return w.transpose(1, 2) @ w


def _read(norm: Norm, w: Tensor) -> Tensor:
    """`[..., d_model, d_head]` that reads what comes before the norm."""
    return norm.pull(w.transpose(-1, -2), _one(w)).transpose(-1, -2)


def _one(like: Tensor) -> Tensor:
    return torch.ones(1, device=like.device)
