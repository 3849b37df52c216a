"""Ablations on indirect-object prompts: every head, whole layers, and features, place by place."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.ids import SaeId
from atlas.lens.dfa import head_dfa
from atlas.lens.sae import encode
from atlas.model import Edits
from ingest.config import Count, StudyPart
from ingest.studies import ioi_effects as effects
from ingest.studies import ioi_tables as tables
from ingest.studies.ioi_effects import HOWS, How, Read, other_values, put
from ingest.studies.ioi_prompts import (
    PLACES,
    Draw,
    Family,
    Prompts,
    join,
    prompts,
    renamed,
    unrelated,
)
from ingest.studies.ioi_words import ORDERS, Words
from ingest.studies.study import Arrays, Study

SPELLED = 8
"""Prompts are this much shorter than contexts of text: so many more go into one pass."""
AFTER = ("S2", "end")
"""Places that a third name at S2 reaches; elsewhere both names are replaced instead."""


class IoiSettings(StudyPart):
    """Settings of the study of indirect-object identification."""

    prompts: Count = 100
    """Prompts per family."""
    tested: Count = 32
    """Prompts per order for ablations of features and layers; `prompts` must exceed it."""
    head_prompts: Count = 16
    """Prompts per order for ablations of heads."""
    features: Count = 5
    """Features per SAE and place that are ablated exactly, picked by a first-order estimate."""
    heads: Count = 12
    """Heads that are patched place by place."""
    noise_layers: tuple[int, ...] = ()
    """Layers of the noising test; none for the two whose patching at S2 costs most."""


class Ground(NamedTuple):
    """Prompts of both orders that are edited, with what stands in for their z."""

    prompts: Prompts
    names: Tensor  # [n], index into ORDERS
    own: Read
    third: Read  # of the same prompts with a third name at S2
    renamed: Read  # of the same prompts with two other names

    def elsewhere(self, place: str) -> Read:
        """Where resampled values of a place come from."""
        return self.third if place in AFTER else self.renamed


class Spelling(NamedTuple):
    """How draws become prompts of the model at hand."""

    study: Study
    words: Words
    bos: int | None

    def __call__(self, chosen: Sequence[Draw], family: Family, bos: bool | None = None) -> Prompts:
        start = self.bos if bos is None or bos else None
        return prompts(chosen, family, self.words, self.study.model.tokenise, start)


def batch_of(settings: IoiSettings) -> int:
    """Prompts per forward pass."""
    return settings.batch_contexts * SPELLED


def lay_ground(
    study: Study, settings: IoiSettings, spelled: Spelling, chosen: Sequence[Draw]
) -> Ground:
    """The prompts of the first conjunction in both orders, read clean and corrupted."""
    conjunction = next(iter(spelled.words.conjunctions))
    families = [Family(order, conjunction) for order in ORDERS]
    both = join([spelled(chosen, family) for family in families])
    others = join([spelled(renamed(chosen, spelled.words, settings.seed), f) for f in families])
    third = unrelated(both, [*chosen, *chosen], spelled.words)
    layers, batch = range(study.info.n_layers), batch_of(settings)
    own, threes, twos = (
        effects.read_z(study.model, tokens, layers, batch)
        for tokens in (both.tokens, third, others.tokens)
    )
    names = torch.arange(len(ORDERS)).repeat_interleave(len(chosen))
    return Ground(both, names, own, threes, twos)


Edit = Callable[[slice], Edits]
"""The edit of a slice of the prompts."""


def _effects(
    study: Study, settings: IoiSettings, ground: Ground, stage: str, edits: Sequence[Edit]
) -> Tensor:
    """`[edit, n]`: change of the difference of logits; made once."""

    def made() -> Arrays:
        batch = batch_of(settings)
        passes = (len(edits) + 1) * -(-len(ground.names) // batch)
        study.work.reporter.stage(stage, passes, "passes")
        found = effects.differences(
            study.model,
            ground.prompts,
            lambda rows: [{}, *(edit(rows) for edit in edits)],
            batch,
            study.work.reporter.advance,
        )
        return {"change": (found[1:] - found[0]).numpy()}

    return torch.from_numpy(study.keep(stage.replace(" ", "-").replace("/", "-"), made)["change"])


def ablate_heads(study: Study, settings: IoiSettings, ground: Ground) -> list[tables.HeadTested]:
    """Every head at all positions in three ways, then the strongest place by place."""
    found, n_heads = [], study.info.n_heads
    for layer in range(study.info.n_layers):
        cases = [(head, how) for head in range(n_heads) for how in HOWS]
        edits = [_head_edit(ground, layer, head, how) for head, how in cases]
        change = _effects(study, settings, ground, f"heads of layer {layer}", edits)
        found += [
            tables.HeadTested(layer, head, how, "all", row)
            for (head, how), row in zip(cases, change, strict=True)
        ]
    ranked = sorted(
        (one for one in found if one.how == "resample"),
        key=lambda one: -abs(float(one.change.mean())),
    )
    strongest = [(one.layer, one.head) for one in ranked[: settings.heads]]
    placed = [(layer, head, place) for layer, head in strongest for place in AFTER]
    edits = [_head_edit(ground, *case[:2], "resample", case[2]) for case in placed]
    change = _effects(study, settings, ground, "heads by place", edits)
    return found + [
        tables.HeadTested(layer, head, "resample", place, row)
        for (layer, head, place), row in zip(placed, change, strict=True)
    ]


def _head_edit(ground: Ground, layer: int, head: int, how: How, place: str = "all") -> Edit:
    """Ablates a head: mean over prompts and positions, resample from the third name's run."""
    own, other = (one.layers[layer][:, :, head] for one in (ground.own, ground.third))
    if how == "resample":
        new = other
    else:
        mean = own[ground.prompts.text].mean(0)
        new = (mean if how == "mean" else torch.zeros_like(mean)).expand_as(own)
    if place == "all":
        return lambda rows: {layer: put(new[rows], None, head)}
    at = ground.prompts.at[place]
    return lambda rows: {layer: put(new[torch.arange(len(at)), at][rows], at[rows], head)}


