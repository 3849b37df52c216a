"""A prompt's residual stream as a sum of pieces, and how much each piece gives to a reader.

Every piece is one thing written at one position: the embedding, a learned position, a whole MLP,
and for each attention layer its SAE features, its SAE error and its biases (PAPER.md section 5.4).
Pieces stand in one flat table, so that a sum over the table is a sum over everything. A reader is
anything linear in the residual stream once patterns and norm scales are frozen: `read` gives its
weights per position, and a piece gives piece . read.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.frozen import Internals, Layer
from atlas.lens.sae import Sae, encode
from atlas.prompt_types import Kind

KINDS: tuple[Kind, ...] = ("embedding", "position", "mlp", "attention", "error", "bias", "feature")
"""Kinds of pieces; `attention` is a layer's whole z where no SAE splits it."""
EMBEDDING, POSITION, MLP, ATTENTION, ERROR, BIAS, FEATURE = range(7)


class Lens(NamedTuple):
    """One layer's z seen through an SAE: z[pos] = firings there @ w_dec + b_dec + error[pos]."""

    w_dec: Tensor  # [d_sae, d_in]; no rows where there is no SAE
    b_dec: Tensor  # [d_in]
    pos: Tensor  # [n], of each firing, ascending
    feature: Tensor  # [n]
    act: Tensor  # [n]
    error: Tensor  # [pos, d_in]; all of z where there is no SAE

    @property
    def has_sae(self) -> bool:
        return len(self.w_dec) > 0


def look(z: Tensor, sae: Sae | None) -> Lens:
    """Split `[pos, d_in]` z of one layer into firing features, bias and error."""
    if sae is None:
        none = torch.zeros(0, dtype=torch.long, device=z.device)
        return Lens(z[:0], torch.zeros_like(z[0]), none, none, z.new_zeros(0), z)
    acts = encode(sae, z)
    pos, feature = acts.nonzero(as_tuple=True)
    act = acts[pos, feature]
    l0 = (acts > 0).sum(1)
    # The sum over firing features only: a product with all of w_dec costs ten times as much.
    decoded = torch.nn.functional.embedding_bag(
        feature, sae.w_dec, l0.cumsum(0) - l0, mode="sum", per_sample_weights=act
    )
    return Lens(sae.w_dec, sae.b_dec, pos, feature, act, z - sae.b_dec - decoded)


class Pieces(NamedTuple):
    """The table: one row per piece, `[n]` each."""

    kind: Tensor  # index into KINDS
    layer: Tensor  # -1 for embedding and position
    pos: Tensor
    feature: Tensor  # -1 unless a feature
    act: Tensor  # of a feature; 1 otherwise


def table(lenses: Sequence[Lens], n_pos: int) -> Pieces:
    """The pieces of a prompt of `n_pos` tokens, in the order that `attribute` gives values in."""
    layers, device = range(len(lenses)), lenses[0].pos.device
    pos = torch.arange(n_pos, device=device)
    blocks = [(EMBEDDING, -1), (POSITION, -1)] + [(MLP, n) for n in layers]
    blocks += [(ERROR if lens.has_sae else ATTENTION, n) for n, lens in enumerate(lenses)]
    blocks += [(BIAS, n) for n in layers]
    kind, layer = torch.tensor(blocks, device=device).repeat_interleave(n_pos, dim=0).T
    firing_layers = [torch.full_like(lens.pos, n) for n, lens in enumerate(lenses)]
    features = torch.cat([lens.feature for lens in lenses])
    return Pieces(
        torch.cat([kind, torch.full_like(features, FEATURE)]),
        torch.cat([layer, *firing_layers]),
        torch.cat([pos.repeat(len(blocks)), *(lens.pos for lens in lenses)]),
        torch.cat([torch.full_like(kind, -1), features]),
        torch.cat([torch.ones(len(kind), device=device), *(lens.act for lens in lenses)]),
    )


def attribute(
    internals: Internals,
    layers: Sequence[Layer],
    lenses: Sequence[Lens],
    reads: Tensor,
    below: int,
) -> Tensor:
    """How much each piece gives to each of several readers: `[reader, n]`, in table order.

    Args:
        internals: of the prompt.
        layers: every layer's weights.
        lenses: every layer's z, split.
        reads: `[reader, pos, d_model]`, what each reads of the residual stream entering layer
            `below`.
        below: pieces written by this layer and later ones give 0.
    """
    n_reads, n_pos, _ = reads.shape
    embedding = torch.einsum("rpd,pd->rp", reads, internals.embed)
    position = torch.einsum("rpd,pd->rp", reads, internals.position)
    mlp = torch.einsum("rpd,lpd->rlp", reads, internals.mlp_out[:below])
    rest = reads.new_zeros(2, n_reads, len(lenses), n_pos)
    features = [reads.new_zeros(n_reads, len(lens.pos)) for lens in lenses]
    # Two buffers for all layers: fresh ones of this size cost more than the arithmetic.
    most = max(len(lens.pos) for lens in lenses)
    directions, read = reads.new_empty(2, most, lenses[0].error.shape[1])
    for n, (layer, lens) in enumerate(zip(layers[:below], lenses[:below], strict=True)):
        written = layer.post.pull(reads, internals.post_scale[n])
        read_z = written @ layer.w_o.flatten(0, 1).T  # [reader, pos, d_in]
        rest[0, :, n] = (read_z * lens.error).sum(-1)
        rest[1, :, n] = read_z @ lens.b_dec + written @ layer.b_o + reads @ layer.post.bias
        of, by = directions[: len(lens.pos)], read[: len(lens.pos)]
        torch.index_select(lens.w_dec, 0, lens.feature, out=of)
        for reader in range(n_reads):
            torch.index_select(read_z[reader], 0, lens.pos, out=by)
            features[n][reader] = by.mul_(of).sum(-1) * lens.act
    later = reads.new_zeros(n_reads, (len(lenses) - below) * n_pos)
    return torch.cat(
        [embedding, position, mlp.flatten(1), later, *rest.flatten(2), *features], dim=1
    )


def vectors(
    internals: Internals, layers: Sequence[Layer], lenses: Sequence[Lens], pos: int, below: int
) -> tuple[Tensor, Tensor]:
    """The pieces at one position written below one layer: table rows `[m]`, vectors `[m, d_model]`.

    The vectors sum to the residual stream entering layer `below` at `pos`.
    """
    n_pos, n_layers = len(internals.tokens), len(lenses)
    rows, found = [], []
    first = (2 + 3 * n_layers) * n_pos
    for n, (layer, lens) in enumerate(zip(layers[:below], lenses[:below], strict=True)):
        w_o, scale = layer.w_o.flatten(0, 1), internals.post_scale[n, pos]
        here = (lens.pos == pos).nonzero()[:, 0]
        features = lens.act[here, None] * lens.w_dec[lens.feature[here]]
        bias = layer.post.apply(lens.b_dec @ w_o + layer.b_o, scale) + layer.post.bias
        found += [
            internals.mlp_out[n, pos][None],
            layer.post.apply(lens.error[pos] @ w_o, scale)[None],
            bias[None],
            layer.post.apply(features @ w_o, scale),
        ]
        block = torch.arange(3, device=here.device) * n_layers + n + 2
        rows += [block * n_pos + pos, here + first]
        first += len(lens.pos)
    start = [internals.embed[pos][None], internals.position[pos][None]]
    place = torch.tensor([pos, n_pos + pos], device=internals.embed.device)
    return torch.cat([place, *rows]), torch.cat([*start, *found])
