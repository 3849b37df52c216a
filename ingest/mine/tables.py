"""From folds, attributions and weights to the bundle's tables of one SAE."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atlas.tables import TABLES
from ingest.mine.attribute import Attributed
from ingest.mine.choose import KINDS, NEAR_MISS, Chosen
from ingest.mine.fold import FIXED, Fold
from ingest.mine.neighbours import Neighbours
from ingest.mine.weights import Logits
from ingest.wilson import wilson

DISAGREEMENT = 0.25
"""Total variation between weight and measured shares from which two top heads count as unequal."""


class Examples(NamedTuple):
    """Attributed examples of one SAE that fire (or miss) in float32 too, by feature, kind, rank."""

    chosen: Chosen
    rank: NDArray[Any]
    attributed: Attributed


def ranked(chosen: Chosen, attributed: Attributed) -> Examples:
    """Order examples within feature, kind and band; drop those that no longer are what they were.

    Firings are found in the job's precision and attributed in float32; at the threshold the two
    can differ. The activation of a near miss is its pre-activation.
    """
    missed = chosen.kind == NEAR_MISS
    holds = (attributed.act > 0) != missed
    act = np.where(missed, attributed.pre, attributed.act)
    chosen = Chosen(*(column[holds] for column in chosen))
    attributed = Attributed(*(column[holds] for column in attributed._replace(act=act)))
    order = np.lexsort(
        (chosen.pos, chosen.ctx, -attributed.act, -chosen.band, chosen.kind, chosen.feature)
    )
    group = (chosen.feature * len(KINDS) + chosen.kind)[order]
    starts = np.searchsorted(group, group, side="left")
    rank = np.arange(len(order)) - starts
    return Examples(
        Chosen(*(column[order] for column in chosen)),
        rank,
        Attributed(*(column[order] for column in attributed)),
    )


def entropy(shares: NDArray[Any]) -> NDArray[Any]:
    """Entropy in bits of each row of shares; rows of zeros give 0."""
    logs = np.log2(np.where(shares > 0, shares, 1.0))
    result: NDArray[Any] = -(shares * logs).sum(1)
    return result


def measured_shares(state: Fold) -> NDArray[Any]:
    """`[feature, head]`: mean |DFA| over the sum of that over heads; 0 for dead features."""
    total = state.abs_dfa.sum(1, keepdims=True)
    shares: NDArray[Any] = state.abs_dfa / np.maximum(total, 1)
    return shares


def feature_table(
    sae: str,
    state: Fold,
    weight_shares: NDArray[Any],
    bias: NDArray[Any],
    logits: Logits,
    examples: Examples,
) -> pa.Table:
    """One row per feature; columns as in the evidence schema.

    Args:
        sae: the SAE's id.
        state: its fold.
        weight_shares: `[feature, head]`.
        bias: `[feature]`, the part of the pre-activation that no head makes.
        logits: promoted and suppressed tokens.
        examples: attributed examples, for the exactness residual.
    """
    alive = state.firings > 0
    fired = np.maximum(state.firings, 1)
    tokens = int(state.tokens[0])
    low, high = wilson(state.firings, float(tokens))
    mean = state.act / FIXED / fired
    variance = np.maximum(state.square / FIXED / fired - mean**2, 0.0)
    measured = measured_shares(state)
    distance = np.abs(measured - weight_shares).sum(1) / 2
    tops = weight_shares.argmax(1), measured.argmax(1)
    residual = np.zeros(len(alive), np.float32)
    np.maximum.at(residual, examples.chosen.feature, np.abs(examples.attributed.residual))
    seen = np.bincount(examples.chosen.feature, minlength=len(alive)) > 0
    columns: dict[str, Any] = {
        "firings": state.firings,
        "tokens": np.full(len(alive), tokens),
        "density": state.firings / max(tokens, 1),
        "density_low": low,
        "density_high": high,
        "max_act": state.max_act,
        "mean_act": mean,
        "std_act": np.sqrt(variance),
        "histogram": list(state.histogram.astype(np.int32)),
        **{name: list(column) for name, column in logits._asdict().items()},
        "bias": bias,
        "weight_head": tops[0],
        "weight_share": weight_shares.max(1),
        "weight_entropy": entropy(weight_shares),
        "dfa_head": _or_null(tops[1], alive),
        "dfa_share": _or_null(measured.max(1), alive),
        "dfa_entropy": _or_null(entropy(measured), alive),
        "disagreement": _or_null(distance, alive),
        "disagree": alive & (tops[0] != tops[1]) & (distance > DISAGREEMENT),
        "residual": _or_null(residual, seen),
        "family": pa.nulls(len(alive), pa.string()),
        "family_score": pa.nulls(len(alive), pa.float32()),
    }
    return _table("feature", sae, np.arange(len(alive)), columns)


def head_table(sae: str, state: Fold, weight_shares: NDArray[Any]) -> pa.Table:
    """One row per feature and head."""
    features, heads = weight_shares.shape
    alive = np.repeat(state.firings > 0, heads)
    fired = np.maximum(state.firings, 1)[:, None]
    columns = {
        "head": np.tile(np.arange(heads), features),
        "weight_share": weight_shares.ravel(),
        "dfa_mean": _or_null((state.dfa / FIXED / fired).ravel(), alive),
        "dfa_share": _or_null(measured_shares(state).ravel(), alive),
        "won": _or_null((state.won / fired).ravel(), alive),
    }
    return _table("feature_head", sae, np.repeat(np.arange(features), heads), columns)


def example_table(sae: str, examples: Examples, tokens: NDArray[Any]) -> pa.Table:
    """One row per example. `tokens` is `[context, pos]`, of the whole mined corpus."""
    chosen, found = examples.chosen, examples.attributed
    fires = found.context_acts > 0
    source = strongest_source(examples)
    rows, positions = np.nonzero(fires)
    ends = np.searchsorted(rows, np.arange(len(fires) + 1))
    columns: dict[str, Any] = {
        "kind": pa.DictionaryArray.from_arrays(chosen.kind.astype(np.int32), list(KINDS)),
        "band": _or_null(chosen.band, chosen.band >= 0),
        "rank": examples.rank,
        "ctx": chosen.ctx,
        "pos": chosen.pos,
        "act": found.act,
        "token": tokens[chosen.ctx, chosen.pos],
        "act_pos": pa.ListArray.from_arrays(
            ends.astype(np.int32), pa.array(positions.astype(np.int16))
        ),
        "act_val": pa.ListArray.from_arrays(
            ends.astype(np.int32), pa.array(found.context_acts[fires])
        ),
        "head_dfa": list(found.head_dfa),
        **_sources(found, chosen.pos),
        "src_rest": found.src_rest,
        "src_token": tokens[chosen.ctx, source],
        "distance": chosen.pos - source,
        "residual": found.residual,
    }
    return _table("example", sae, chosen.feature, columns)


def strongest_source(examples: Examples) -> NDArray[Any]:
    """Position of the listed source with the largest signed DFA, of every example."""
    found = examples.attributed
    before = found.src_pos <= examples.chosen.pos[:, None]
    best = np.where(before, found.src_dfa, -np.inf).argmax(1)
    return np.take_along_axis(found.src_pos, best[:, None], 1)[:, 0].astype(np.int64)


def _sources(found: Attributed, pos: NDArray[Any]) -> dict[str, pa.Array]:
    """The source lists of every example, without places after it, which give nothing."""
    listed = found.src_pos <= pos[:, None]
    ends = np.r_[0, listed.sum(1).cumsum()].astype(np.int32)
    names = ("src_pos", "src_dfa", "src_head")
    return {
        name: pa.ListArray.from_arrays(ends, pa.array(getattr(found, name)[listed]))
        for name in names
    }


def neighbour_table(sae: str, found: Neighbours, names: Mapping[int, str]) -> pa.Table:
    """One row per feature and neighbour. `names` maps layers to SAE ids."""
    columns = {
        "rank": _or_null(found.rank, found.rank >= 0),
        "other_sae": pa.array([names[layer] for layer in found.layer.tolist()], pa.string()),
        "other_feature": found.other,
        "cosine": found.cosine,
        "jaccard": found.jaccard,
        "fire_rank": _or_null(found.fire_rank, found.fire_rank >= 0),
    }
    return _table("neighbour", sae, found.feature, columns)


def _table(name: str, sae: str, feature: NDArray[Any], columns: Mapping[str, Any]) -> pa.Table:
    """Columns in the order and types of the bundle's schema, the key in front."""
    key = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(feature), np.int32)), [sae])
    arrays = {"sae": key, "feature": pa.array(feature.astype(np.int32)), **columns}
    schema = TABLES[name]
    return pa.table([_cast(arrays[field.name], field.type) for field in schema], schema=schema)


def _cast(values: Any, kind: pa.DataType) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(array.type):
        return array.dictionary_encode().cast(kind)
    return array.cast(kind, safe=False)


def _or_null(values: NDArray[Any], known: NDArray[Any]) -> pa.Array:
    return pa.array(values, mask=~known)
