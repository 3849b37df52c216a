"""What experiments ask of a model beside its losses: scales, ends under edits, gradients of z."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.model.language import ATTENTION, Attention, LanguageModel
from atlas.model.passes import Edits, Replace, hook_name

_END = "unembed.hook_in"


class Attended(NamedTuple):
    """What several layers' attention computed, and what leads from it to the logits."""

    layers: dict[int, Attention]
    post_scale: dict[int, Tensor]  # [batch, pos, 1], of the norm behind W_O; ones where none is
    final_scale: Tensor  # [batch, pos, 1], of the norm before the unembedding


@torch.no_grad()
def attended(
    model: LanguageModel, tokens: Tensor, layers: Sequence[int], embed: Replace | None = None
) -> Attended:
    """Attention internals with the scales that direct logit attribution freezes.

    Args:
        tokens: `[batch, pos]` token ids.
        layers: layers to keep.
        embed: what replaces the token embeddings `[batch, pos, width]`.
    """
    posts = {n: hook_name(n, "ln1_post.hook_scale") for n in layers}
    posts = {n: name for n, name in posts.items() if name in model.bridge.hook_dict}
    names = [hook_name(layer, part) for layer in layers for part in ATTENTION]
    names += [*posts.values(), "ln_final.hook_scale"]
    kept, _ = model.passes.run(tokens, names, embed=embed, whole=False)
    final = kept["ln_final.hook_scale"].float().view(*tokens.shape, 1)
    return Attended(
        {n: Attention(*(kept[hook_name(n, part)] for part in ATTENTION)) for n in layers},
        {
            n: kept[posts[n]].float().view_as(final) if n in posts else torch.ones_like(final)
            for n in layers
        },
        final,
    )


@torch.no_grad()
def embeddings(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Token embeddings `[batch, pos, width]` as an edit of them gets to see them."""
    return model.passes.run(tokens, ["hook_embed"], whole=False)[0]["hook_embed"]


@torch.no_grad()
def ends_each(
    model: LanguageModel, tokens: Tensor, at: Tensor, edits: Sequence[Edits]
) -> Iterator[Tensor]:
    """What the unembedding reads at one position of each row, under each of several edits.

    Layers below an edit's first one are computed once for all; an empty edit is the clean run.

    Args:
        tokens: `[batch, pos]` token ids.
        at: `[batch]`, the position of each row.
        edits: any number of edits.

    Yields:
        For each edit `[batch, d_model]`, float32.
    """
    rows, at = torch.arange(len(tokens), device=model.device), at.to(model.device)
    entering = {n: hook_name(n, "hook_resid_pre") for n in {min(e) for e in edits if e}}
    clean, _ = model.passes.run(tokens, [*entering.values(), _END], whole=False)
    for edit in edits:
        kept = clean
        if edit:
            start = (min(edit), clean[entering[min(edit)]])
            kept, _ = model.passes.run(tokens, [_END], edits=edit, resume=start, whole=False)
        yield kept[_END][rows, at].float()


def z_gradients(
    model: LanguageModel, tokens: Tensor, at: Tensor, directions: Tensor, layers: Sequence[int]
) -> dict[int, Tensor]:
    """How a reading at the end of the model changes with z, to first order.

    Args:
        tokens: `[batch, pos]` token ids.
        at: `[batch]`, the position of each row that is read.
        directions: `[batch, d_model]`, what is read there before the unembedding.
        layers: layers of z.

    Returns:
        Layer to the gradient `[batch, pos, head, d_head]` of each row's own reading.
    """
    seen: dict[int, Tensor] = {}

    def watched(layer: int) -> Replace:
        def watch(z: Tensor) -> Tensor:
            seen[layer] = z if z.requires_grad else z.requires_grad_()
            return seen[layer]

        return watch

    with torch.enable_grad():
        edits = {layer: watched(layer) for layer in layers}
        kept, _ = model.passes.run(tokens, [_END], edits=edits, whole=False)
        end = kept[_END][torch.arange(len(tokens), device=model.device), at.to(model.device)]
        total = (end.float() * directions).sum()
        found = torch.autograd.grad(total, [seen[layer] for layer in layers])
    return dict(zip(layers, found, strict=True))
