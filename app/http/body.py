"""Bodies of requests: read whole, of one media type, and into one type."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from app.http.errors import JSON, Refused
from atlas import wire
from atlas.errors import AtlasError

T = TypeVar("T")
Wrong = type[AtlasError]


def text_body(media: str, wrong: Wrong) -> Callable[[Request], Awaitable[str]]:
    """A dependency that gives the body as text.

    The media type is asked for strictly: a web page of somebody else's can send the others
    without the browser asking this server first.
    """

    async def text(request: Request) -> str:
        given = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if given != media:
            raise Refused(415, "WrongMediaType", f"a body of type {given[:80] or 'none'!r}",
                          f"send it with Content-Type: {media}")  # fmt: skip
        try:
            return (await request.body()).decode()
        except UnicodeDecodeError as error:
            raise wrong("the body is not UTF-8", "encode it so") from error

    return text


def json_body(wrong: Wrong) -> Callable[..., Any]:
    """A dependency that gives the body's JSON value."""

    def value(text: Annotated[str, Depends(text_body(JSON, wrong))]) -> Any:
        try:
            return json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise wrong(f"the body is not JSON: {str(error)[:200]}") from error

    return value


def body_of(kind: type[T], wrong: Wrong) -> Callable[..., T]:
    """A dependency that gives the body as a `kind`."""

    def made(value: Annotated[Any, Depends(json_body(wrong))]) -> T:
        try:
            return wire.read(kind, value, strict=True)
        except ValueError as error:
            raise wrong(str(error), "see /openapi.json") from error

    return made


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
