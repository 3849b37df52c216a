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
    heads: Count = 40
    """Heads that are ablated exactly, picked by a first-order estimate of resampling them."""
    placed: Count = 12
    """Heads that are patched place by place, picked by their exact effect."""
    noise_prompts: Count = 40
    """Prompts per order of the noising test, others than those of the ablations."""
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
    """A first-order estimate for every head, exact ablations of the strongest, then by place."""
    estimated = _estimates(study, settings, ground)
    strong = _strongest(estimated, settings.heads)
    found = [tables.HeadTested(*one, "estimate", "all", estimated[one]) for one in estimated]
    for layer in sorted({layer for layer, _ in strong}):
        heads = sorted(head for own, head in strong if own == layer)
        cases = [(head, how) for head in heads for how in HOWS]
        edits = [_head_edit(ground, layer, head, how) for head, how in cases]
        change = _effects(study, settings, ground, f"heads of layer {layer}", edits)
        found += [
            tables.HeadTested(layer, head, how, "all", row)
            for (head, how), row in zip(cases, change, strict=True)
        ]
    exact = {(one.layer, one.head): one.change for one in found if one.how == "resample"}
    placed = [(*one, place) for one in _strongest(exact, settings.placed) for place in AFTER]
    edits = [_head_edit(ground, layer, head, "resample", place) for layer, head, place in placed]
    change = _effects(study, settings, ground, "heads by place", edits)
    return found + [
        tables.HeadTested(layer, head, "resample", place, row)
        for (layer, head, place), row in zip(placed, change, strict=True)
    ]


def _estimates(
    study: Study, settings: IoiSettings, ground: Ground
) -> dict[tuple[int, int], Tensor]:
    """Every head to `[n]`: gradient times what resampling its z at all positions would move."""

    def made() -> Arrays:
        layers = range(study.info.n_layers)
        slope = effects.gradients(study.model, ground.prompts, layers, batch_of(settings))
        each = [
            (slope[n] * (ground.third.layers[n] - ground.own.layers[n])).float().sum((1, 3))
            for n in layers
        ]
        return {"change": torch.stack(each, 1).numpy()}  # [n, layer, head]

    change = torch.from_numpy(study.keep("estimates-of-heads", made)["change"])
    _, layers, heads = change.shape
    return {(n, head): change[:, n, head] for n in range(layers) for head in range(heads)}


def _strongest(found: dict[tuple[int, int], Tensor], most: int) -> list[tuple[int, int]]:
    return sorted(found, key=lambda one: -abs(float(found[one].mean())))[:most]


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
