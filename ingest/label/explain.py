"""The request that has a feature explained: firings with their sources, counterexamples, logits."""

from atlas.types import Feature
from ingest.label import passages
from ingest.label.client import Failed
from ingest.label.count import TokenCounter
from ingest.label.manner import Ask
from ingest.label.places import Split
from ingest.label.prompts import prompt
from ingest.label.replies import Explanation, schema_of
from ingest.label.settings import Choice

LONGEST = 300
"""Tokens that an explanation may take."""
METHOD = "llm"
FEW = 4
"""Firings that an explainer is to see at least."""
PARTS = (1.0, 0.5, 0.25)
"""Parts of the usual text around a place that are tried."""


def version() -> str:
    """Version of the prompt, under which labels are stored."""
    return prompt("explain").version


def request(feature: Feature, split: Split, choice: Choice, counter: TokenCounter) -> Ask:
    """What is asked about a feature; passages take at most `choice.shown_tokens` by count.

    They are shortened where fewer than FEW firings would fit.

    Raises:
        Failed: it has no firing to show, or not one fits.
    """
    if not split.shown:
        raise Failed("it has no firing to explain it by")
    for part in PARTS:
        before, after = round(choice.before * part), round(choice.after * part)
        firings = [
            f"{passages.explained(one, before, after)} {passages.strength(one, feature)}"
            for one in split.shown
        ]
        kept, left = passages.examples_within(firings, counter, choice.shown_tokens)
        if len(kept) >= min(FEW, len(firings)):
            break
    if not kept:
        raise Failed(f"no example of it fits into {choice.shown_tokens} tokens")
    misses = [passages.marked(one, before, after) for one in split.counter]
    against, _ = passages.examples_within(misses, counter, left)
    messages = prompt("explain").messages(
        examples=passages.numbered(kept),
        counterexamples=passages.numbered(against) or "none are known",
        heads=passages.heads(feature),
        raised=passages.effects([one.text for one in feature.top_logits]),
        lowered=passages.effects([one.text for one in feature.bottom_logits]),
    )
    return Ask(messages, LONGEST, schema_of(Explanation))
