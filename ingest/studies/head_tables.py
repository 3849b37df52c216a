"""From what was measured of heads to the tables of their study."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.corpus import Contexts, Text
from ingest.studies import ablation
from ingest.studies.attention import (
    COLUMNS,
    EDGES,
    ELIGIBLE,
    ON_REPEATED,
    REPEATED,
    TEXT,
    WITHOUT_FIRST,
    Ratios,
    ratio,
)
from ingest.studies.study import Arrays

if TYPE_CHECKING:
    from ingest.studies.heads import Weights

Columns = dict[str, Any]


def metric_table(
    model: str,
    run: str,
    on_text: Sequence[Arrays],
    on_repeated: Arrays,
    weights: "Weights",
    ablated: Sequence[Arrays],
) -> Columns:
    """Rows of `head_metric`, one per layer, head, metric and condition."""
    positions = np.concatenate([one["positions"] for one in on_text])
    parts = []
    over, under = (_per_context(on_text, name) for name in ("over", "under"))
    for place, (metric, condition) in enumerate(COLUMNS):
        found = ratio(over[..., place], under[..., place])
        n = np.where(condition == TEXT, positions.sum(), np.round(under[..., place].sum(0)))
        parts.append(_metric_rows(metric, condition, found, n))
    scores = np.moveaxis(on_repeated["scores"], 1, 0)  # [sequence, layer, head, metric]
    for place, metric in enumerate(ON_REPEATED):
        found = ratio(scores[..., place], np.ones_like(scores[..., place]))
        parts.append(_metric_rows(metric, REPEATED, found, len(scores)))
    if ablated:
        extra, predicted = ablation.joined(list(ablated))
        found = ratio(extra, predicted)
        parts.append(_metric_rows("ablation_cost", "mean", found, predicted[:, 0, 0].sum()))
    if weights.copying:
        value = weights.copying["copying"]
        unknown = np.full_like(value, np.nan)
        parts.append(_metric_rows("copying", "weights", Ratios(value, unknown, unknown), 1))
    return _columns(parts, model, run)


class Ranking(NamedTuple):
    """What ranks heads for a role, and the same quantity measured otherwise."""

    metric: str
    condition: str
    checked_by: str


RANKINGS = (
    Ranking("induction", REPEATED, WITHOUT_FIRST),
    Ranking("previous_token", TEXT, REPEATED),
    Ranking("duplicate_token", REPEATED, ELIGIBLE),
)
"""One measure a role. Induction and duplicates are ranked on random tokens, where nothing but the
repetition can be attended to; text, where heads rest on the sink, is the check."""


def ranking_table(metrics: Columns) -> Columns:
    """Rows of `head_ranking`, the first of every ranking before the second of any."""
    model, run = metrics["model"][0], metrics["run"][0]
    table = pa.table({name: metrics[name] for name in (*_KEY, "value", "low", "high", "n")})
    rows = table.to_pylist()
    found: list[dict[str, Any]] = []
    for one in RANKINGS:
        own = _ranked(rows, one.metric, one.condition)
        check = {_head(row): (rank, row["value"]) for rank, row in
                 enumerate(_ranked(rows, one.metric, one.checked_by), 1)}  # fmt: skip
        for rank, row in enumerate(own, 1):
            check_rank, check_value = check[_head(row)]
            found.append(
                row | {"model": model, "run": run, "ranking": one.metric, "rank": rank}
                | {"check_condition": one.checked_by, "check_value": check_value}
                | {"check_rank": check_rank}
            )  # fmt: skip
    found.sort(key=lambda row: row["rank"])
    columns = ("model", "ranking", "rank", "layer", "head", "condition", "value", "low", "high",
               "n", "check_condition", "check_value", "check_rank", "run")  # fmt: skip
    return {name: [row[name] for row in found] for name in columns}


_KEY = ("layer", "head", "metric", "condition")


def _head(row: dict[str, Any]) -> tuple[int, int]:
    return row["layer"], row["head"]


def _ranked(rows: list[dict[str, Any]], metric: str, condition: str) -> list[dict[str, Any]]:
    """Rows of one measure, the largest value first; heads whose value is not known come last."""
    own = [row for row in rows if (row["metric"], row["condition"]) == (metric, condition)]
    return sorted(own, key=lambda row: np.inf if row["value"] is None else -row["value"])


def agreement(ranking: Columns, metric: str) -> float:
    """Spearman's rank correlation over all heads between a ranking and its check."""
    rows = zip(ranking["ranking"], ranking["rank"], ranking["check_rank"], strict=True)
    ranks = np.array([(rank, check) for name, rank, check in rows if name == metric], float)
    return float(np.corrcoef(ranks.T)[0, 1])


