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


class Evaluated(NamedTuple):
    """The figures of one SAE; losses in nats per token."""

    l0: float
    fvu: float
    ce_clean: float
    ce_sae: float
    ce_zero: float
    ce_mean: float
    sae_cost: Interval
    zero_cost: Interval
    mean_cost: Interval
    recovered_zero: float | None
    recovered_mean: float | None
    tokens: int

    def to_columns(self) -> dict[str, Any]:
        """The evaluation as columns of the evidence table `sae`."""
        columns = self._asdict()
        for kind in ("sae", "zero", "mean"):
            cost = columns.pop(f"{kind}_cost")
            columns[f"ce_{kind}_low"], columns[f"ce_{kind}_high"] = cost.low, cost.high
        columns["eval_tokens"] = columns.pop("tokens")
        return columns

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> "Evaluated":
        """What `to_columns` gave."""
        costs: dict[str, Any] = {
            f"{kind}_cost": Interval(columns[f"ce_{kind}_low"], columns[f"ce_{kind}_high"])
            for kind in ("sae", "zero", "mean")
        }
        plain: dict[str, Any] = {name: columns[name] for name in cls._fields if name in columns}
        return cls(**plain, **costs, tokens=columns["eval_tokens"])


class Moments(NamedTuple):
    """Sums over scored tokens of one layer, float64."""

    tokens: int
    total: Tensor  # [d_in], sum of z
    squares: float  # sum of |z|^2
    errors: float  # sum of |z - z_hat|^2
    firings: int


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
) -> dict[int, Evaluated]:
    """Evaluate the SAE of each layer by itself.

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
    rows: dict[tuple[int, str], list[Tensor]] = {}
    for (ids, size), mask in zip(batches, scored, strict=True):
        counted = _counted(mask, size)
        edits = _edits(saes, means, mask)
        for key, losses in zip(edits, model.losses_each(ids, list(edits.values())), strict=True):
            rows.setdefault(key, []).append(torch.stack([losses.cpu() * counted, counted.float()]))
        report(ids.numel())
    sums = {key: torch.cat(parts, dim=1).sum(2).double() for key, parts in rows.items()}
    return {layer: _evaluated(layer, moments[layer], sums) for layer in layers}


def _moments(
    model: LanguageModel,
    saes: Mapping[int, Sae],
    batches: list[tuple[Tensor, Tensor]],
    positions: PositionsPart,
    limits: Tensor,
) -> tuple[list[Tensor], dict[int, Moments]]:
    """Which positions count, and the sums over them."""
    found = {
        layer: Moments(0, torch.zeros(sae.d_in, dtype=torch.float64), 0.0, 0.0, 0)
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
        sums.firings + int((acts > 0).sum()),
    )


def _counted(mask: Tensor, size: Tensor) -> Tensor:
    """`[context, pos - 1]`: scored positions whose next token is text."""
    mask = mask.cpu()
    return mask[:, :-1] & (torch.arange(mask.shape[1] - 1) + 1 < size[:, None])


Edits = dict[tuple[int, str], Mapping[int, Callable[[Tensor], Tensor]]]


def _edits(saes: Mapping[int, Sae], means: Mapping[int, Tensor], mask: Tensor) -> Edits:
    """Every run of the model that a batch needs, by layer and kind; (-1, clean) is untouched."""
    edits: Edits = {(-1, "clean"): {}}
    for layer, sae in saes.items():
        news: dict[str, Callable[[Tensor], Tensor]] = {
            "sae": partial(_rebuilt, sae),
            "zero": torch.zeros_like,
            "mean": partial(_constant, means[layer]),
        }
        for kind, new in news.items():
            edits[layer, kind] = {layer: partial(_put, mask, new)}
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


def _evaluated(layer: int, moments: Moments, sums: dict[tuple[int, str], Tensor]) -> Evaluated:
    """From sums `[2, context]` of loss and of counted tokens."""
    clean = sums[-1, "clean"]
    kept = clean[1] > 0
    base = clean[0][kept] / clean[1][kept]

    def loss(kind: str) -> float:
        return float(sums[layer, kind][0].sum() / clean[1].sum())

    def cost(kind: str) -> Interval:
        return interval(sums[layer, kind][0][kept] / clean[1][kept] - base)

    ce_clean = float(clean[0].sum() / clean[1].sum())
    ce_sae, ce_zero, ce_mean = loss("sae"), loss("zero"), loss("mean")
    zero, mean = cost("zero"), cost("mean")
    return Evaluated(
        l0=moments.firings / moments.tokens,
        fvu=fvu(moments),
        ce_clean=ce_clean,
        ce_sae=ce_sae,
        ce_zero=ce_zero,
        ce_mean=ce_mean,
        sae_cost=cost("sae"),
        zero_cost=zero,
        mean_cost=mean,
        recovered_zero=recovered(ce_clean, ce_sae, ce_zero, zero),
        recovered_mean=recovered(ce_clean, ce_sae, ce_mean, mean),
        tokens=moments.tokens,
    )
