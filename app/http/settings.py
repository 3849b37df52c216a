"""What a server is set to, and who may write: tokens and their authors."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atlas.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Tokens:
    """Authors by the hash of their token; the tokens themselves are not kept."""

    authors: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, authors: Mapping[str, str]) -> "Tokens":
        """Tokens from authors by token."""
        return cls({_hash(token): author for token, author in authors.items()})

    def author(self, token: str) -> str | None:
        """Whose token this is; None for nobody's."""
        return self.authors.get(_hash(token))


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server treats its clients."""

    tokens: Tokens | None = None
    """Who may write; None lets everybody who reaches the server write under any name."""
    read_only: bool = False
    """Whether notes are only read."""
    hosts: tuple[str, ...] = LOOPBACK
    """Names this server may be called by, so that no web page can reach it under a name of its
    own; `*` allows any."""
    origins: tuple[str, ...] = ()
    """Web pages of these origins, such as https://example.org, may read answers."""
    per_minute: int | None = None
    """Requests a client may make per minute; None sets no limit."""
    body_bytes: int = 32 * 2**20
    """Largest body of a request."""
    older: int = 2
    """Older snapshots that are kept open."""
    prompts: bool | None = None
    """Whether prompts are run, which needs torch and the model; None for a server that only this
    machine reaches, and not for others, since a prompt costs far more than a query."""
    prompt_seconds: float = 30.0
    """How long a client waits for a prompt."""
    prompts_waiting: int = 8
    """Prompts that may wait for the one that is run."""


def read_tokens(path: Path) -> Tokens:
    """The tokens of a file: a line per author, first the token, then the author's name.

    Empty lines and lines that begin with # are passed over.

    Raises:
        ConfigError: there is no such file, or a line is not of this form; names the line.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read: {error}") from error
    authors: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split(maxsplit=1)
        if len(parts) < 2 or not re.fullmatch(r"[\x21-\x7e]+", parts[0]):
            raise ConfigError(f"{path}, line {number}: no token and author", "write: TOKEN Name")
        if len(parts[0]) < _SHORTEST_TOKEN:
            raise ConfigError(
                f"{path}, line {number}: a token of {len(parts[0])} characters",
                f"use {_SHORTEST_TOKEN} or more, such as `openssl rand -hex 16` gives",
            )
        if parts[0] in authors:
            raise ConfigError(
                f"{path}, line {number}: this token is there twice", "give each its own"
            )
        authors[parts[0]] = parts[1].strip()
    if not authors:
        raise ConfigError(f"the token file {path} names nobody", "write lines of: TOKEN Name")
    return Tokens.of(authors)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
