"""What edits of z do to indirect-object prompts: heads, features with the error kept, whole layers.

Every figure is a difference of logits at the prompt's end, answer minus the other name, before any
cap of the logits. Edits are placed prompt by prompt: each prompt is changed at its own position
(PAPER.md traps 16 and 17).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from atlas.lens.sae import Sae, decode, encode
from atlas.model import Edits, LanguageModel, Replace
from atlas.model.probe import ends_each, z_gradients
from ingest.studies.ioi_prompts import Prompts

How = Literal["zero", "mean", "resample"]
HOWS: tuple[How, ...] = ("zero", "mean", "resample")


class Behaviour(NamedTuple):
    """What the untouched model does."""

    difference: Tensor  # [n], logit of the answer minus that of the other name
    top: Tensor  # [n], whether the answer has the largest logit of all tokens


class Read(NamedTuple):
    """z of some prompts."""

    layers: dict[int, Tensor]  # layer to [n, pos, head, d_head]

    def at(self, layer: int, place: Tensor) -> Tensor:
        """`[n, head, d_head]` at one position a prompt."""
        return self.layers[layer][torch.arange(len(place)), place]


def behaviour(model: LanguageModel, prompts: Prompts, batch: int) -> Behaviour:
    """Difference of logits and whether the answer leads, for every prompt."""
    columns, bias = model.unembed(torch.arange(model.info.vocab_size, device=model.device))
    found: list[Behaviour] = []
    for begin in range(0, len(prompts.tokens), batch):
        some = prompts.take(slice(begin, begin + batch))
        (end,) = ends_each(model, some.tokens, some.at["end"], [{}])
        logits, rows = (end @ columns.T + bias).cpu(), torch.arange(len(some.tokens))
        difference = logits[rows, some.io] - logits[rows, some.s]
        found.append(Behaviour(difference, logits.argmax(-1) == some.io))
    return Behaviour(*(torch.cat(part) for part in zip(*found, strict=True)))


def read_z(model: LanguageModel, tokens: Tensor, layers: Sequence[int], batch: int) -> Read:
    """z of `layers` for `[n, pos]` tokens, kept in main memory."""
    parts = [model.z(some, layers) for some in tokens.split(batch)]
    return Read({n: torch.cat([part[n].cpu() for part in parts]) for n in layers})


def reading(model: LanguageModel, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Direction `[n, d_model]` and constant `[n]` that read the difference before unembedding."""
    io, io_bias = model.unembed(prompts.io.to(model.device))
    s, s_bias = model.unembed(prompts.s.to(model.device))
    return io - s, io_bias - s_bias


def differences(
    model: LanguageModel,
    prompts: Prompts,
    edits: Callable[[slice], Sequence[Edits]],
    batch: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """`[edit, n]`: difference of logits under each of several edits.

    Args:
        model: the model.
        prompts: the prompts.
        edits: gives the edits for a slice of the prompts.
        batch: prompts per pass.
        advance: told the passes that were made.
    """
    parts = []
    for begin in range(0, len(prompts.tokens), batch):
        rows = slice(begin, begin + batch)
        some, column = prompts.take(rows), []
        direction, constant = reading(model, some)
        for end in ends_each(model, some.tokens, some.at["end"], edits(rows)):
            column.append(((end * direction).sum(-1) + constant).cpu())
            advance(1)
        parts.append(torch.stack(column))
    return torch.cat(parts, 1)


def put(new: Tensor, place: Tensor | None, heads: slice | int = slice(None)) -> Replace:
    """Gives z other values at one position a prompt, or everywhere.

    Args:
        new: `[n, ..., d_head]` values, or what broadcasts to them.
        place: `[n]` positions; None for all.
        heads: the heads to change.
    """

    def replace(z: Tensor) -> Tensor:
        z, own = z.clone(), new.to(z.device, z.dtype)
        if place is None:
            z[:, :, heads] = own
        else:
            z[torch.arange(len(z)), place.to(z.device), heads] = own
        return z

    return replace


def move(step: Tensor, place: Tensor) -> Replace:
    """Adds `[n, d_in]` to z at one position a prompt: what is not moved stays, the error too."""

    def replace(z: Tensor) -> Tensor:
        z, rows = z.clone(), torch.arange(len(z))
        at = place.to(z.device)
        z[rows, at] += step.to(z.device, z.dtype).view(len(z), *z.shape[2:])
        return z

    return replace


def other_values(values: Tensor, how: How, elsewhere: Tensor) -> Tensor:
    """What replaces `[n, ...]` values: zero, the mean over prompts, or those of a corrupted run."""
    if how == "zero":
        return torch.zeros_like(values)
    return values.mean(0).expand_as(values) if how == "mean" else elsewhere


class Candidates(NamedTuple):
    """Features that fire at a place, strongest first by a first-order estimate of zeroing them."""

    features: Tensor  # [k]
    estimate: Tensor  # [k], mean change of the difference over prompts
    acts: Tensor  # [n, k], clean activations


def screen(sae: Sae, z: Tensor, gradient: Tensor, group: Tensor, most: int) -> Candidates:
    """The features whose zeroing would change the difference most in some group of prompts.

    Every feature that fires anywhere at the place is weighed: -activation times its decoder row
    times the gradient. `most` of them are then tested exactly.

    Args:
        sae: the SAE.
        z: `[n, d_in]` at the place.
        gradient: `[n, d_in]` of the difference there.
        group: `[n]` numbers of groups, such as order.
        most: features to keep.
    """
    acts = encode(sae, z)
    change = -acts * (gradient @ sae.w_dec.T)  # [n, d_sae]
    groups = torch.stack([change[group == one].mean(0) for one in group.unique()])
    weight = groups.abs().amax(0)
    alive = int((weight > 0).sum())
    features = weight.topk(min(most, alive)).indices
    return Candidates(features, change.mean(0)[features], acts[:, features])


def feature_step(sae: Sae, feature: int, acts: Tensor, new: Tensor) -> Tensor:
    """`[n, d_in]`: the move of z that takes a feature from `acts` to `new`, both `[n]`."""
    return (new - acts)[:, None] * sae.w_dec[feature]


def error_step(sae: Sae, z: Tensor) -> Tensor:
    """`[n, d_in]`: the move of z `[n, d_in]` that takes the SAE's error away."""
    return decode(sae, encode(sae, z)) - z


def gradients(
    model: LanguageModel, prompts: Prompts, layers: Sequence[int], batch: int
) -> Mapping[int, Tensor]:
    """Layer to the gradient `[n, pos, head, d_head]` of each prompt's difference."""
    parts = []
    for begin in range(0, len(prompts.tokens), batch):
        some = prompts.take(slice(begin, begin + batch))
        direction, _ = reading(model, some)
        parts.append(z_gradients(model, some.tokens, some.at["end"], direction, layers))
    return {n: torch.cat([part[n].cpu() for part in parts]) for n in layers}
