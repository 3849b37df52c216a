"""The second pass: full DFA of the kept firings, in float32, head by head and source by source."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.lens.dfa import value_dfa
from atlas.lens.sae import Sae, above, fire, pre_activations
from atlas.model import Attention

BLOCK = {"cpu": 1 << 8, "cuda": 1 << 16}
"""Firings that are attributed in one go, or those of one context where it has more."""


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
    first: int,
    places: Mapping[int, Places],
    sources: int,
    valid: Tensor,
) -> dict[int, tuple[NDArray[Any], Attributed]]:
    """Attribute the kept firings of some contexts that follow each other.

    Args:
        attention: layer to what its attention computed on these contexts, in float32.
        kv_head: `[head]`, the key/value head that each query head reads.
        saes: layer to SAE.
        first: number of the first of these contexts in the whole corpus.
        places: layer to all kept firings, of these and other contexts.
        sources: source positions to keep.
        valid: `[context, pos]`, positions where the feature may fire.

    Returns:
        Layer to (row numbers within its places, their attribution).
    """
    found = {}
    for layer, sae in saes.items():
        of, device = places[layer], sae.w_enc.device
        ends = np.searchsorted(of.ctx, np.arange(first, first + len(valid) + 1))
        if ends[0] == ends[-1]:
            continue
        step = max(1, BLOCK[device.type] // int(np.diff(ends).max()))
        parts = []
        for low in range(0, len(valid), step):
            high = min(low + step, len(valid))
            begin, end = ends[low], ends[high]
            if begin < end:
                rows = Places(*(column[begin:end] for column in of))
                one = Attention(*(part[low:high] for part in attention[layer]))
                at = _on_device(rows, first + low, device)
                parts.append(_attributed(one, sae, at, kv_head, sources, valid[low:high]))
        columns = map(np.concatenate, zip(*parts, strict=True))
        found[layer] = (np.arange(ends[0], ends[-1]), Attributed(*columns))
    return found


class _At(NamedTuple):
    """Kept firings in some contexts, by ascending context."""

    ctx: Tensor  # [n], counted from the first of them
    pos: Tensor  # [n]
    feature: Tensor  # [n]


def _on_device(rows: Places, first: int, device: torch.device) -> _At:
    columns = (rows.ctx - first, rows.pos, rows.feature)
    return _At(*(torch.from_numpy(column).long().to(device) for column in columns))


class _Padded(NamedTuple):
    """Where each of `[n]` rows lies once every context has room for the same number of them."""

    ctx: Tensor  # [n]
    slot: Tensor  # [n]
    shape: tuple[int, int]  # contexts, slots

    @classmethod
    def of(cls, ctx: Tensor, contexts: int) -> "_Padded":
        """From ascending contexts."""
        counts = torch.bincount(ctx, minlength=contexts)
        slot = torch.arange(len(ctx), device=ctx.device) - (counts.cumsum(0) - counts)[ctx]
        return cls(ctx, slot, (contexts, int(counts.max())))

    def spread(self, rows: Tensor) -> Tensor:
        """`[n, ...]` to `[context, slot, ...]`, zeros where there is none."""
        spread = rows.new_zeros(*self.shape, *rows.shape[1:])
        spread[self.ctx, self.slot] = rows
        return spread

    def gathered(self, spread: Tensor) -> Tensor:
        """`[context, slot, ...]` to `[n, ...]`."""
        return spread[self.ctx, self.slot]


def _attributed(
    attention: Attention, sae: Sae, at: _At, kv_head: Tensor, sources: int, valid: Tensor
) -> Attributed:
    """Attribution of kept firings in some contexts, one product for all of them."""
    w, bias = sae.w_enc[at.feature], sae.b_enc[at.feature]
    z = attention.z.flatten(2).float()  # [context, pos, d_in]
    padded = _Padded.of(at.ctx, len(z))
    by_context = padded.spread(w)
    dfa = padded.gathered(value_dfa(attention.v.float(), by_context, kv_head))
    dfa *= attention.pattern[at.ctx, :, at.pos].float()
    by_source = dfa.sum(1)  # [n, src]
    top = by_source.abs().topk(min(sources, by_source.shape[1]), dim=1).indices
    pre = (z[at.ctx, at.pos] * w).sum(1) + bias
    kept = by_source.gather(1, top)
    parts = dfa.gather(2, top[:, None].expand(-1, dfa.shape[1], -1)).abs().argmax(1)
    acts = _acts(sae, at, z, padded, by_context) * valid.to(z.device)[at.ctx]
    return Attributed(
        _numpy(acts.gather(1, at.pos[:, None])[:, 0]),
        _numpy(pre),
        _numpy(dfa.sum(2)),
        _numpy(top.short()),
        _numpy(kept),
        _numpy(parts.short()),
        _numpy(by_source.sum(1) - kept.sum(1)),
        _numpy(pre - bias - by_source.sum(1)),
        _numpy(acts),
    )


def _acts(sae: Sae, at: _At, z: Tensor, padded: _Padded, by_context: Tensor) -> Tensor:
    """Activations `[n, pos]` of each kept firing's feature over its context."""
    if sae.k:  # which features are among the top k depends on all of them
        acts = fire(sae, pre_activations(sae, z.flatten(0, 1))).view(*z.shape[:2], -1)
        return acts[at.ctx, :, at.feature]
    pre = padded.gathered(by_context @ z.mT) + sae.b_enc[at.feature, None]
    return above(pre, sae.threshold[at.feature, None])


def _numpy(values: Tensor) -> NDArray[Any]:
    return values.cpu().numpy()
