"""Indirect-object identification (PAPER.md section 9): is it done, and what carries it."""

from collections.abc import Sequence

import torch

from atlas.errors import ConfigError
from ingest.studies import ioi_effects as effects
from ingest.studies import ioi_tables as tables
from ingest.studies.ioi_ablate import (
    IoiSettings,
    Spelling,
    ablate_features,
    ablate_heads,
    ablate_layers,
    batch_of,
    lay_ground,
)
from ingest.studies.ioi_circuit import circuit
from ingest.studies.ioi_effects import Behaviour, Read
from ingest.studies.ioi_noise import Patch, corruptions, patches
from ingest.studies.ioi_prompts import (
    Draw,
    Family,
    Prompts,
    draws,
)
from ingest.studies.ioi_words import ORDERS, single_tokens
from ingest.studies.prefix_tables import Key
from ingest.studies.study import Arrays, Findings, Study


def ioi(study: Study, settings: IoiSettings) -> Findings:
    """Behaviour first, then heads, features and the noising test.

    Raises:
        ConfigError: there are not more prompts than the ablations take.
        ModelError: the tokenizer has too few names as single tokens.
    """
    if settings.prompts <= max(settings.tested, settings.head_prompts):
        raise ConfigError(
            f"prompts = {settings.prompts} leaves none for the noising test",
            f"it must exceed tested = {settings.tested} and head_prompts = {settings.head_prompts}",
        )
    model, draw = study.model, torch.Generator().manual_seed(settings.seed)
    words = single_tokens(model.tokenise)
    bos = model.info.bos_token if settings.corpus.bos == "model" else None
    spelled = Spelling(study, words, bos)
    chosen = draws(settings.prompts, words, settings.seed)
    key = Key(model.info.id, study.work.run)
    families = _behaviour(study, settings, spelled, chosen)
    ground = lay_ground(study, settings, spelled, chosen[: settings.tested])
    few = lay_ground(study, settings, spelled, chosen[: settings.head_prompts])
    heads = ablate_heads(study, settings, few)
    layers = ablate_layers(study, settings, ground)
    noised = settings.noise_layers or layers.costliest()
    fresh = chosen[max(settings.tested, settings.head_prompts) :][: settings.noise_prompts]
    starts = (False,) if bos is None else (True, False)
    patched = {start: _noise(study, settings, spelled, fresh, noised, start) for start in starts}
    features = [one for sae in study.saes for one in ablate_features(study, settings, ground, sae)]
    behaved = tables.families(key, families, draw)
    return Findings(
        {
            "ioi_family": behaved,
            "ioi_head": tables.heads(key, heads, few.names, draw),
            "ioi_part": tables.parts(key, layers.tested, ground.names, draw),
            "ioi_feature": tables.features(key, features, ground.names, draw),
            "ioi_noise": tables.noise(key, patched, noised, draw),
            "ioi_circuit": circuit(key, study, ground, heads, draw),
        },
        {
            "families": len(families),
            "families in which the model does the task": sum(behaved["does"]),
            "prompts per family": settings.prompts,
            **{f"{name} of one token": len(own) for name, own in words._asdict().items()},
            "prompts of the feature ablations": len(ground.names),
            "prompts of the head ablations": len(few.names),
            "prompts of the noising test": len(patched[starts[0]].names),
        },
    )


def _behaviour(
    study: Study, settings: IoiSettings, spelled: Spelling, chosen: Sequence[Draw]
) -> list[tables.Behaved]:
    """Every order and conjunction, with the start token and without."""
    starts = (False,) if spelled.bos is None else (True, False)
    wanted = [
        (Family(order, conjunction), bos)
        for bos in starts
        for conjunction in spelled.words.conjunctions
        for order in ORDERS
    ]
    study.work.reporter.stage("behaviour", len(wanted), "families")
    found = []
    for number, (family, bos) in enumerate(wanted):

        def made(family: Family = family, bos: bool = bos) -> Arrays:
            one = effects.behaviour(study.model, spelled(chosen, family, bos), batch_of(settings))
            return {"difference": one.difference.numpy(), "top": one.top.numpy()}

        kept = study.keep(f"behaviour-{number}", made)
        one = Behaviour(torch.from_numpy(kept["difference"]), torch.from_numpy(kept["top"]))
        found.append(tables.Behaved(family, bos, one))
        study.work.reporter.advance(1)
    return found


def _noise(
    study: Study,
    settings: IoiSettings,
    spelled: Spelling,
    chosen: Sequence[Draw],
    layers: Sequence[int],
    start: bool,
) -> tables.Noised:
    """The noising test on prompts that did not choose its layers, with the start token or not."""
    bos = spelled.bos if start else None
    cases = corruptions(chosen, spelled.words, study.model.tokenise, bos, settings.seed)
    study.work.reporter.stage("noising", len(cases), "corruptions")
    batch = batch_of(settings)
    clean = cases[0].prompts

    def made() -> Arrays:
        def read(one: Prompts) -> Read:
            return effects.read_z(study.model, one.tokens, layers, batch)

        own = read(clean)
        patched: list[Patch] = patches(clean, own, cases[1:], read, layers)
        found = effects.differences(
            study.model,
            clean,
            lambda rows: [{}, *(patch(rows) for patch in patched)],
            batch,
            study.work.reporter.advance,
        )
        return {"difference": found.numpy()}

    name = "noising" if start else "noising-without-start"
    found = torch.from_numpy(study.keep(name, made)["difference"])
    names = torch.arange(len(ORDERS)).repeat_interleave(len(chosen))
    labels = ["clean", "zero", "mean", *(case.name for case in cases[1:])]
    return tables.Noised(names, dict(zip(labels, found, strict=True)))
