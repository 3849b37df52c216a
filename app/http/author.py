"""Who writes: by token where the server has tokens, else by the name that is given."""

from collections.abc import Callable
from hmac import compare_digest
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Header, Request

from app.http.errors import Refused
from app.http.settings import Settings
from atlas.errors import NotesError


def author_of(
    request: Request,
    x_author: Annotated[
        str | None,
        Header(description="Author of the change, where the body names none; percent-encoded."),
    ] = None,
    authorization: Annotated[
        str | None, Header(description="`Bearer TOKEN`, where the server has tokens.")
    ] = None,
) -> Callable[[str | None], str]:
    """What gives the author of a change, from the name in the body or None.

    Raises:
        Refused: the server takes no writes, or not from this client.
    """
    settings: Settings = request.app.state.settings
    if settings.read_only:
        raise Refused(403, "ReadOnly", "this server takes no notes", "write them where it is run")
    header = None if x_author is None else unquote(_utf8(x_author)).strip()
    owner = _owner(settings, authorization) if settings.tokens is not None else None
    return lambda named: _agreed(owner, named, header)


def _owner(settings: Settings, authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "NoToken", "writing needs a token", "send Authorization: Bearer TOKEN")
    assert settings.tokens is not None
    owner = settings.tokens.author(token.strip())
    if owner is None:
        raise Refused(401, "WrongToken", "this token is nobody's", "ask whoever runs the server")
    return owner


def _agreed(owner: str | None, named: str | None, header: str | None) -> str:
    names = [name for name in (owner, named, header) if name is not None]
    if not names:
        raise NotesError("the change names no author", 'give "author", or the header X-Author')
    if any(not compare_digest(name.encode(), names[0].encode()) for name in names):
        raise Refused(
            403, "WrongAuthor", f"this is {names[0]}'s change, not {names[1]}'s", "give one name"
        )
    return names[0]


def _utf8(text: str) -> str:
    """A header as it was meant: HTTP libraries read its bytes as Latin-1."""
    try:
        return text.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


Author = Annotated[Callable[[str | None], str], Depends(author_of)]