def _per_context(on_text: Sequence[Arrays], name: str) -> NDArray[Any]:
    """`[context, layer, head, ...]` of arrays that are kept as `[layer, context, head, ...]`."""
    return np.moveaxis(np.concatenate([one[name] for one in on_text], 1), 1, 0)


def _metric_rows(metric: str, condition: str, found: Ratios, n: Any) -> Columns:
    """Columns of one metric, from `[layer, head]` arrays."""
    layer, head = np.indices(found.value.shape).reshape(2, -1)
    count = np.broadcast_to(np.asarray(n), found.value.shape).ravel().astype(np.int64)
    return {
        "layer": layer,
        "head": head,
        "metric": np.full(len(layer), metric),
        "condition": np.full(len(layer), condition),
        "value": found.value.ravel(),
        "low": found.low.ravel(),
        "high": found.high.ravel(),
        "n": count,
    }


def distance_table(model: str, run: str, on_text: Sequence[Arrays]) -> Columns:
    """Rows of `head_distance`: the distribution of attention over distances."""
    bins = _per_context(on_text, "bins")  # [context, layer, head, bin]
    positions = np.concatenate([one["positions"] for one in on_text])
    longest = on_text[0]["weight"].shape[-1] - 1
    parts = []
    for place in range(bins.shape[-1]):
        first, begin = place == 0, EDGES[max(place - 1, 0)]
        if begin > longest:
            continue
        end = min(EDGES[min(place, len(EDGES) - 1)] - 1, longest)
        over = bins[..., place]
        found = ratio(over, np.broadcast_to(positions[:, None, None], over.shape))
        part = _metric_rows("", TEXT, found, positions.sum())
        del part["metric"]
        count = len(part["layer"])
        part["distance_from"] = [None if first else begin] * count
        part["distance_to"] = [None if first else max(end, begin)] * count
        part["share"] = part.pop("value")
        parts.append(part)
    return _columns(parts, model, run)


def token_table(
    model: str, run: str, contexts: Contexts, on_text: Sequence[Arrays], top: int
) -> Columns:
    """Rows of `head_token`: tokens that get more of a head's strongest attention than their due.

    Every destination has one strongest source that is not position 0; its weight counts for the
    token that asks (query) and for the token that is attended to (key). A token's share of all
    that weight is compared with its share of the positions.
    """
    scored = np.zeros(contexts.tokens.shape, bool)
    for row, length in zip(scored, contexts.length, strict=True):
        row[1:length] = True
    known, codes = np.unique(contexts.tokens, return_inverse=True)
    codes = codes.reshape(contexts.tokens.shape)
    base = np.bincount(codes[scored], minlength=len(known)) / scored.sum()
    parts = []
    for side in ("query", "key"):
        weight, count = _token_sums(codes, scored, on_text, side, len(known))
        parts.append(_token_rows(side, known, base, weight, count, top))
    return _columns(parts, model, run)


