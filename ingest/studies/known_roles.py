"""Heads of GPT-2 small whose roles are published (PAPER.md section 10), looked for here.

A role is found where its heads rank high, among all heads of the model, by the measure that goes
with it. Ranks and values are given, so that a miss can be judged.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.lens.logits import head_logits
from atlas.model import LanguageModel
from atlas.model.probe import attended
from ingest.studies.attention import ON_REPEATED, repeated
from ingest.studies.ioi_effects import differences, put, read_z, reading
from ingest.studies.ioi_prompts import Family, Prompts, draws, join, prompts, unrelated
from ingest.studies.ioi_words import ORDERS, single_tokens
from ingest.studies.prefix_class import CLASSES, classify
from ingest.studies.prefix_synthetic import score, sequences

WITHIN = 0.1
"""A head is found among this share of all heads, by its measure."""
SEQUENCES = 24
PROMPTS = 12
"""Per order."""


class Role(NamedTuple):
    """A published role."""

    name: str
    heads: tuple[tuple[int, int], ...]
    measure: str
    reference: str


class Check(NamedTuple):
    """How one head stands by its role's measure."""

    role: Role
    layer: int
    head: int
    value: float
    rank: int
    """From 1."""
    of: int
    """Heads of the model."""

    @property
    def found(self) -> bool:
        return self.rank <= max(1, round(WITHIN * self.of))


def _heads(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (one.split(".") for one in text.split())
    return tuple((int(layer), int(head)) for layer, head in pairs)


_WANG, _KISSANE = "arXiv 2211.00593", "arXiv 2406.17759"
GPT2 = (
    Role("previous token", _heads("2.2 4.11"), "previous_token", _WANG),
    Role("duplicate token", _heads("0.1 0.10 3.0"), "duplicate_token", _WANG),
    Role("induction", _heads("5.5 5.8 5.9 6.9"), "induction", _WANG),
    Role("name mover", _heads("9.9 10.0 9.6"), "direct", _WANG),
    Role("negative name mover", _heads("10.7 11.10"), "against", _WANG),
    Role("S-inhibition", _heads("7.3 7.9 8.6 8.10"), "loss", _WANG),
    Role("long-prefix induction", _heads("5.1"), "long-prefix", _KISSANE),
    Role("short-prefix induction", _heads("5.5"), "short-prefix", _KISSANE),
)

Measured = Callable[[LanguageModel], Mapping[str, Tensor]]


def check(model: LanguageModel, roles: Sequence[Role] = GPT2) -> tuple[Check, ...]:
    """Rank every head of every role. Raises ModelError when the prompts cannot be built."""
    wanted = {role.measure for role in roles}
    values: dict[str, Tensor] = {}
    for names, measure in MEASURES:
        if wanted & set(names):
            values |= measure(model)
    return tuple(
        _placed(role, values[role.measure], *place) for role in roles for place in role.heads
    )


def _placed(role: Role, values: Tensor, layer: int, head: int) -> Check:
    own = values[layer, head]
    rank = 1 + int((values > own).sum())
    return Check(role, layer, head, float(own), rank, values.numel())


def on_repeated(model: LanguageModel) -> Mapping[str, Tensor]:
    """`[layer, head]` scores on random tokens repeated once, by metric."""
    start = 0 if model.info.bos_token is None else 1
    length = (min(101, model.context_length) - start) // 2
    draw, allowed = torch.Generator().manual_seed(0), model.ordinary_tokens()
    picked = torch.randint(len(allowed), (SEQUENCES, length), generator=draw)
    tokens = torch.cat([allowed[picked]] * 2, 1)
    if start:
        tokens = torch.cat([torch.full((SEQUENCES, 1), model.info.bos_token or 0), tokens], 1)
    layers = range(model.info.n_layers)
    found = []
    for some in tokens.split(8):
        seen = model.attention(some, layers)
        each = [repeated(seen[layer].pattern, start, length).cpu() for layer in layers]
        found.append(torch.stack(each, 1))
    scores = torch.cat(found).mean(0)
    return {name: scores[..., place] for place, name in enumerate(ON_REPEATED)}


def on_names(model: LanguageModel) -> Mapping[str, Tensor]:
    """`[layer, head]` on indirect-object prompts without a start token, as the paper runs them.

    direct: what the head gives to the answer's logit against the other name's; against: the
    reverse; loss: how much the difference falls when the head's z comes from a third name's run.
    """
    words = single_tokens(model.tokenise)
    chosen = draws(PROMPTS, words, 0)
    word = next(iter(words.conjunctions))
    both = join(
        [prompts(chosen, Family(order, word), words, model.tokenise, None) for order in ORDERS]
    )
    direct = _direct(model, both)
    third = unrelated(both, [*chosen, *chosen], words)
    return {"direct": direct, "against": -direct, "loss": _loss(model, both, third)}


def _direct(model: LanguageModel, both: Prompts) -> Tensor:
    layers, rows = range(model.info.n_layers), torch.arange(len(both.tokens))
    seen, end = attended(model, both.tokens, layers), both.at["end"]
    direction, _ = reading(model, both)
    read = model.final_norm.pull(direction, seen.final_scale[rows, end])
    given = [
        head_logits(
            seen.layers[n].z[rows, end], model.layer(n), seen.post_scale[n][rows, end], read
        ).mean(0)
        for n in layers
    ]
    return torch.stack(given).cpu()


def _loss(model: LanguageModel, both: Prompts, third: Tensor) -> Tensor:
    layers, heads = range(model.info.n_layers), range(model.info.n_heads)
    other = read_z(model, third, layers, len(third)).layers
    cases = [(n, head) for n in layers for head in heads]
    found = differences(
        model,
        both,
        lambda rows: [{}, *({n: put(other[n][rows][:, :, h], None, h)} for n, h in cases)],
        len(both.tokens),
    )
    return (found[0] - found[1:]).mean(1).view(len(layers), len(heads))


def on_prefixes(model: LanguageModel) -> Mapping[str, Tensor]:
    """`[layer, head]`: the induction score of heads of each class by prefix, 0 for the others."""
    draw, layers = torch.Generator().manual_seed(0), range(model.info.n_layers)
    allowed, context = model.ordinary_tokens(), min(128, model.context_length)
    scores = {
        length: score(
            model,
            sequences(SEQUENCES, length, context, allowed, model.info.bos_token, draw),
            layers,
            8,
        ).attention
        for length in (1, 5, 9)
    }
    classed = classify(scores, draw)
    return {
        name: torch.where(classed.kind == place, classed.long.value, 0.0)
        for place, name in enumerate(CLASSES)
    }


MEASURES: tuple[tuple[tuple[str, ...], Measured], ...] = (
    (ON_REPEATED, on_repeated),
    (("direct", "against", "loss"), on_names),
    (CLASSES, on_prefixes),
)
"""Names of measures and what makes them."""
