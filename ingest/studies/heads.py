"""The study of every head: what it attends to, what it copies and composes with, what it is worth.

1. Held-out text: attention patterns of all layers, folded into sums per context (`attention`).
2. Repeated random tokens: induction, duplicate and previous-token scores without any text.
3. Weights: copying scores, composition with all heads of later layers (`atlas.lens.circuits`).
4. Mean ablation of each head by itself, in nats (`ablation`).
"""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field

from atlas.errors import ModelError
from atlas.lens import circuits
from ingest.config import Count, StudyPart
from ingest.studies import head_tables as tables
from ingest.studies.ablation import CHECKED, checked, costs
from ingest.studies.attention import measure, repeated, strongest
from ingest.studies.study import Arrays, Batch, Findings, Study
from ingest.studies.text import start_token


class HeadsPart(StudyPart):
    """Settings of the study of heads."""

    sequences: Count = 64
    """Sequences of random tokens repeated once."""
    repeat_tokens: Count = 50
    """Tokens of one copy; fewer where the model takes no more."""
    ablate_contexts: Annotated[int, Field(ge=0)] = 16
    """Contexts on which each head is ablated by itself, which takes longest; 0 for none."""
    ablate_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of those passes; where it is not float32, some heads are run again in float32."""
    top: Count = 10
    """Query and key tokens kept per head."""
    bands: Count = 5
    """Equal-width intervals of attention weight from which destinations are sampled."""
    per_band: Count = 3
    """Destinations sampled from each interval."""


class Weights(NamedTuple):
    """What follows from weights; empty arrays where the model does not decompose."""

    copying: Arrays
    composition: Arrays


def study_heads(study: Study, settings: HeadsPart) -> Findings:
    """Metrics, patterns, composition and ablation costs of every head of the model."""
    model = study.model
    layers = tuple(range(model.info.n_layers))
    text = study.text
    on_text = list(study.each("attention", lambda batch: _measured(study, batch, layers)))
    on_repeated = study.keep("repeated", lambda: _repeated(study, settings, layers))
    weights, said = _weights(study)
    cut = slice(0, min(settings.ablate_contexts, len(text.text.contexts.tokens)))
    ablated, more = _ablated(study, settings, _means(on_text), cut)
    said += more
    name, run = model.info.id, study.work.run
    chosen = tables.chosen(on_text, settings.bands, settings.per_band, settings.seed)
    metrics = tables.metric_table(name, run, on_text, on_repeated, weights, ablated)
    ranking = tables.ranking_table(metrics)
    said += tuple(
        f"heads for {one.metric} are ranked by {one.condition}; over all heads the rank correlation"
        f" with {one.checked_by} is {tables.agreement(ranking, one.metric):.2f}"
        for one in tables.RANKINGS
    )
    found = {
        "head_ranking": ranking,
        "head_metric": metrics,
        "head_distance": tables.distance_table(name, run, on_text),
        "head_token": tables.token_table(name, run, text.text.contexts, on_text, settings.top),
        "head_example": tables.example_table(name, run, chosen),
        "context": tables.context_table(run, text.text, chosen),
        "head_composition": tables.composition_table(name, run, weights),
    }
    samples = {
        "contexts": len(text.text.contexts.tokens),
        "tokens": int(text.text.contexts.length.sum()),
        "repeated sequences": settings.sequences,
        "tokens of one copy": int(on_repeated["length"]),
        "ablation contexts": cut.stop,
    }
    return Findings(found, samples, said)


def _measured(study: Study, batch: Batch, layers: tuple[int, ...]) -> Arrays:
    """Sums and strongest sources of one batch, layers first; z summed for its mean."""
    found = study.model.attention(batch.tokens, layers)
    kept: dict[str, list[torch.Tensor]] = {}
    for layer in layers:
        one = found.pop(layer)
        sums = measure(one.pattern, batch.tokens, batch.valid)
        most = strongest(one.pattern, batch.valid)
        z = one.z.float() * batch.valid[..., None, None].to(one.z.device)
        parts = {
            "over": sums.over,
            "under": sums.under,
            "bins": sums.bins,
            "weight": most.weight.half(),
            "src": most.src.short(),
            "z": z.double().sum((0, 1)),
        }
        for name, value in parts.items():
            kept.setdefault(name, []).append(value.cpu())
    arrays = {name: torch.stack(values).numpy() for name, values in kept.items()}
    return arrays | {
        "positions": batch.valid.sum(1).numpy(),
        "first": np.array(batch.first),
    }


def _means(on_text: list[Arrays]) -> torch.Tensor:
    """`[layer, head, d_head]`: z averaged over all scored positions of the text."""
    count = sum(int(one["positions"].sum()) for one in on_text)
    total = np.sum([one["z"] for one in on_text], axis=0)
    return torch.from_numpy(total / count).float()


def _ablated(
    study: Study, settings: HeadsPart, means: torch.Tensor, contexts: slice
) -> tuple[list[Arrays], tuple[str, ...]]:
    """What each head's mean ablation costs, and what is to be said of its precision."""
    if not contexts.stop:
        return [], ("no head was ablated: ablate_contexts is 0",)
    model = study.model_in(settings.ablate_dtype)
    found = list(costs(study, model, means, contexts))
    if model.dtype == torch.float32:
        return found, ()
    every = max(1, len(means) // CHECKED)
    check = checked(study, means, contexts, found, list(range(0, len(means), every)))
    return found, (
        f"ablations ran in {str(model.dtype).removeprefix('torch.')}: the costs of {check.heads}"
        f" heads again in float32 on {check.tokens} tokens differ by {check.mean:.1e} nats a token"
        f" on average and by at most {check.largest:.1e}",
    )


def _repeated(study: Study, settings: HeadsPart, layers: tuple[int, ...]) -> Arrays:
    """Scores on repeated random tokens, `[layer, sequence, head, metric]`."""
    model = study.model
    start = start_token(model, settings.corpus)
    first = [] if start is None else [start]
    room = (model.context_length - len(first)) // 2
    length = min(settings.repeat_tokens, room)
    tokens = random_repeats(study, settings, first, length)
    study.work.reporter.stage("repeated", tokens.numel(), "tokens")
    parts = []
    for group in tokens.split(settings.batch_contexts):
        attention = model.attention(group, layers)
        scores = [repeated(attention[layer].pattern, len(first), length) for layer in layers]
        parts.append(torch.stack(scores).cpu())
        study.work.reporter.advance(group.numel())
    return {"scores": torch.cat(parts, 1).numpy(), "length": np.array(length)}


def random_repeats(
    study: Study, settings: HeadsPart, first: list[int], length: int
) -> torch.Tensor:
    """`[sequence, pos]`: a start, then distinct random tokens, then the same ones again.

    Special tokens are not among them.
    """
    model = study.model
    special = set(model.tokenizer.all_special_ids)
    plain = torch.tensor([one for one in range(model.info.vocab_size) if one not in special])
    generator = torch.Generator().manual_seed(settings.seed)
    rows = []
    for _ in range(settings.sequences):
        picked = plain[torch.randperm(len(plain), generator=generator)[:length]]
        rows.append(torch.cat([torch.tensor(first, dtype=torch.long), picked, picked]))
    return torch.stack(rows)


def _weights(study: Study) -> tuple[Weights, tuple[str, ...]]:
    """Copying and composition, and what has to be said of them."""
    model = study.model
    try:
        model.check_attributable()
    except ModelError as error:
        return Weights({}, {}), (f"copying and composition are left out: {error.message}",)
    said: tuple[str, ...] = ()
    if model.is_rotary:
        said = (
            "rotary positions turn queries against keys: Q and K composition are given as for a"
            " source at distance 0, and change with distance",
        )
    study.work.reporter.stage("weights", model.info.n_layers, "layers")
    return Weights(study.keep("copying", lambda: _copying(study)),
                   study.keep("composition", lambda: _composition(study))), said  # fmt: skip


def _copying(study: Study) -> Arrays:
    model = study.model
    direct = model.direct_path()
    scores = [
        circuits.copying(model.circuit(layer), direct) for layer in range(model.info.n_layers)
    ]
    return {"copying": torch.stack(scores).cpu().numpy()}


def _composition(study: Study) -> Arrays:
    """Scores of every head with every head of later layers; columns as the table has them."""
    rows = list(_pairs(study))
    keys = np.concatenate([key for key, _ in rows]) if rows else np.zeros((0, 4), np.int64)
    scores = np.concatenate([score for _, score in rows]) if rows else np.zeros((0, 3), np.float32)
    return {"pairs": keys, "scores": scores}


def _pairs(study: Study) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each head: (layer, head, later layer, later head) rows, and their q, k, v scores."""
    model = study.model
    layers, heads = model.info.n_layers, model.info.n_heads
    folded = [model.circuit(layer) for layer in range(layers)]
    for layer in range(layers - 1):
        later = circuits.joined(folded[layer + 1 :])
        there = np.stack(np.divmod(np.arange(heads * (layers - layer - 1)), heads), 1)
        there[:, 0] += layer + 1
        for head in range(heads):
            scores = circuits.composition(folded[layer], head, later)
            here = np.broadcast_to([layer, head], there.shape)
            yield np.concatenate([here, there], 1), torch.stack(scores, 1).cpu().numpy()
        study.work.reporter.advance(1)
