"""What a model writes, read strictly; one chance to repair it."""

import math
import re
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest.label.client import Client, Failed
from ingest.label.journal import Reply
from ingest.label.manner import Ask
from ingest.label.prompts import prompt

_FENCE = re.compile(r"^```(?:json)?\s*\n(.*?)\n?```$", re.DOTALL)
SEEN = 0.5
"""Least probability that the ten digits must have together for a simulation to be read."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, str_strip_whitespace=True)


class Explanation(_Answer):
    """The three sides of a feature and its title, as a model explains it."""

    when: Annotated[str, Field(min_length=1, max_length=400)]
    fetches: Annotated[str, Field(min_length=1, max_length=400)]
    says: Annotated[str, Field(min_length=1, max_length=400)]
    title: Annotated[str, Field(min_length=1, max_length=120)]

    def told(self) -> str:
        """All of it, as a judge reads it."""
        return f"{self.title}\nwhen: {self.when}\nfetches: {self.fetches}\nsays: {self.says}"


class Verdict(_Answer):
    """Whether a feature fires in each passage."""

    fires: tuple[bool, ...]


A = TypeVar("A", bound=_Answer)


def schema_of(kind: type[_Answer], count: int | None = None) -> dict[str, object]:
    """JSON schema of an answer; `count` fixes how many passages it speaks of."""
    if kind is Verdict:
        of: dict[str, object] = {"type": "array", "items": {"type": "boolean"}}
        of |= {} if count is None else {"minItems": count, "maxItems": count}
        properties: dict[str, object] = {"fires": of}
    else:
        properties = {name: {"type": "string"} for name in kind.model_fields}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


async def read(client: Client, ask: Ask, kind: type[A], count: int | None = None) -> A:
    """The answer to a request as a value; asked once to write it anew where it cannot be read.

    Args:
        client: who is asked.
        ask: the request.
        kind: Explanation or Verdict.
        count: entries that a Verdict must have.

    Raises:
        Failed: it cannot be read, repaired or not; Spent, LabelError: as `Client.ask`.
    """
    reply = await client.ask(ask)
    try:
        return _parsed(reply.text, kind, count, ask)
    except ValueError as error:
        again = _repair(ask, reply, str(error))
    try:
        repaired = await client.ask(again)
        return _parsed(repaired.text, kind, count, ask)
    except ValueError as error:
        await client.forget(again)
        await client.forget(ask)
        raise Failed(f"cannot be read: {error}; it began {reply.text[:80]!r}") from error
    except Failed:
        await client.forget(ask)
        raise


def _repair(ask: Ask, reply: Reply, reason: str) -> Ask:
    asked = prompt("repair").messages(reason=reason)
    return ask._replace(messages=(*ask.messages, ("assistant", reply.text or "…"), *asked))


def _parsed(text: str, kind: type[A], count: int | None, ask: Ask) -> A:
    """Raises ValueError, saying in a line what is wrong."""
    text = text.strip()
    fenced = _FENCE.match(text)
    try:
        found = kind.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    if isinstance(found, Verdict) and count is not None and len(found.fires) != count:
        raise ValueError(f"{len(found.fires)} entries for {count} passages")
    # Small models give the example of the prompt back, which would pass for a label.
    if isinstance(found, Explanation) and f'"{found.title}"' in ask.messages[0][1]:
        raise ValueError("it repeats the prompt's own example and explains nothing")
    return found


def expected_digit(reply: Reply) -> float:
    """Mean of the digit that a model was about to write, weighed by its log-probabilities.

    Raises:
        Failed: there are none, they are no log-probabilities, or they are not about digits.
    """
    if not reply.first:
        raise Failed("the endpoint gives no log-probabilities")
    if any(not math.isfinite(one) or one > 1e-6 for _, one in reply.first):
        raise Failed("the endpoint's log-probabilities are none: one is above 0 or not finite")
    weights = [
        (int(text.strip()), math.exp(one))
        for text, one in reply.first
        if re.fullmatch("[0-9]", text.strip())
    ]
    seen = sum(weight for _, weight in weights)
    if seen < SEEN or seen > 1.01:
        raise Failed(f"the log-probabilities give digits {seen:.0%} of the weight")
    return sum(digit * weight for digit, weight in weights) / seen
