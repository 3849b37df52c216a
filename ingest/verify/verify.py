"""Recompute randomly chosen rows of a snapshot and tell which differ."""

from collections.abc import Callable, Iterator
from functools import cache, partial

from atlas.api import Atlas
from atlas.errors import ModelError, NotFound
from atlas.lens.sae import Sae, load
from atlas.model import LanguageModel, fingerprint
from atlas.model import load as load_model
from atlas.store import sample
from atlas.types import Model, Run
from atlas.types import Sae as SaeRow
from atlas.verification import Checked
from ingest.verify import rows as per_row
from ingest.verify.compare import Value, check
from ingest.verify.rows import Parts
from ingest.verify.whole import (
    TOKENS,
    Unable,
    count_values,
    evaluation_values,
    open_whole,
)

KIND = "atlas"
"""Kind of the runs whose rows follow from a model and weights; the others were brought in."""


def verify(
    atlas: Atlas, rows: int = 50, seed: int = 0, device: str = "auto", largest: int = TOKENS
) -> Iterator[Checked]:
    """Check a snapshot, one kind of check after another.

    Args:
        atlas: what is checked; the snapshot that answers now.
        rows: examples, features and neighbour pairs that are drawn, of each model.
        seed: which ones.
        device: where the model runs, as `atlas.model.load` takes it.
        largest: tokens beyond which a text is not gone through again.

    Raises:
        NotFound: nothing in the atlas was made by an ingest job.
        ModelError: a model cannot be loaded, or is not the one that was mined.
    """
    held = atlas.at()
    runs = {run.id: run for run in held.runs() if run.kind == KIND}
    known = [sae for sae in held.saes() if sae.run in runs]
    if not known:
        raise NotFound("no SAE of this atlas was made by `atlas ingest`", "there is none to verify")
    for name in sorted({sae.id.model for sae in known}):
        some = [sae for sae in known if sae.id.model == name]
        yield from _of_model(held, held.model(name), some, runs, rows, seed, device, largest)


def _of_model(
    atlas: Atlas,
    info: Model,
    known: list[SaeRow],
    runs: dict[str, Run],
    rows: int,
    seed: int,
    device: str,
    largest: int,
) -> Iterator[Checked]:
    loaded = cache(partial(_load, info, device))
    model = loaded("float32")
    weights = {str(sae.id): load(atlas.weights(sae.id), str(sae.id), model.device) for sae in known}
    names = list(weights)
    skips = {str(sae.id): _skipped(runs[sae.run]) for sae in known}
    parts = Parts(model, weights, skips)
    features = sample.features(atlas.evidence, names, rows, seed)
    drawn: list[tuple[Callable[[Parts, sample.Rows], Iterator[tuple[str, Value]]], sample.Rows]] = [
        (per_row.example_values, sample.examples(atlas.evidence, names, rows, seed)),
        (per_row.feature_values, features),
        (per_row.neighbour_values, sample.neighbours(atlas.evidence, names, rows, seed)),
    ]
    for values_of, some in drawn:
        kinds: dict[str, list[Value]] = {}
        for kind, value in values_of(parts, some):
            kinds.setdefault(kind, []).append(value)
        for kind, values in kinds.items():
            yield check(kind, values)
    for run in sorted({sae.run for sae in known}):
        mine = [sae for sae in known if sae.run == run]
        yield from _whole(runs[run], mine, weights, loaded, features, largest)


def _load(info: Model, device: str, dtype: str) -> LanguageModel:
    loaded = load_model(info.name, id=info.id, device=device, dtype=dtype)
    if fingerprint(loaded.bridge.original_model) != info.weights_sha256:
        raise ModelError(
            f"model {info.name} on this machine has other weights than those that were mined",
            "put the weights back that the run used; `atlas show MODEL` has their fingerprint",
        )
    return loaded


def _skipped(run: Run) -> int:
    """Leading positions that a run left out."""
    skipped: int = run.config.get("positions", {}).get("skip_first", 1)
    return skipped


def _whole(
    run: Run,
    known: list[SaeRow],
    weights: dict[str, Sae],
    loaded: Callable[[str], LanguageModel],
    features: sample.Rows,
    largest: int,
) -> Iterator[Checked]:
    """What takes all the run's text."""
    try:
        whole = open_whole(run, known, weights, loaded, largest)
    except Unable as reason:
        for what in ("evaluation", "counts"):
            yield Checked(what, 0, 0, 0.0, (), str(reason))
        return
    own = {str(sae.id) for sae in known}
    yield check("counts", count_values(whole, [f for f in features if f["sae_id"] in own]))
    yield check("evaluation", evaluation_values(whole, known))
