"""What every request passes before it is answered: host, size, rate, HEAD; plain ASGI."""

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.answer import SNAPSHOT_HEADER
from app.http.errors import Refused, reply
from atlas.api import Atlas
from atlas.errors import StoreError

_CLIENTS = 10_000


class Guard:
    """Refuses requests to strange hosts, too large or too many; gives HEAD and the snapshot."""

    def __init__(
        self,
        app: ASGIApp,
        atlas: Atlas,
        hosts: tuple[str, ...],
        body_bytes: int,
        per_minute: int | None,
    ) -> None:
        self.app, self._atlas = app, atlas
        self._hosts, self._body_bytes = hosts, body_bytes
        self._rate = Rate(per_minute) if per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = self._with_snapshot(send)
        if scope["method"] == "HEAD":
            scope, answer = {**scope, "method": "GET"}, _without_body(answer)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        await self.app(scope, _at_most(receive, self._body_bytes), answer)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
        if "*" not in self._hosts and host not in self._hosts:
            return reply(421, "WrongHost", f"this server is not called {host[:80]!r}",
                         f"call it {self._hosts[0]}, or start it with that host")  # fmt: skip
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size[:20]) > self._body_bytes:
            return reply(413, "TooLarge", f"a body of {size[:20]} bytes", _most(self._body_bytes))
        if self._rate and (wait := self._rate.wait((scope.get("client") or ("?",))[0])):
            return reply(429, "TooMany", "too many requests", f"try again in {ceil(wait)} s")
        return None

    def _with_snapshot(self, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if SNAPSHOT_HEADER not in headers and (name := self._snapshot()):
                    headers[SNAPSHOT_HEADER] = name
            await send(message)

        return told

    def _snapshot(self) -> str | None:
        try:
            return self._atlas.snapshot.name
        except StoreError:
            return None


class Rate:
    """Requests per client: a bucket that holds a minute's worth and refills steadily."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = per_minute, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until this client may ask; 0 when it may now, which is then counted."""
        now = self._clock()
        left, since = self._left.pop(client, (float(self._most), now))
        left = min(self._most, left + (now - since) * self._most / 60)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 60 / self._most


def _most(body_bytes: int) -> str:
    return f"{body_bytes:,} bytes are allowed"


def _at_most(receive: Receive, body_bytes: int) -> Receive:
    """The same body, cut off by an error where it is longer than it said."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > body_bytes:
            raise Refused(413, "TooLarge", "the body is longer than it said", _most(body_bytes))
        return message

    return counted


def _without_body(send: Send) -> Send:
    """The answer's headers alone."""

    async def cut(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return cut
