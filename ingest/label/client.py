"""One endpoint through the official `openai` client: every call once, within limits and budget.

The only file of the package that knows the chat side of `openai`. Its own retries are switched
off, because a pause that the server asks for must hold for all requests and not for one.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import openai
from openai import AsyncOpenAI

from atlas.embed import without_key
from atlas.errors import LabelError
from ingest.label.budget import Purse
from ingest.label.count import TokenCounter
from ingest.label.journal import Journal, Reply
from ingest.label.manner import Ask, Manner
from ingest.label.settings import Endpoint
from ingest.label.waiting import Gate, exhausted_for, told_wait

DOWN = 3
"""Requests in a row that fail by transport alone, tries and all, before the endpoint is down."""
_FATAL = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


class Failed(Exception):
    """A call that gave nothing to use; why, in words."""


class Client:
    """Asks one model. Use from one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: str,
        temperature: float,
        journal: Journal,
        purse: Purse,
        counter: TokenCounter,
        salt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint, self._key, self._temperature = endpoint, key, temperature
        self._journal, self._purse, self._counter, self._salt = journal, purse, counter, salt
        self._clock = clock
        self._gate = Gate(clock, random.Random(salt))
        self._room = asyncio.Semaphore(endpoint.concurrency)
        self._manner, self._down = Manner(endpoint.model, temperature), 0
        self.sent = 0
        """Calls answered in this process."""
        self._openai = AsyncOpenAI(
            base_url=endpoint.url, api_key=key, timeout=endpoint.seconds, max_retries=0
        )

    @property
    def model(self) -> str:
        """Name of the model that answers."""
        return self._endpoint.model

    async def close(self) -> None:
        """Close the connections."""
        await self._openai.close()

    def key_of(self, ask: Ask) -> str:
        """What the journal knows a call by: everything that its answer depends on."""
        parts = [self.model, self._salt, self._temperature, ask.messages, ask.longest, ask.logprobs]
        return sha256(json.dumps(parts).encode()).hexdigest()

    async def ask(self, ask: Ask) -> Reply:
        """The answer to a request: from the journal, else sent once and written there.

        Raises:
            Failed: refused, cut off, or not to be had after all tries.
            Spent: the budget does not allow it.
            LabelError: the endpoint cannot work at all.
        """
        key = self.key_of(ask)
        reply = self._journal.find(key)
        if reply is None:
            async with self._room:
                reply = await self._paid(ask)
            await self._journal.keep(key, reply)
        if reply.refusal is not None or (reply.cut and not ask.logprobs):
            await self.forget(ask)
            raise Failed(
                "the answer was cut off at its longest"
                if reply.refusal is None
                else f"refused: {reply.refusal[:200]}"
            )
        return reply

    async def forget(self, ask: Ask) -> None:
        """The answer was of no use: the next run asks again."""
        await self._journal.forget(self.key_of(ask))

    async def _paid(self, ask: Ask) -> Reply:
        held = self._counter.messages(ask.messages), ask.longest
        self._purse.hold(*held)
        used = 0, 0
        try:
            reply = await self._tried(ask)
            used = reply.tokens_in or held[0], reply.tokens_out
            return reply
        finally:
            self._purse.settle(*held, *used)

    async def _tried(self, ask: Ask) -> Reply:
        """Send it, and again after what may pass; waits as the server says."""
        reason = ""
        for attempt in range(1, self._endpoint.tries + 1):
            await self._gate.passed()
            try:
                reply = await self._sent(ask)
            except openai.APIStatusError as error:
                reason = self._refused(error, ask)
                if error.status_code == 429:
                    wait = told_wait(error.response.headers)
                    self._gate.pause(self._gate.back_off(attempt) if wait is None else wait)
                elif error.status_code >= 500:
                    await asyncio.sleep(self._gate.back_off(attempt))
            except (openai.APIConnectionError, openai.APIResponseValidationError) as error:
                reason = self._said(error)
                if attempt < self._endpoint.tries:
                    await asyncio.sleep(self._gate.back_off(attempt))
            else:
                self._down, self.sent = 0, self.sent + 1
                return reply
        self._down += 1
        if self._down >= DOWN or not self.sent:
            raise LabelError(
                f"{self._endpoint.url} does not answer: {reason}",
                "the same command goes on when it does; what was answered is kept",
            )
        raise Failed(f"no answer after {self._endpoint.tries} tries: {reason}")

    async def _sent(self, ask: Ask) -> Reply:
        begun = self._clock()
        raw = await self._openai.chat.completions.with_raw_response.create(**self._manner.body(ask))
        pause = exhausted_for(raw.headers)
        if pause is not None:
            self._gate.pause(pause)
        try:
            return _reply(json.loads(raw.text), self._clock() - begun)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            request = raw.http_request
            raise openai.APIConnectionError(
                message="the answer is no chat completion", request=request
            ) from error

    def _refused(self, error: openai.APIStatusError, ask: Ask) -> str:
        """Why a request was refused, when it may be sent again. Raises when it may not."""
        reason = f"{error.status_code}: {self._said(error)}"
        if isinstance(error, _FATAL):
            raise LabelError(
                f"{self._endpoint.url} refuses {self.model}: {reason}",
                "check the endpoint, the model's name and the key in ATLAS_LABEL_KEY",
            ) from error
        if error.code == "insufficient_quota":
            raise LabelError(
                f"the account at {self._endpoint.url} has no quota left: {reason}",
                "the same command goes on when there is some",
            ) from error
        if self._manner.learns(error.status_code, str(error), ask):
            return reason
        if error.status_code in (408, 409, 429) or error.status_code >= 500:
            return reason
        raise Failed(reason) from error

    def _said(self, error: Exception) -> str:
        return without_key(str(error), self._key)


def _reply(body: dict[str, Any], seconds: float) -> Reply:
    """A chat completion as a reply. Raises KeyError, TypeError, ... for what is none."""
    choice = body["choices"][0]
    message, usage = choice["message"], body.get("usage") or {}
    refusal, end = message.get("refusal"), choice.get("finish_reason")
    if end == "content_filter":
        refusal = refusal or "its content was filtered"
    content = (choice.get("logprobs") or {}).get("content") or []
    first = content[0].get("top_logprobs") or [] if content else []
    return Reply(
        text=str(message.get("content") or ""),
        refusal=str(refusal) if refusal else None,
        cut=end == "length",
        first=tuple((str(one["token"]), float(one["logprob"])) for one in first),
        tokens_in=int(usage.get("prompt_tokens") or 0),
        tokens_out=int(usage.get("completion_tokens") or 0),
        seconds=seconds,
    )
