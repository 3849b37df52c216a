"""What edits of features and heads do to a prompt, and what tells two prompts apart."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.errors import QueryError
from atlas.ids import FeatureId, HeadId
from atlas.lens.intervene import changed, move_feature, move_head
from atlas.lens.sae import Sae, encode
from atlas.model import LanguageModel, Replace
from atlas.prompt_run import PromptRun
from atlas.prompt_types import (
    Ablation,
    Comparison,
    Edit,
    FeatureChange,
    FeatureDifference,
    TokenChange,
)


class Prepared(NamedTuple):
    """An edit that was checked, with all it needs."""

    edit: Edit
    layer: int
    pos: Tensor  # [n], positions to edit
    sae: Sae | None  # of a feature
    reference: Tensor  # [m, d_in], z that gives the mean or is put in place


def prepare(run: PromptRun, edit: Edit, sae: Sae | None, other: PromptRun | None) -> Prepared:
    """Check an edit against its prompt.

    Args:
        run: the prompt.
        edit: its target exists and its positions are the prompt's.
        sae: of the target when that is a feature.
        other: the run of the edit's reference text, when it names one.

    Raises:
        QueryError: it lacks a reference or has a value that cannot be used.
    """
    layer = edit.target.sae.layer if isinstance(edit.target, FeatureId) else edit.target.layer
    n_pos = len(run.prompt.ids)
    where = range(n_pos) if edit.positions is None else sorted(set(edit.positions))
    if not where:
        raise QueryError("an edit has no position", "name one, or none at all for everywhere")
    if not math.isfinite(edit.value):
        raise QueryError(f"an edit cannot take the value {edit.value}", "give a finite number")
    if edit.how == "set" and sae is None:
        raise QueryError("a head has no single value to set", "zero, scale or resample it")
    if edit.how not in ("zero", "mean", "resample", "set", "scale"):
        raise QueryError(f"unknown edit {edit.how!r}", "zero, mean, resample, set or scale")
    pos = torch.tensor(where, device=run.kv_head.device)
    z = (other or run).internals.z[layer].flatten(1)
    if edit.how == "resample":
        if other is None:
            raise QueryError("resample needs a reference", "give a text to take activations from")
        if len(z) < n_pos:
            raise QueryError(
                f"the reference has {len(z)} tokens, the prompt {n_pos}", "give a longer one"
            )
        z = z[pos]
    elif len(z) > 1:
        z = z[1:]  # the first token's activations are unlike all others
    return Prepared(edit, layer, pos, sae, z)


def ablate(
    model: LanguageModel, run: PromptRun, edits: Sequence[Prepared], pos: int, top: int
) -> Ablation:
    """Run a prompt with edits of z and compare with the run without.

    Args:
        model: the model.
        run: the prompt.
        edits: applied in order within each layer.
        pos: where the next token is looked at.
        top: tokens and features to list.
    """
    tokens = run.internals.tokens[None]
    by_layer = {n: [e for e in edits if e.layer == n] for n in sorted({e.layer for e in edits})}
    replace: dict[int, Replace] = {n: partial(_apply, own) for n, own in by_layer.items()}
    later = [layer for layer in run.saes if layer > min(by_layer)]
    logits, z = model.run(tokens, later, replace)
    clean = model.logits(tokens)
    losses = [_losses(side, run.internals.tokens) for side in (clean, logits)]
    before, after = (side[0, pos].float().log_softmax(-1) for side in (clean, logits))
    return Ablation(
        run.prompt,
        tuple(e.edit for e in edits),
        pos,
        _token_changes(model, before.exp(), after.exp(), top),
        max(0.0, float((before.exp() * (before - after)).sum())),
        losses[0],
        losses[1],
        _feature_changes(run, {n: part[0].flatten(1) for n, part in z.items()}, top),
    )


def _apply(edits: Sequence[Prepared], z: Tensor) -> Tensor:
    """z `[1, pos, head, d_head]` after every edit of its layer."""
    shape, z = z.shape, z[0].flatten(1)
    for edit in edits:
        z = _apply_one(edit, z, n_heads=shape[2])
    return z.view(shape)


def _apply_one(own: Prepared, z: Tensor, n_heads: int) -> Tensor:
    how, value, target = own.edit.how, own.edit.value, own.edit.target
    if isinstance(target, FeatureId) and own.sae is not None:
        old, reference = (
            encode(own.sae, part)[:, target.index] for part in (z[own.pos], own.reference)
        )
        new = changed(old, how, value, reference)
        return move_feature(z, own.sae, target.index, own.pos, new)
    assert isinstance(target, HeadId)
    by_head = z.view(len(z), n_heads, -1)
    reference = own.reference.view(len(own.reference), n_heads, -1)[:, target.head]
    new = changed(by_head[own.pos, target.head], how, value, reference)
    return move_head(by_head, target.head, own.pos, new).flatten(1)


def compare(model: LanguageModel, a: PromptRun, b: PromptRun, top: int) -> Comparison:
    """Features by their strongest firing on each of two prompts, and the next tokens.

    Args:
        model: the model.
        a: one prompt.
        b: the other, seen through the same SAEs.
        top: features and tokens to list.
    """
    found = []
    for layer, (id, _) in a.saes.items():
        strongest_a, strongest_b = (_strongest(run, layer) for run in (a, b))
        for index in strongest_a.keys() | strongest_b.keys():
            act_a, pos_a = strongest_a.get(index, (0.0, None))
            act_b, pos_b = strongest_b.get(index, (0.0, None))
            found.append(FeatureDifference(FeatureId(id, index), act_a, pos_a, act_b, pos_b))
    found.sort(key=lambda one: (-abs(one.a - one.b), one.feature))
    next_a, next_b = (
        model.logits(run.internals.tokens[None])[0, -1].float().softmax(-1) for run in (a, b)
    )
    tokens = _token_changes(model, next_a, next_b, top)
    return Comparison(a.prompt, b.prompt, tuple(found[:top]), tokens)


def _strongest(run: PromptRun, layer: int) -> dict[int, tuple[float, int | None]]:
    """Feature to its largest activation on the prompt and where."""
    lens, start = run.lenses[layer], int(run.prompt.bos)
    order = lens.act.argsort()  # so that the largest of a feature comes last and stays
    columns = (part[order].tolist() for part in (lens.feature, lens.act, lens.pos))
    return {f: (act, pos) for f, act, pos in zip(*columns, strict=True) if pos >= start}


def _losses(logits: Tensor, tokens: Tensor) -> tuple[float, ...]:
    losses = torch.nn.functional.cross_entropy(logits[0, :-1].float(), tokens[1:], reduction="none")
    return tuple(losses.tolist())


def _token_changes(
    model: LanguageModel, before: Tensor, after: Tensor, top: int
) -> tuple[TokenChange, ...]:
    likely = torch.maximum(before, after).topk(min(top, len(before))).indices
    rows = zip(likely.tolist(), model.texts(likely.tolist()), strict=True)
    return tuple(TokenChange(n, text, float(before[n]), float(after[n])) for n, text in rows)


def _feature_changes(run: PromptRun, z: dict[int, Tensor], top: int) -> tuple[FeatureChange, ...]:
    found = []
    for layer, now in z.items():
        id, sae = run.saes[layer]
        before, after = encode(sae, run.internals.z[layer].flatten(1)), encode(sae, now)
        change = (after - before).flatten()
        for n in change.abs().topk(min(top, len(change))).indices.tolist():
            if change[n] != 0:
                pos, index = divmod(n, sae.d_sae)
                act = float(before[pos, index]), float(after[pos, index])
                found.append(FeatureChange(FeatureId(id, index), pos, *act))
    return tuple(sorted(found, key=lambda one: -abs(one.after - one.before))[:top])
