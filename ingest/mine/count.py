"""The first pass: every firing of some contexts, with the DFA of every head, tallied per SAE."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from atlas.lens.sae import Sae, fires, pre_activations
from atlas.model import LanguageModel
from ingest.config import PositionsPart
from ingest.mine.fold import Fold, Limits
from ingest.mine.keep import Rows
from ingest.mine.tally import Tally
from ingest.train.step import csr
from ingest.train.stream import harvest, valid_positions, without_sinks

NEAR = (0.5, 15 / 16)
"""A near miss has a pre-activation between these parts of what firing took there. The gap below
firing itself is wider than what the job's precision can blur."""


@torch.inference_mode()
def count_contexts(
    model: LanguageModel,
    saes: Mapping[int, Sae],
    tokens: Tensor,
    length: Tensor,
    first: int,
    positions: PositionsPart,
    sinks: Tensor,
    limits: Limits,
    batch_contexts: int,
    report: Callable[[int], None] = lambda _: None,
) -> dict[int, Fold]:
    """Mine contexts for the SAEs of several layers.

    Args:
        model: the language model.
        saes: layer to SAE.
        tokens: `[context, pos]`.
        length: `[context]`.
        first: number of the first context in the whole corpus.
        positions: which positions are left out.
        sinks: `[layer]`, norms of z beyond which a position is a sink.
        limits: how many firings to keep.
        batch_contexts: contexts per forward pass.
        report: told the tokens of every forward pass.
    """
    tallies = {
        layer: Tally(sae.d_sae, model.info.n_heads, limits, sae.w_enc.device)
        for layer, sae in saes.items()
    }
    slices = {layer: _by_head(sae, model.info.n_heads) for layer, sae in saes.items()}
    for at in range(0, len(tokens), batch_contexts):
        group, size = tokens[at : at + batch_contexts], length[at : at + batch_contexts]
        z = harvest(model, group, tuple(saes), batch_contexts)
        mask = valid_positions(size, group.shape[1], positions.skip_first).to(z.device)
        mask = without_sinks(z, mask, sinks)
        places = mask.nonzero() + torch.tensor([first + at, 0], device=z.device)
        for index, (layer, sae) in enumerate(saes.items()):
            inputs = z[:, :, index][mask].float()
            pre = pre_activations(sae, inputs)
            rows, features = fires(sae, pre).nonzero(as_tuple=True)
            hits = _rows(features, pre[rows, features], places[rows])
            dfa = _dfa_per_head(slices[layer], inputs, rows, features)
            tallies[layer].add(hits, dfa, _near_misses(sae, pre, places), len(places))
        report(group.numel())
    return {layer: one.folded() for layer, one in tallies.items()}


def _rows(features: Tensor, values: Tensor, places: Tensor) -> Rows:
    return Rows(features.int(), values, *places.int().unbind(1))


def _near_misses(sae: Sae, pre: Tensor, places: Tensor) -> Rows:
    """Of each context and feature the highest pre-activation within `NEAR` of firing.

    Writes over `pre`: a copy of it would take as long as all else here.

    What firing takes is the feature's threshold, or the smallest of the token's top k. A feature
    that fires above 0 has no such parts: for it every pre-activation below 0 counts.

    Args:
        sae: the SAE.
        pre: `[token, feature]`.
        places: `[token, (context, position)]`, by context.
    """
    cut = pre.topk(sae.k, dim=1).values[:, -1:] if sae.k else sae.threshold
    cut = cut.clamp(min=0)
    low, high = torch.where(cut > 0, cut * NEAR[0], -torch.inf), cut * NEAR[1]
    near = pre.masked_fill_((pre <= low) | (pre > high), -torch.inf)  # what fires lies above
    _, counts = places[:, 0].unique_consecutive(return_counts=True)
    starts = counts.cumsum(0) - counts
    best = [part.max(dim=0) for part in near.split(counts.tolist())]
    if not best:
        return _rows(places[:0, 0], near[:0, 0], places[:0])
    values = torch.stack([one.values for one in best])  # [context, feature]
    rows = torch.stack([one.indices for one in best]) + starts[:, None]
    which, features = values.isfinite().nonzero(as_tuple=True)
    return _rows(features, values[which, features], places[rows[which, features]])


def _by_head(sae: Sae, n_heads: int) -> Tensor:
    """Encoder columns by head, `[head, d_head, feature]`."""
    by_head: Tensor = sae.w_enc.unflatten(1, (n_heads, -1))
    return by_head.permute(1, 2, 0).contiguous()


def _dfa_per_head(by_head: Tensor, z: Tensor, rows: Tensor, features: Tensor) -> Tensor:
    """`[hit, head]`: z_k . w_k at the firings alone (PAPER.md section 5.2)."""
    zeros = torch.zeros(len(rows), device=z.device)
    pattern = csr(rows, features, zeros, (len(z), by_head.shape[2]))
    parts = [
        torch.sparse.sampled_addmm(pattern, z_k.contiguous(), w_k).values()
        for z_k, w_k in zip(z.chunk(len(by_head), 1), by_head, strict=True)
    ]
    return torch.stack(parts, dim=1)
