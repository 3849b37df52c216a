"""The two passes over mined text: what each computes of some contexts, and how parts come together.

The first one counts every firing, in the job's precision. The second one, in float32, attributes
the firings that were chosen, counts the pairs that were chosen, and measures the heads.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.lens.sae import Sae, fires, pre_activations
from atlas.model import Attention, LanguageModel
from ingest.config import Job
from ingest.corpus import Contexts, Corpus
from ingest.mine import fold as folds
from ingest.mine import heads
from ingest.mine.attribute import Attributed, Places, attribute, nothing
from ingest.mine.choose import limits_of
from ingest.mine.count import count_contexts
from ingest.mine.fold import Fold
from ingest.mine.together import Common, Pairs, Together
from ingest.train.stream import valid_positions, without_sinks

Arrays = dict[str, NDArray[Any]]


class Mining(NamedTuple):
    """What is mined."""

    job: Job
    model: LanguageModel
    exact: Callable[[], LanguageModel]
    """Gives the model in float32, in which kept examples are attributed."""
    saes: dict[int, Sae]
    sinks: Tensor  # [layer], norms of z beyond which a position is a sink
    corpus: Corpus
    names: dict[int, str]
    """Layer to SAE id."""
    weights: str
    """Hash of the SAEs' weights file."""


class Wanted(NamedTuple):
    """What the second pass is to find out."""

    places: dict[int, Places]
    """Layer to the firings to attribute."""
    pairs: Pairs
    """Features whose common firings are to be counted."""


def counted(mining: Mining, shard: Contexts, first: int, report: Callable[[int], None]) -> Arrays:
    """The fold of every layer over some contexts."""
    found = count_contexts(
        mining.model,
        mining.saes,
        torch.from_numpy(shard.tokens).long(),
        torch.from_numpy(shard.length).long(),
        first,
        mining.job.positions,
        mining.sinks,
        limits_of(mining.job.mine),
        mining.job.batch_contexts,
        report,
    )
    parts = (folds.to_arrays(one, f"{layer}/") for layer, one in found.items())
    return {name: values for part in parts for name, values in part.items()}


def merged(mining: Mining, paths: list[Path]) -> dict[int, Fold]:
    """The fold of every layer over all files of the first pass."""
    limits = limits_of(mining.job.mine)
    return {
        layer: functools.reduce(
            functools.partial(folds.merge, limits=limits, device=sae.w_enc.device),
            (_fold_of(path, layer) for path in paths),
        )
        for layer, sae in mining.saes.items()
    }


def _fold_of(path: Path, layer: int) -> Fold:
    with np.load(path, allow_pickle=False) as arrays:
        return folds.from_arrays(arrays, f"{layer}/")


def attributed(
    mining: Mining, wanted: Wanted, shard: Contexts, first: int, report: Callable[[int], None]
) -> Arrays:
    """Attributions, head metrics per context and common firings over some contexts, in float32."""
    model, job = mining.exact(), mining.job
    tokens = torch.from_numpy(shard.tokens).long()
    length = torch.from_numpy(shard.length).long()
    valid = valid_positions(length, tokens.shape[1], job.positions.skip_first)
    step = job.batch_contexts
    found: dict[str, list[NDArray[Any]]] = {}
    layers = mining.saes.values()
    device = next(iter(layers)).w_enc.device
    together = Common(wanted.pairs, sum(sae.d_sae for sae in layers), device)
    for at in range(0, len(tokens), step):
        group = slice(at, at + step)
        attention = model.attention(tokens[group], tuple(mining.saes))
        parts = attribute(
            attention,
            model.kv_head,
            mining.saes,
            first + at,
            wanted.places,
            job.mine.sources,
            valid[group],
        )
        together.add(_fires(mining, attention, valid[group]))
        for layer, one in attention.items():
            means = heads.context_means(one.pattern, tokens[group], valid[group])
            found.setdefault(f"{layer}/heads", []).append(means)
        for layer, (which, given) in parts.items():
            for name, values in {"row": which, **given._asdict()}.items():
                found.setdefault(f"{layer}/{name}", []).append(values)
        report(tokens[group].numel())
    arrays = {name: np.concatenate(values) for name, values in found.items()}
    counts = together.counts()
    return {**arrays, "pairs/both": counts.both, "pairs/each": counts.each}


@torch.inference_mode()
def _fires(mining: Mining, attention: dict[int, Attention], valid: Tensor) -> list[Tensor]:
    """Of each layer `[place, feature]`: whether the feature fires at the scored places."""
    z = {layer: one.z.flatten(2) for layer, one in attention.items()}
    stacked = torch.stack(list(z.values()), dim=2)
    mask = without_sinks(stacked, valid.to(stacked.device), mining.sinks)
    return [
        fires(sae, pre_activations(sae, z[layer][mask].float()))
        for layer, sae in mining.saes.items()
    ]


def joined(paths: list[Path], name: str) -> NDArray[Any]:
    """One array of the second pass over all its files."""
    parts = []
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            parts.append(arrays[name])
    return np.concatenate(parts)


def attributions(paths: list[Path], layer: int, count: int) -> Attributed:
    """The attribution of one layer's `count` examples, in the order of their places."""
    parts: dict[str, list[NDArray[Any]]] = {}
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            for name in ("row", *Attributed._fields):
                if f"{layer}/{name}" in arrays:
                    parts.setdefault(name, []).append(arrays[f"{layer}/{name}"])
    if not count:
        return nothing()
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    order = np.argsort(columns["row"])
    assert np.array_equal(columns["row"][order], np.arange(count)), "an example was lost"
    return Attributed(*(columns[name][order] for name in Attributed._fields))


def common_firings(paths: list[Path]) -> Together:
    """Common firings over all its files."""
    both: NDArray[Any] | int = 0
    each: NDArray[Any] | int = 0
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            both, each = both + arrays["pairs/both"], each + arrays["pairs/each"]
    return Together(np.asarray(both), np.asarray(each))
