"""What a labelling run would take: calls, tokens, money and time, without asking for anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from atlas.api import Atlas
from atlas.ids import FeatureId
from atlas.types import Sae
from ingest.label import explain
from ingest.label.client import Failed
from ingest.label.count import TokenCounter
from ingest.label.job import Source
from ingest.label.manner import Ask
from ingest.label.places import Split
from ingest.label.score import items, requests
from ingest.label.settings import Choice, Settings

SAMPLE = 50
"""Features whose requests are made up and counted; the others are taken to be like them."""
LABEL = "a title of eight words or so about it\n" + "\n".join(
    f"{side}: a sentence of twenty words that says on which tokens or from which ones or what"
    for side in ("when", "fetches", "says")
)
"""Stands for the label, which is not written yet, in the requests that judge it."""
WRITTEN = {"explain": 110, "simulation": 1}
"""Tokens that an answer usually takes; a verdict takes VERDICT a passage."""
VERDICT = 3
FORM = 12
"""Tokens of the JSON around a verdict."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An estimate; tokens read are counted on the high side, tokens written are usual figures."""

    model: str
    features: int
    counted: int
    """Features whose requests were counted."""
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    """None where prices were not given."""
    seconds: float
    """At `seconds_per_call` and the endpoint's concurrency."""
    seconds_per_call: float


def make_plan(
    atlas: Atlas,
    settings: Settings,
    saes: Sequence[Sae],
    features: Sequence[FeatureId],
    seconds_per_call: float,
    total: int | None = None,
) -> Plan:
    """Estimate a run from the requests of SAMPLE of its features, spread over the order.

    Args:
        atlas: where evidence is read.
        settings: without an endpoint nothing is asked and nothing costs.
        saes: of the run.
        features: to be labelled.
        seconds_per_call: how long an answer takes.
        total: features to reckon with; by default as many as are given.
    """
    if settings.endpoint is None:
        return Plan("the labels' own rules", len(features), 0, 0, 0, 0, 0.0, 0.0, 0.0)
    source = Source(atlas, saes, settings)
    counter = TokenCounter(source.atlas.vocab(saes[0].id.model))
    sample = features[:: max(1, len(features) // SAMPLE)][:SAMPLE]
    found = [_of_feature(source, name, settings.choice, counter) for name in sample]
    total = len(features) if total is None else total
    calls, tokens_in, tokens_out = (
        round(sum(part) / len(sample) * total) for part in zip(*found, strict=True)
    )
    budget = settings.budget
    usd = None
    if budget.price_in is not None and budget.price_out is not None:
        usd = (tokens_in * budget.price_in + tokens_out * budget.price_out) / 1e6
    seconds = calls * seconds_per_call / settings.endpoint.concurrency
    return Plan(
        settings.endpoint.model,
        total,
        len(sample),
        calls,
        tokens_in,
        tokens_out,
        usd,
        seconds,
        seconds_per_call,
    )


def _of_feature(
    source: Source, name: FeatureId, choice: Choice, counter: TokenCounter
) -> tuple[int, int, int]:
    """Calls, tokens read and tokens written of one feature."""
    feature, places = source.read(name)
    try:
        asks = [(explain.request(feature, places, choice, counter), WRITTEN["explain"])]
    except Failed:
        return 0, 0, 0
    asks += _judging(places, choice)
    tokens_in = sum(counter.messages(ask.messages) for ask, _ in asks)
    return len(asks), tokens_in, sum(written for _, written in asks)


def _judging(places: Split, choice: Choice) -> list[tuple[Ask, int]]:
    return [
        (ask, WRITTEN.get(scorer, FORM + VERDICT * size))
        for scorer in choice.scorers
        for ask, size in requests(scorer, LABEL, items(scorer, places), choice)
    ]
