"""Every setting of a labelling run, declared once."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atlas.embed import checked_url, key_for
from atlas.errors import ConfigError

Scorer = Literal["detection", "fuzzing", "simulation"]
Count = Annotated[int, Field(gt=0)]
Price = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Choice(_Part):
    """What is shown and asked; part of a run's name, because other choices give other labels."""

    scorers: tuple[Scorer, ...] = ("detection", "fuzzing")
    """Scores that a label gets. Simulation takes a call per passage and log-probabilities."""
    shown: Count = 10
    """Most firings shown to the explainer: half the strongest, half spread over the rest."""
    counter: Count = 4
    """Most near misses shown to it."""
    shown_tokens: Count = 1500
    """Tokens that these passages may take in all, counted before the call."""
    firings: Count = 12
    """Most firings that a scorer asks about, and as many silent places."""
    batch: Count = 8
    """Passages per scoring request."""
    before: Count = 40
    """Tokens of text before the place in question."""
    after: Annotated[int, Field(ge=0)] = 8
    """Tokens after it, where the reader may see them."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0


class Budget(_Part):
    """Where a run stops, all its tries together; None is no limit."""

    tokens: Count | None = None
    usd: Annotated[float, Field(gt=0)] | None = None
    price_in: Price | None = None
    """Dollars per million tokens read."""
    price_out: Price | None = None
    """Dollars per million tokens written."""


class Endpoint(_Part):
    """An OpenAI-compatible server and how it is treated."""

    url: str
    model: str
    concurrency: Count = 8
    """Requests under way at a time."""
    seconds: Annotated[float, Field(gt=0)] = 120.0
    """How long one request may take."""
    tries: Count = 6
    """Times that a request is sent before it counts as failed."""

    def key(self, environment: Mapping[str, str] = os.environ) -> str:
        """ATLAS_LABEL_KEY, or OPENAI_API_KEY for OpenAI's own address. It is kept nowhere."""
        return key_for(self.url, "ATLAS_LABEL_KEY", environment)


class Settings(_Part):
    """A whole labelling run."""

    endpoint: Endpoint | None = None
    """None: only the labels by rule are scored, which costs nothing."""
    choice: Choice = Choice()
    budget: Budget = Budget()


def make_settings(
    url: str | None,
    model: str | None,
    choice: Mapping[str, object],
    budget: Mapping[str, object],
    endpoint: Mapping[str, object],
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Settings from what a command was given; ATLAS_LABEL_URL and ATLAS_LABEL_MODEL fill gaps.

    Args:
        url: base of the API, such as http://127.0.0.1:8000/v1.
        model: name of the model there.
        choice: fields of Choice; likewise `budget` and `endpoint`.
        environment: where what was not given is looked up.

    Raises:
        ConfigError: a setting is unknown or out of range, or one needs another.
    """
    url = url or environment.get("ATLAS_LABEL_URL")
    model = model or environment.get("ATLAS_LABEL_MODEL")
    if bool(url) != bool(model):
        raise ConfigError(
            "an endpoint and its model belong together",
            "give --endpoint and --model, or set ATLAS_LABEL_URL and ATLAS_LABEL_MODEL",
        )
    try:
        made = Settings(
            endpoint=Endpoint(url=checked_url(url), model=model, **endpoint)  # type: ignore[arg-type]
            if url and model
            else None,
            choice=Choice(**choice),  # type: ignore[arg-type]
            budget=Budget(**budget),  # type: ignore[arg-type]
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"label setting {name}: {first['msg']}, not {first['input']!r}"
        ) from error
    limits = made.budget
    if limits.usd is not None and (limits.price_in is None or limits.price_out is None):
        raise ConfigError(
            "a budget in dollars needs prices", "give --price-in and --price-out per million tokens"
        )
    return made
