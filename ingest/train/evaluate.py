"""How well SAEs rebuild z on held-out text: L0, FVU, and what replacing z costs the model.

z is replaced at scored positions only: the SAEs never saw the others. The same positions are
zeroed or set to the mean for the two baselines, so all three losses compare.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atlas.lens.sae import Sae, decode, encode
from atlas.model import LanguageModel
from atlas.types import Interval
from ingest.config import PositionsPart
from ingest.corpus import Contexts
from ingest.train.stream import harvest, valid_positions, without_sinks

KINDS = ("sae", "zero", "mean")
"""What takes the place of z: its reconstruction, zeros, its mean."""


class Losses(NamedTuple):
    """What replacing z costs, nats per token; intervals are of the difference to `ce_clean`."""

    ce_clean: float
    ce_sae: float
    ce_zero: float
    ce_mean: float
    sae_cost: Interval
    zero_cost: Interval
    mean_cost: Interval
    recovered_zero: float | None
    recovered_mean: float | None

    def to_columns(self) -> dict[str, Any]:
        """As columns of the evidence tables `sae` and `joint_evaluation`."""
        columns = self._asdict()
        for kind in KINDS:
            cost = columns.pop(f"{kind}_cost")
            columns[f"ce_{kind}_low"], columns[f"ce_{kind}_high"] = cost.low, cost.high
        return columns

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> "Losses":
        """What `to_columns` gave."""
        costs: dict[str, Any] = {
            f"{kind}_cost": Interval(columns[f"ce_{kind}_low"], columns[f"ce_{kind}_high"])
            for kind in KINDS
        }
        return cls(**costs, **{name: columns[name] for name in cls._fields if name in columns})


class Evaluated(NamedTuple):
    """The figures of one SAE."""

    l0: float
    fvu: float
    losses: Losses
    dead: float  # share of features that fired on none of the tokens
    tokens: int

    def to_columns(self) -> dict[str, Any]:
        """As columns of the evidence table `sae`."""
        return {
            "l0": self.l0,
            "fvu": self.fvu,
            **self.losses.to_columns(),
            "eval_tokens": self.tokens,
            "dead_share": self.dead,
            "dead_window": self.tokens,
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> "Evaluated":
        """What `to_columns` gave."""
        losses = Losses.from_columns(columns)
        rest = (columns[name] for name in ("dead_share", "eval_tokens"))
        return cls(columns["l0"], columns["fvu"], losses, *rest)


class Evaluations(NamedTuple):
    """All SAEs by themselves, and all at once."""

    alone: dict[int, Evaluated]
    """By layer."""
    together: Losses | None
    """With z of all layers replaced at once; None where there is one layer only."""


class Moments(NamedTuple):
    """Sums over scored tokens of one layer, float64."""

    tokens: int
    total: Tensor  # [d_in], sum of z
    squares: float  # sum of |z|^2
    errors: float  # sum of |z - z_hat|^2
    firings: Tensor  # [d_sae]

    @property
    def l0(self) -> float:
        """Mean firings per token."""
        return float(self.firings.sum()) / self.tokens


def fvu(moments: Moments) -> float:
    """Fraction of variance unexplained: sum |z - z_hat|^2 / sum |z - mean|^2 over all tokens."""
    variance = moments.squares - float(moments.total.square().sum()) / moments.tokens
    return moments.errors / variance if variance > 0 else math.nan


def interval(values: Tensor) -> Interval:
    """95 % interval of the mean of `[context]` values, by the normal approximation."""
    mean, n = float(values.mean()), len(values)
    half = 1.96 * float(values.std()) / math.sqrt(n) if n > 1 else math.inf
    return Interval(mean - half, mean + half)


def recovered(clean: float, sae: float, ablated: float, cost: Interval) -> float | None:
    """(ablated - sae) / (ablated - clean), PAPER.md section 4.1; None when the cost is noise."""
    return (ablated - sae) / (ablated - clean) if cost.low > 0 else None


@torch.inference_mode()
def evaluate(
    model: LanguageModel,
    saes: Mapping[int, Sae],
    contexts: Contexts,
    positions: PositionsPart,
    limits: Tensor,
    batch_contexts: int,
    report: Callable[[int], None] = lambda _: None,
) -> Evaluations:
    """Evaluate the SAE of each layer by itself, and all of them at once.

    Args:
        model: the language model.
        saes: layer to SAE.
        contexts: held-out text.
        positions: which positions are left out.
        limits: `[layer]`, norms of z beyond which a position is a sink.
        batch_contexts: contexts per forward pass.
        report: told the tokens of each batch.
    """
    layers = tuple(saes)
    tokens = torch.from_numpy(contexts.tokens).long()
    length = torch.from_numpy(contexts.length).long()
    batches = list(zip(tokens.split(batch_contexts), length.split(batch_contexts), strict=True))
    scored, moments = _moments(model, saes, batches, positions, limits)
    means = {layer: (m.total / m.tokens).float() for layer, m in moments.items()}
    groups = {(layer,) for layer in layers} | {layers}
    rows: dict[Variant, list[Tensor]] = {}
    for (ids, size), mask in zip(batches, scored, strict=True):
        counted = _counted(mask, size)
        edits = _edits(saes, means, mask, groups)
        for key, losses in zip(edits, model.losses_each(ids, list(edits.values())), strict=True):
            rows.setdefault(key, []).append(torch.stack([losses.cpu() * counted, counted.float()]))
        report(ids.numel())
    sums = {key: torch.cat(parts, dim=1).sum(2).double() for key, parts in rows.items()}
    alone = {
        layer: Evaluated(
            m.l0,
            fvu(m),
            _losses((layer,), sums),
            float((m.firings == 0).float().mean()),
            m.tokens,
        )
        for layer, m in moments.items()
    }
    return Evaluations(alone, _losses(layers, sums) if len(layers) > 1 else None)


def _moments(
    model: LanguageModel,
    saes: Mapping[int, Sae],
    batches: list[tuple[Tensor, Tensor]],
    positions: PositionsPart,
    limits: Tensor,
) -> tuple[list[Tensor], dict[int, Moments]]:
    """Which positions count, and the sums over them."""
    found = {
        layer: Moments(
            0, torch.zeros(sae.d_in, dtype=torch.float64), 0.0, 0.0, torch.zeros(sae.d_sae)
        )
        for layer, sae in saes.items()
    }
    masks = []
    for ids, size in batches:
        z = harvest(model, ids, tuple(saes), len(ids))
        valid = valid_positions(size, ids.shape[1], positions.skip_first).to(z.device)
        mask = without_sinks(z, valid, limits)
        masks.append(mask)
        for index, (layer, sae) in enumerate(saes.items()):
            found[layer] = _add(found[layer], sae, z[:, :, index][mask].float())
    return masks, found


def _add(sums: Moments, sae: Sae, z: Tensor) -> Moments:
    acts = encode(sae, z)
    error = (z - decode(sae, acts)).double().square().sum()
    return Moments(
        sums.tokens + len(z),
        sums.total + z.double().sum(0).cpu(),
        sums.squares + float(z.double().square().sum()),
        sums.errors + float(error),
        sums.firings + (acts > 0).sum(0).cpu(),
    )


def _counted(mask: Tensor, size: Tensor) -> Tensor:
    """`[context, pos - 1]`: scored positions whose next token is text."""
    mask = mask.cpu()
    return mask[:, :-1] & (torch.arange(mask.shape[1] - 1) + 1 < size[:, None])


Variant = tuple[tuple[int, ...], str]
"""Layers whose z is replaced, and by what; ((), clean) is the untouched model."""
Edits = dict[Variant, Mapping[int, Callable[[Tensor], Tensor]]]
CLEAN: Variant = ((), "clean")


def _edits(
    saes: Mapping[int, Sae],
    means: Mapping[int, Tensor],
    mask: Tensor,
    groups: set[tuple[int, ...]],
) -> Edits:
    """Every run of the model that a batch needs."""
    news: dict[str, Callable[[int], Callable[[Tensor], Tensor]]] = {
        "sae": lambda layer: partial(_rebuilt, saes[layer]),
        "zero": lambda _: torch.zeros_like,
        "mean": lambda layer: partial(_constant, means[layer]),
    }
    edits: Edits = {CLEAN: {}}
    for layers in sorted(groups):
        for kind in KINDS:
            edits[layers, kind] = {
                layer: partial(_put, mask, news[kind](layer)) for layer in layers
            }
    return edits


def _rebuilt(sae: Sae, z: Tensor) -> Tensor:
    return decode(sae, encode(sae, z))


def _constant(value: Tensor, z: Tensor) -> Tensor:
    return value.to(z.device).expand_as(z)


def _put(mask: Tensor, new: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """z `[batch, pos, head, d_head]` with masked positions replaced, `new` seeing `[n, d_in]`."""
    flat = z.flatten(2).clone()
    flat[mask] = new(flat[mask].float()).to(z.dtype)
    return flat.view_as(z)


def _losses(layers: tuple[int, ...], sums: Mapping[Variant, Tensor]) -> Losses:
    """From sums `[2, context]` of loss and of counted tokens."""
    clean = sums[CLEAN]
    kept = clean[1] > 0
    base = clean[0][kept] / clean[1][kept]
    ce = {kind: float(sums[layers, kind][0].sum() / clean[1].sum()) for kind in KINDS}
    cost = {kind: interval(sums[layers, kind][0][kept] / clean[1][kept] - base) for kind in KINDS}
    ce_clean = float(clean[0].sum() / clean[1].sum())
    against = {
        kind: recovered(ce_clean, ce["sae"], ce[kind], cost[kind]) for kind in ("zero", "mean")
    }
    return Losses(
        ce_clean,
        ce["sae"],
        ce["zero"],
        ce["mean"],
        cost["sae"],
        cost["zero"],
        cost["mean"],
        against["zero"],
        against["mean"],
    )