class Layers(NamedTuple):
    """What whole layers' attention carries at a place."""

    tested: list[tables.PartTested]

    def costliest(self) -> tuple[int, ...]:
        """The two layers whose patching at S2 lowers the difference most."""
        costs = {
            one.layer: float(one.change.mean())
            for one in self.tested
            if (one.place, one.part, one.how) == ("S2", "attention", "resample")
        }
        return tuple(sorted(sorted(costs, key=costs.__getitem__)[:2]))


def ablate_layers(study: Study, settings: IoiSettings, ground: Ground) -> Layers:
    """All of a layer's z at a place, in three ways; and the error of its SAE."""
    found = []
    for place in PLACES:
        wanted = range(study.info.n_layers) if place in AFTER else [n.layer for n in study.saes]
        cases = [(layer, how) for layer in wanted for how in HOWS if _tells(place, how)]
        edits = [_layer_edit(ground, layer, how, place) for layer, how in cases]
        change = _effects(study, settings, ground, f"layers at {place}", edits)
        found += [
            tables.PartTested(layer, None, place, "attention", how, row)
            for (layer, how), row in zip(cases, change, strict=True)
        ]
        edits = [_error_edit(study, ground, name, place) for name in study.saes]
        if edits:
            change = _effects(study, settings, ground, f"errors at {place}", edits)
            found += [
                tables.PartTested(name.layer, name, place, "error", "zero", row)
                for name, row in zip(study.saes, change, strict=True)
            ]
    return Layers(found)


def _tells(place: str, how: How) -> bool:
    """All ways at S2 and at the end would triple the longest part: resample finds the layers."""
    return how == "resample" or place not in AFTER


def _layer_edit(ground: Ground, layer: int, how: How, place: str) -> Edit:
    at = ground.prompts.at[place]
    new = other_values(ground.own.at(layer, at), how, ground.elsewhere(place).at(layer, at))
    return lambda rows: {layer: put(new[rows], at[rows])}


def _error_edit(study: Study, ground: Ground, name: SaeId, place: str) -> Edit:
    at, sae = ground.prompts.at[place], study.sae(name).to("cpu")
    step = effects.error_step(sae, ground.own.at(name.layer, at).flatten(1).float())
    return lambda rows: {name.layer: effects.move(step[rows], at[rows])}


def ablate_features(
    study: Study, settings: IoiSettings, ground: Ground, name: SaeId
) -> list[tables.FeatureTested]:
    """The features of one SAE that matter most at each place, the SAE's error kept."""
    sae, layer = study.sae(name).to("cpu"), name.layer
    gradient = effects.gradients(study.model, ground.prompts, [layer], batch_of(settings))[layer]
    found = []
    for place in PLACES:
        at = ground.prompts.at[place]
        rows = torch.arange(len(at))
        z = ground.own.at(layer, at).float()
        slope = gradient[rows, at].flatten(1).float()
        screened = effects.screen(sae, z.flatten(1), slope, ground.names, settings.features)
        other = encode(sae, ground.elsewhere(place).at(layer, at).flatten(1).float())
        cases, edits = [], []
        for place_in, feature in enumerate(screened.features.tolist()):
            acts = screened.acts[:, place_in]
            share = head_dfa(z, sae.w_enc[feature].expand(len(z), -1)).mean(0)
            for how in HOWS:
                new = other_values(acts, how, other[:, feature])
                step = effects.feature_step(sae, feature, acts, new)
                cases.append((feature, how, acts, share, float(screened.estimate[place_in])))
                edits.append(_moved(layer, step, at))
        change = _effects(study, settings, ground, f"{name} at {place}", edits)
        found += [
            tables.FeatureTested(name, feature, place, how, acts > 0, share, estimate, row)
            for (feature, how, acts, share, estimate), row in zip(cases, change, strict=True)
        ]
    return found


def _moved(layer: int, step: Tensor, at: Tensor) -> Edit:
    return lambda rows: {layer: effects.move(step[rows], at[rows])}
