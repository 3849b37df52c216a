"""The first pass: every firing of some contexts, with the DFA of every head, folded per SAE."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from atlas.lens.sae import Sae, fire, pre_activations
from atlas.model import LanguageModel
from ingest.config import PositionsPart
from ingest.mine.fold import Fold, Hits, Limits, fold, merge
from ingest.train.step import csr
from ingest.train.stream import harvest, valid_positions, without_sinks


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
    folds: dict[int, Fold] = {}
    for at in range(0, len(tokens), batch_contexts):
        group, size = tokens[at : at + batch_contexts], length[at : at + batch_contexts]
        z = harvest(model, group, tuple(saes), batch_contexts)
        mask = valid_positions(size, group.shape[1], positions.skip_first).to(z.device)
        mask = without_sinks(z, mask, sinks)
        places = mask.nonzero() + torch.tensor([first + at, 0], device=z.device)
        for index, (layer, sae) in enumerate(saes.items()):
            hits = _hits(sae, z[:, :, index][mask].float(), places, model.info.n_heads)
            new = fold(hits, len(places), sae.d_sae, limits)
            folds[layer] = merge(folds[layer], new, limits) if layer in folds else new
        report(group.numel())
    return folds


def _hits(sae: Sae, z: Tensor, places: Tensor, n_heads: int) -> Hits:
    """Firings in `[token, d_in]`, at `places` `[token, (context, position)]`."""
    acts = fire(sae, pre_activations(sae, z))
    rows, features = acts.nonzero(as_tuple=True)
    dfa = _dfa_per_head(sae, z, rows, features, n_heads)
    return Hits(
        features.int().cpu().numpy(),
        acts[rows, features].cpu().numpy(),
        places[rows, 0].int().cpu().numpy(),
        places[rows, 1].int().cpu().numpy(),
        dfa.cpu().numpy(),
    )


def _dfa_per_head(sae: Sae, z: Tensor, rows: Tensor, features: Tensor, n_heads: int) -> Tensor:
    """`[hit, head]`: z_k . w_k at the firings alone (PAPER.md section 5.2)."""
    zeros = torch.zeros(len(rows), device=z.device)
    pattern = csr(rows, features, zeros, (len(z), sae.d_sae))
    slices = zip(z.chunk(n_heads, 1), sae.w_enc.chunk(n_heads, 1), strict=True)
    parts = [
        torch.sparse.sampled_addmm(pattern, z_k.contiguous(), w_k.T.contiguous()).values()
        for z_k, w_k in slices
    ]
    return torch.stack(parts, dim=1)
