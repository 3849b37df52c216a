"""Speaking to a served atlas: requests out, types back, its errors raised here again."""

import io
import json
import shutil
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any, BinaryIO, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from atlas import errors, wire
from atlas.errors import AtlasError, Conflict, QueryError, StoreError
from atlas.note_types import Content, Note

T = TypeVar("T")
JSON = "application/json"
_KNOWN: dict[str, type[AtlasError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, AtlasError)
}
_START = "start one with `atlas serve`"

Parameters = Iterable[tuple[str, Any]]


class Server:
    """One served atlas at a URL."""

    def __init__(self, url: str, token: str | None, seconds: float) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise StoreError(f"not the address of a server: {url[:200]!r}", "it begins with http")
        self.url = url.rstrip("/")
        self._token, self._seconds = token, seconds

    def get(self, kind: type[T], path: str, parameters: Parameters = ()) -> T:
        """The value of type `kind` at a path."""
        return self.read(kind, self.ask("GET", path, parameters))

    def send(
        self, of: type[T], method: str, path: str, parameters: Parameters = (), /, **body: Any
    ) -> T:
        """The value of type `of` that a request with this body gives."""
        return self.read(of, self.ask(method, path, parameters, encoded(wire.dumps(body))))

    def read(self, kind: type[T], text: bytes) -> T:
        """A reply as a value. Raises StoreError when it is none."""
        try:
            return self.made(kind, json.loads(text))
        except json.JSONDecodeError as error:
            raise StoreError(f"{self.url} does not answer JSON: {error}", _START) from error

    def made(self, kind: type[T], value: Any) -> T:
        """A JSON value as one of type `kind`. Raises StoreError when it is another."""
        try:
            return wire.read(kind, value)
        except ValueError as error:
            raise StoreError(f"{self.url} answers something else: {error}", _START) from error

    def ask(
        self,
        method: str,
        path: str,
        parameters: Parameters = (),
        body: bytes | None = None,
        **headers: str,
    ) -> bytes:
        """The body of a reply; `headers` are named with _ for -.

        Raises:
            AtlasError: the error that the server answers, of the kind it names.
            StoreError: nothing answers, or not an atlas.
        """
        reply = io.BytesIO()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            given = {"Content-Type": JSON} | given
        self._send(Request(self._address(path, parameters), body, given, method=method), reply)
        return reply.getvalue()

    def fetch(self, path: str, parameters: Parameters, into: BinaryIO) -> None:
        """Write the body of a reply into a file as it comes. Raises as `ask` does."""
        self._send(Request(self._address(path, parameters)), into)

    def _address(self, path: str, parameters: Parameters) -> str:
        query = urlencode([(name, _text(value)) for name, value in parameters])
        return f"{self.url}{quote(path)}{'?' if query else ''}{query}"

    def _send(self, request: Request, into: BinaryIO) -> None:
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urlopen(request, timeout=self._seconds) as reply:
                shutil.copyfileobj(reply, into)
        except HTTPError as error:
            raise self._error(error.read()) from None
        except (OSError, HTTPException) as error:
            raise StoreError(f"no atlas answers at {self.url}: {error}", _START) from error

    def _error(self, text: bytes) -> AtlasError:
        """The error that a reply tells of."""
        try:
            told = json.loads(text)["error"]
            kind, message, hint = told["kind"], str(told["message"]), str(told["hint"])
            theirs, yours = told.get("theirs"), told.get("yours")
        except (ValueError, TypeError, KeyError):
            return StoreError(f"{self.url} answers something else: {text[:200]!r}", _START)
        if kind == "Conflict":
            note = None if theirs is None else self.made(Note[Any], theirs)
            content: Any = Content
            return Conflict(message, hint, note, yours and self.made(content, yours))
        return _KNOWN.get(kind, AtlasError)(message, hint)


def encoded(text: str) -> bytes:
    """Text as it travels. Raises QueryError for halves of signs, which no text has."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise QueryError("the request has signs that are no text", "leave them out") from error


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