def _token_sums(
    codes: NDArray[Any], scored: NDArray[Any], on_text: Sequence[Arrays], side: str, size: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight and number of strongest sources by `[layer, head, token]`."""
    layers, _, heads, _ = on_text[0]["weight"].shape
    weight = np.zeros((layers, heads, size), np.float32)
    count = np.zeros((layers, heads, size), np.int32)
    for one in on_text:
        rows = slice(int(one["first"]), int(one["first"]) + one["weight"].shape[1])
        local, mask = codes[rows], scored[rows]
        context, dst = np.nonzero(mask)
        for layer, head in np.ndindex(layers, heads):
            at = dst if side == "query" else one["src"][layer, context, head, dst]
            token = local[context, at]
            given = one["weight"][layer, context, head, dst].astype(np.float32)
            weight[layer, head] += np.bincount(token, given, size).astype(np.float32)
            count[layer, head] += np.bincount(token, minlength=size).astype(np.int32)
    return weight, count


def _token_rows(
    side: str,
    known: NDArray[Any],
    base: NDArray[Any],
    weight: NDArray[Any],
    count: NDArray[Any],
    top: int,
) -> Columns:
    share = weight / np.maximum(weight.sum(-1, keepdims=True), 1e-30)
    kept = np.argsort(-(share - base), axis=-1, kind="stable")[..., :top]
    layer, head, rank = np.indices(kept.shape).reshape(3, -1)
    token = kept.ravel()
    n = count[layer, head, token]
    return {
        "layer": layer,
        "head": head,
        "side": np.full(len(layer), side),
        "rank": rank,
        "token": known[token],
        "share": share[layer, head, token],
        "base": base[token],
        "weight": weight[layer, head, token] / np.maximum(n, 1),
        "n": n,
    }


class Chosen(NamedTuple):
    """Sampled destinations, one row each."""

    layer: NDArray[Any]
    head: NDArray[Any]
    band: NDArray[Any]
    rank: NDArray[Any]
    ctx: NDArray[Any]  # number of the context in the text
    dst: NDArray[Any]
    src: NDArray[Any]
    weight: NDArray[Any]


def chosen(on_text: Sequence[Arrays], bands: int, per_band: int, seed: int) -> Chosen:
    """Destinations drawn at random from equal-width intervals of each head's strongest weight."""
    layers, _, heads, _ = on_text[0]["weight"].shape
    weight = np.concatenate([one["weight"] for one in on_text], 1)  # [layer, context, head, dst]
    src = np.concatenate([one["src"] for one in on_text], 1)
    rng = np.random.default_rng(seed)
    rows = []
    for layer, head in np.ndindex(layers, heads):
        own = weight[layer, :, head].astype(np.float32)
        context, dst = np.nonzero(own > 0)
        order = rng.permutation(len(context))
        context, dst = context[order], dst[order]
        given = own[context, dst]
        band = np.minimum((given * bands).astype(np.int64), bands - 1)
        for one in range(bands):
            picked = np.nonzero(band == one)[0][:per_band]
            rows += [
                (layer, head, one, rank, context[i], dst[i],
                 src[layer, context[i], head, dst[i]], given[i])
                for rank, i in enumerate(picked)
            ]  # fmt: skip
    return Chosen(*(np.array(column) for column in zip(*rows, strict=True)))


def example_table(model: str, run: str, picked: Chosen) -> Columns:
    """Rows of `head_example`."""
    return _columns([picked._asdict()], model, run)


def context_table(run: str, text: Text, picked: Chosen) -> Columns:
    """The contexts that sampled destinations are in."""
    used, contexts = np.unique(picked.ctx), text.contexts
    return {
        "ctx": used.astype(np.int32),
        "run": [run] * len(used),
        "doc": [text.doc_ids[doc] for doc in contexts.doc[used]],
        "source": [text.doc_sources[doc] for doc in contexts.doc[used]],
        "start": contexts.start[used],
        "tokens": [contexts.tokens[ctx, : contexts.length[ctx]] for ctx in used],
    }


def composition_table(model: str, run: str, weights: "Weights") -> Columns:
    """Rows of `head_composition`: one per head, later head and side."""
    pairs = weights.composition.get("pairs", np.zeros((0, 4), np.int64))
    scores = weights.composition.get("scores", np.zeros((0, 3), np.float32))
    names = ("layer", "head", "later_layer", "later_head")
    parts = [
        {
            **{name: pairs[:, place] for place, name in enumerate(names)},
            "kind": np.full(len(pairs), kind),
            "score": scores[:, place],
        }
        for place, kind in enumerate("qkv")
    ]
    return _columns(parts, model, run)


def _columns(parts: Sequence[Columns], model: str, run: str) -> Columns:
    """Parts below each other, with the model and the run; NaN becomes NULL."""
    joined: Columns = {}
    for name in parts[0]:
        if any(isinstance(part[name], list) for part in parts):
            joined[name] = [value for part in parts for value in part[name]]
        else:
            joined[name] = _nulls(np.concatenate([part[name] for part in parts]))
    count = len(next(iter(joined.values())))
    return {"model": [model] * count, **joined, "run": [run] * count}


def _nulls(values: NDArray[Any]) -> Any:
    if values.dtype.kind == "U":
        return values.tolist()
    if values.dtype.kind != "f":
        return values
    return pa.array(values, mask=np.isnan(values))
