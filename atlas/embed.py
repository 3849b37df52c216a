"""Texts as vectors, for search by meaning: labels when they are stored, words when they are asked.

A sentence model runs here (`embed_local`), or a server is asked. The only file of this package that
knows the `openai` client: any server that speaks its protocol will do, also one on this machine
(llama.cpp, vLLM and others serve `/v1/embeddings`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from atlas.embed_local import PACKAGED, LocalEmbedder
from atlas.errors import ConfigError, LabelError

Vectors = NDArray[np.float32]
BATCH = 256
"""Texts per request."""
NO_KEY = "none"
"""Stands for the key where an endpoint asks for none."""
_OFFICIAL = "api.openai.com"


class Embedder(Protocol):
    """Turns texts into vectors; vectors of one `model` can be compared."""

    @property
    def model(self) -> str:
        """Name that the vectors are stored under."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """`[text, dim]`, each row of length 1. Raises LabelError where it cannot be done."""
        ...


@dataclass(frozen=True, slots=True)
class EmbedSettings:
    """Where vectors come from."""

    url: str
    """Base of the API, such as http://127.0.0.1:8000/v1; empty for a model that runs here."""
    model: str
    """Name that the endpoint knows; here `all-MiniLM-L6-v2` or a folder."""
    key: str = field(default=NO_KEY, repr=False)
    """Secret of the endpoint; it is never stored or shown."""
    seconds: float = 60.0
    """How long one request may take."""


def settings(environment: Mapping[str, str] = os.environ) -> EmbedSettings | None:
    """What ATLAS_EMBED_URL, ATLAS_EMBED_MODEL and ATLAS_EMBED_KEY say; None where they say nothing.

    A model without a URL runs here. OPENAI_API_KEY serves as the key for OpenAI's own address and
    for no other.

    Raises:
        ConfigError: there is a URL without a model, or the URL cannot be used.
    """
    url = environment.get("ATLAS_EMBED_URL", "")
    model = environment.get("ATLAS_EMBED_MODEL", "")
    if not url and not model:
        return None
    if not model:
        raise ConfigError("ATLAS_EMBED_URL names no model", "set ATLAS_EMBED_MODEL too")
    if not url:
        return EmbedSettings("", model)
    return EmbedSettings(checked_url(url), model, key_for(url, "ATLAS_EMBED_KEY", environment))


def checked_url(url: str) -> str:
    """An endpoint's URL, if it can be one. Raises ConfigError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"not the URL of an endpoint: {url[:200]!r}", "it begins with http")
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            "the URL of the endpoint carries a secret or a query",
            "give the address alone; keys come from the environment",
        )
    return url


def key_for(url: str, name: str, environment: Mapping[str, str]) -> str:
    """The key of an endpoint; a server that asks for none is given the word `none`."""
    official = environment.get("OPENAI_API_KEY") if urlsplit(url).hostname == _OFFICIAL else None
    return environment.get(name) or official or NO_KEY


def without_key(text: str, key: str) -> str:
    """The first line of what an endpoint said, without the key, should it have repeated it."""
    clean = text.replace(key, "***") if key != NO_KEY else text
    return " ".join(clean.split())[:300] or "no reason given"


def open_embedder(given: EmbedSettings | None = None) -> Embedder:
    """An embedder, by default as the environment says: a model that runs here, or one over HTTP.

    Raises:
        ConfigError: nothing is set, the model cannot be opened, or a package is not installed.
    """
    found = given or settings()
    if found is None:
        raise ConfigError(
            "no embedding model is set",
            f"set ATLAS_EMBED_MODEL to {PACKAGED} or to a folder of sentence-transformers; or"
            " ATLAS_EMBED_URL and ATLAS_EMBED_MODEL to an OpenAI-compatible endpoint",
        )
    if not found.url:
        return LocalEmbedder(found.model)
    try:
        import openai  # noqa: PLC0415 (readers that never embed do without it)
    except ImportError as error:
        raise ConfigError(
            "embedding needs the package openai", "pip install 'feature-atlas[embed]'"
        ) from error
    client = openai.OpenAI(
        base_url=found.url, api_key=found.key, timeout=found.seconds, max_retries=5
    )
    return _OverHttp(found, client, openai.OpenAIError)


def _pooled(values: Any) -> Vectors:
    """One vector of a text; a model without pooling gives one per token, of which the mean."""
    found = np.asarray(values, np.float32)
    return np.asarray(found.mean(0) if found.ndim == 2 else found)


class _OverHttp:
    """The embeddings of an OpenAI-compatible endpoint; the client retries and waits as told."""

    def __init__(self, given: EmbedSettings, client: Any, error: type[Exception]) -> None:
        self._settings, self._client, self._error = given, client, error

    @property
    def model(self) -> str:
        return self._settings.model

    def embed(self, texts: Sequence[str]) -> Vectors:
        parts = [self._part(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        if len({part.shape[1] for part in parts}) > 1:
            raise self._wrong("vectors of different length")
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _part(self, texts: Sequence[str]) -> Vectors:
        try:
            # As numbers: not every server knows the packed form that the client would ask for.
            reply = self._client.embeddings.create(
                model=self.model, input=list(texts), encoding_format="float"
            )
            rows = sorted(reply.data, key=lambda one: one.index)
            found = np.array([_pooled(one.embedding) for one in rows], np.float32)
        except self._error as error:
            reason = without_key(str(error), self._settings.key)
            raise LabelError(
                f"{self._settings.url} does not embed with {self.model}: {reason}",
                "check ATLAS_EMBED_URL, ATLAS_EMBED_MODEL and ATLAS_EMBED_KEY",
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise self._wrong("something else than vectors") from error
        if [one.index for one in rows] != list(range(len(texts))) or found.ndim != 2:
            raise self._wrong(f"{len(rows)} vectors for {len(texts)} texts")
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.isfinite(found).all() or not lengths.all():
            raise self._wrong("vectors that are not finite or have no length")
        return np.asarray(found / lengths, np.float32)

    def _wrong(self, what: str) -> LabelError:
        return LabelError(
            f"{self._settings.url} answered {what}", "is it an OpenAI-compatible /embeddings?"
        )
