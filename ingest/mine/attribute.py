"""The second pass: full DFA of the kept firings, in float32, head by head and source by source."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.lens.dfa import context_dfa
from atlas.lens.sae import Sae, fire, pre_activations
from atlas.model import Attention


class Places(NamedTuple):
    """Kept firings of one layer, by ascending context."""

    feature: NDArray[Any]
    ctx: NDArray[Any]
    pos: NDArray[Any]


class Attributed(NamedTuple):
    """Full attribution of kept firings, in the order of their places."""

    act: NDArray[Any]  # float32 [n], the activation in float32
    pre: NDArray[Any]  # float32 [n], the pre-activation
    head_dfa: NDArray[Any]  # float32 [n, head]
    src_pos: NDArray[Any]  # int16 [n, source], largest |DFA| first
    src_dfa: NDArray[Any]  # float32 [n, source], summed over heads
    src_head: NDArray[Any]  # int16 [n, source], the head with the largest part
    src_rest: NDArray[Any]  # float32 [n]
    residual: NDArray[Any]  # float32 [n], pre - bias - sum of DFA
    context_acts: NDArray[Any]  # float32 [n, pos], the feature's activations in the whole context


def nothing() -> Attributed:
    """The attribution of no firings: that of an SAE which fires nowhere."""
    one, short = np.zeros(0, np.float32), np.zeros((0, 1), np.int16)
    wide = np.zeros((0, 1), np.float32)
    return Attributed(one, one, wide, short, wide, short, one, one, wide)


@torch.inference_mode()
def attribute(
    attention: Mapping[int, Attention],
    kv_head: Tensor,
    saes: Mapping[int, Sae],
    numbers: list[int],
    places: Mapping[int, Places],
    sources: int,
    valid: Tensor,
) -> dict[int, tuple[NDArray[Any], Attributed]]:
    """Attribute the kept firings of some contexts.

    Args:
        attention: layer to what its attention computed on these contexts, in float32.
        kv_head: `[head]`, the key/value head that each query head reads.
        saes: layer to SAE.
        numbers: number of each of these contexts in the whole corpus.
        places: layer to all kept firings, of these and other contexts.
        sources: source positions to keep.
        valid: `[context, pos]`, positions where the feature may fire.

    Returns:
        Layer to (row numbers within its places, their attribution).
    """
    found = {}
    for layer, sae in saes.items():
        rows, parts = [], []
        for index, number in enumerate(numbers):
            begin, end = np.searchsorted(places[layer].ctx, [number, number + 1])
            if begin < end:
                at = torch.from_numpy(places[layer].pos[begin:end])
                features = torch.from_numpy(places[layer].feature[begin:end])
                one = Attention(*(part[index] for part in attention[layer]))
                parts.append(_one_context(one, sae, features, at, kv_head, sources, valid[index]))
                rows.append(np.arange(begin, end))
        if rows:
            columns = zip(*parts, strict=True)
            found[layer] = (np.concatenate(rows), Attributed(*map(np.concatenate, columns)))
    return found


def _one_context(
    attention: Attention,
    sae: Sae,
    features: Tensor,
    at: Tensor,
    kv_head: Tensor,
    sources: int,
    valid: Tensor,
) -> Attributed:
    """Attribution of `[n]` features at `[n]` positions of one context."""
    device = attention.z.device
    features, at = features.to(device), at.to(device)
    w, bias = sae.w_enc[features], sae.b_enc[features]
    z = attention.z.flatten(1).float()  # [pos, d_in]
    dfa = context_dfa(attention.pattern[:, at].float(), attention.v.float(), w, kv_head)
    by_source = dfa.sum(1)  # [n, src]
    count = min(sources, by_source.shape[1])
    top = by_source.abs().topk(count, dim=1).indices
    pre = (z[at] * w).sum(1) + bias
    kept = by_source.gather(1, top)
    parts = dfa.gather(2, top[:, None].expand(-1, dfa.shape[1], -1)).abs().argmax(1)
    acts = _acts(sae, features, z) * valid.to(device)
    return Attributed(
        _numpy(acts[torch.arange(len(at), device=device), at]),
        _numpy(pre),
        _numpy(dfa.sum(2)),
        _numpy(top.short()),
        _numpy(kept),
        _numpy(parts.short()),
        _numpy(by_source.sum(1) - kept.sum(1)),
        _numpy(pre - bias - by_source.sum(1)),
        _numpy(acts),
    )


def _acts(sae: Sae, features: Tensor, z: Tensor) -> Tensor:
    """Activations `[n, pos]` of some features over one context `[pos, d_in]`."""
    if sae.k:  # which features are among the top k depends on all of them
        return fire(sae, pre_activations(sae, z))[:, features].T
    few = sae._replace(
        w_enc=sae.w_enc[features], b_enc=sae.b_enc[features], threshold=sae.threshold[features]
    )
    return fire(few, pre_activations(few, z)).T


def _numpy(values: Tensor) -> NDArray[Any]:
    return values.cpu().numpy()
