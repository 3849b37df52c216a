"""The one shape of everything that goes wrong, and the status each kind of it has."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from atlas import wire
from atlas.errors import (
    AtlasError,
    Busy,
    Conflict,
    ModelError,
    NotesError,
    NotFound,
    QueryError,
    StoreError,
)

JSON = "application/json"
STATUS: dict[type[AtlasError], int] = {
    NotFound: 404,
    QueryError: 400,
    NotesError: 422,
    Conflict: 409,
    ModelError: 422,
    StoreError: 503,
    Busy: 503,
}
_LOG = logging.getLogger(__name__)


class Refused(AtlasError):
    """A request that HTTP itself refuses: who may write, how much, how often."""

    def __init__(self, status: int, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status, self.kind = status, kind


def reply(status: int, kind: str, message: str, hint: str = "", **more: Any) -> Response:
    """An error as every client gets it: {"error": {"kind", "message", "hint"}}."""
    error = {"kind": kind, "message": message, "hint": hint, **more}
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = "1"
    return Response(wire.dumps({"error": error}), status, headers, JSON)


def handle(app: FastAPI) -> None:
    """Answer everything that goes wrong in `app` in the one shape."""
    app.add_exception_handler(AtlasError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routed)
    app.add_exception_handler(Exception, _unknown)


def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, AtlasError)
    if isinstance(error, Refused):
        return reply(error.status, error.kind, error.message, error.hint)
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)
    more: dict[str, Any] = {}
    if isinstance(error, Conflict):
        more = {"theirs": error.theirs, "yours": error.yours}
    # Where the store lies is the server's own business.
    message = error.message.replace(str(request.app.state.atlas.store), "the store")
    return reply(status, type(error).__name__, message, error.hint, **more)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place, name = first["loc"][0], ".".join(map(str, first["loc"][1:]))
    given = "" if first["type"] == "missing" else f", not {str(first['input'])[:80]!r}"
    return reply(400, "QueryError", f"{place} parameter {name}: {first['msg']}{given}", _DOCUMENT)


def _routed(request: Request, error: Exception) -> Response:
    """What routing refuses: paths that lead nowhere and methods they do not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return reply(404, "NotFound", f"nothing at {request.url.path[:200]}", _DOCUMENT)
    phrase = HTTPStatus(error.status_code).phrase
    kind = "".join(word.capitalize() for word in phrase.split())
    message = f"{request.method} does not work here"
    found = reply(error.status_code, kind, message, _DOCUMENT)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        found.headers["Allow"] = ", ".join(_methods(request))
    return found


def _methods(request: Request) -> list[str]:
    """What works at the path of this request."""
    known: list[tuple[str, str]] = list(request.app.state.parameters)
    fits = {method for method, path in known if path == request.url.path}
    fits = fits or {m for m, path in known if compile_path(path)[0].match(request.url.path)}
    return sorted(fits | {"HEAD"} if "GET" in fits else fits)


def _unknown(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return reply(500, "InternalError", "this is a mistake of the server", "its log says more")


_DOCUMENT = "see /openapi.json for what there is"
