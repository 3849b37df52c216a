"""The request that has a feature explained: firings with their sources, counterexamples, logits."""

from atlas.types import Feature
from ingest.label import passages
from ingest.label.client import Ask
from ingest.label.count import TokenCounter
from ingest.label.places import Split
from ingest.label.prompts import prompt
from ingest.label.replies import Explanation, schema_of
from ingest.label.settings import Choice

LONGEST = 300
"""Tokens that an explanation may take."""
METHOD = "llm"


def version() -> str:
    """Version of the prompt, under which labels are stored."""
    return prompt("explain").version


def request(feature: Feature, split: Split, choice: Choice, counter: TokenCounter) -> Ask:
    """What is asked about a feature; passages take at most `choice.shown_tokens` by count."""
    firings = [
        f"{passages.explained(one, choice.before, choice.after)} {passages.strength(one, feature)}"
        for one in split.shown
    ]
    kept, left = passages.examples_within(firings, counter, choice.shown_tokens)
    misses = [passages.marked(one, choice.before, choice.after) for one in split.counter]
    against, _ = passages.examples_within(misses, counter, left)
    messages = prompt("explain").messages(
        examples=passages.numbered(kept),
        counterexamples=passages.numbered(against) or "none are known",
        heads=passages.heads(feature),
        raised=passages.effects([one.text for one in feature.top_logits]),
        lowered=passages.effects([one.text for one in feature.bottom_logits]),
    )
    return Ask(messages, LONGEST, schema_of(Explanation))
