"""The heads that carry indirect-object identification, each with the features it speaks through.

For the heads that were patched place by place: what patching them costs there, and, where their
layer has an SAE, the features to which they give most DFA at that place.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.ids import SaeId
from atlas.lens.sae import Sae, encode
from ingest.studies.bootstrap import mean
from ingest.studies.ioi_ablate import AFTER, Ground
from ingest.studies.ioi_tables import HeadTested
from ingest.studies.prefix_tables import Columns, Key, Row, columns, figures
from ingest.studies.study import Study
from ingest.studies.titles import titles

FEATURES = 5
"""Features listed per head and place."""


class Given(NamedTuple):
    """What the heads of a layer give to the features of its SAE at one place."""

    dfa: Tensor  # [head, feature], mean over prompts, nothing where a feature is silent
    share: Tensor  # [head, feature], of the mean |DFA| of all heads
    fired: Tensor  # [feature], share of prompts


def given(sae: Sae, z: Tensor) -> Given:
    """DFA by head of all features, `[n, head, d_head]` z at the place."""
    fires = encode(sae, z.flatten(1)) > 0
    rows = sae.w_enc.view(len(sae.w_enc), *z.shape[1:])
    dfa = torch.stack([z[:, head] @ rows[:, head].T * fires for head in range(z.shape[1])])
    size = dfa.abs().mean(1)
    share = size / size.sum(0).clamp(min=1e-30)
    return Given(dfa.mean(1), share, fires.float().mean(0))


def circuit(
    key: Key, study: Study, ground: Ground, tested: Sequence[HeadTested], draw: torch.Generator
) -> Columns:
    """One row per head, place and feature; a single row without a feature where no SAE is."""
    rows = sorted(_rows(study, ground, tested, draw), key=lambda row: -abs(row["value"]))
    shown = ("layer", "head", "place", "value", "low", "high", "n", "rank", "sae_id", "feature")
    return columns(key, rows, *shown, "title", "fired", "dfa", "head_share")


def _rows(
    study: Study, ground: Ground, tested: Sequence[HeadTested], draw: torch.Generator
) -> Iterator[Row]:
    by_layer: dict[int, list[SaeId]] = {}
    for name in study.saes:
        by_layer.setdefault(name.layer, []).append(name)
    known = {name: (study.sae(name).to("cpu"), titles(study, name)) for name in study.saes}
    for one in tested:
        if one.place not in AFTER:
            continue
        row = {"layer": one.layer, "head": one.head, "place": one.place}
        row |= figures(mean(one.change, draw))
        here = ground.own.at(one.layer, ground.prompts.at[one.place]).float()
        for name in by_layer.get(one.layer, ()):
            sae, words = known[name]
            yield from (row | own for own in _features(name, sae, words, here, one.head))
        if one.layer not in by_layer:
            yield row | dict.fromkeys(_OF_FEATURE)


_OF_FEATURE = ("rank", "sae_id", "feature", "title", "fired", "dfa", "head_share")


def _features(
    name: SaeId, sae: Sae, words: dict[int, str], here: Tensor, head: int
) -> Iterator[Row]:
    found = given(sae, here)
    best = found.dfa[head].topk(FEATURES)
    for rank, (dfa, feature) in enumerate(zip(*(part.tolist() for part in best), strict=True)):
        if dfa <= 0:
            return
        yield {
            "rank": rank,
            "sae_id": str(name),
            "feature": feature,
            "title": words.get(feature),
            "fired": float(found.fired[feature]),
            "dfa": dfa,
            "head_share": float(found.share[head, feature]),
        }
