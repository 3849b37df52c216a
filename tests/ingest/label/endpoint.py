"""An OpenAI-compatible server of our own, in a process of its own, that misbehaves on demand.

`python -m tests.ingest.label.endpoint PORT` serves it. Each request takes the next behaviour of
its plan (`POST /plan`); without one it answers well. Its judge is honest: a label such as
`fires on "cat"` is taken to hold where the last token, or the marked one, is that word.
"""

import asyncio
import hashlib
import json
import re
import sys
from collections import Counter, deque
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PLAN: deque[str] = deque()
SEEN: list[dict[str, Any]] = []
COUNTS: Counter[str] = Counter()
EXPLANATION = {
    "when": "on “the”",
    "fetches": "any earlier token",
    "says": "nothing in particular",
    "title": "fires on “the”",
}


async def plan(request: Request) -> Response:
    """Behaviours for the requests that follow; forgets what was seen."""
    PLAN.clear()
    PLAN.extend(await request.json())
    SEEN.clear()
    COUNTS.clear()
    return JSONResponse({})


async def seen(_: Request) -> Response:
    return JSONResponse({"requests": SEEN, "counts": COUNTS})


async def chat(request: Request) -> Response:
    body = await request.json()
    COUNTS["chat"] += 1
    if len(SEEN) < 500:
        SEEN.append({"body": body, "key": request.headers.get("authorization", "")})
    behaviour = PLAN.popleft() if PLAN else "well"
    if behaviour == "slow":
        await asyncio.sleep(5)
    if behaviour in FAILURES:
        return FAILURES[behaviour]()
    if behaviour == "reasons" and "temperature" in body:
        PLAN.appendleft("reasons")  # until it is asked in the way of reasoning models
        if "max_tokens" in body:
            return error(400, "'max_tokens' is not supported, use 'max_completion_tokens'")
        return error(400, "'temperature' does not support 0.0 with this model")
    if behaviour == "no format" and "response_format" in body:
        PLAN.appendleft("no format")  # until it is asked without
        return error(400, "response_format is not supported")
    return JSONResponse(completion(behaviour, body))


def completion(behaviour: str, body: dict[str, Any]) -> dict[str, Any]:
    texts = (
        {behaviour: behaviour}
        if behaviour.startswith("{")
        else {
            "wrong json": "Sure! when: on the",
            "fenced": "```json\n" + json.dumps(EXPLANATION) + "\n```",
            "extra": json.dumps({**EXPLANATION, "confidence": 1}),
            "empty": "",
            "parrot": json.dumps({**EXPLANATION, "title": "an example of a title"}),
            "cut": '{"when": "on',
        }
    )
    text = texts[behaviour] if behaviour in texts else answer(body["messages"])
    message = {"role": "assistant", "content": text, "refusal": None}
    if behaviour == "refuse":
        message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "finish_reason": "length" if behaviour == "cut" or body.get("max_tokens") == 1 else "stop",
    }
    if body.get("logprobs") and behaviour != "no logprobs":
        choice["logprobs"] = {"content": [logprobs(behaviour, text)]}
    asked = sum(len(one["content"]) for one in body["messages"]) // 4
    usage = {"prompt_tokens": asked, "completion_tokens": 10, "total_tokens": asked + 10}
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
        "choices": [choice], "usage": usage,
    }  # fmt: skip


def logprobs(behaviour: str, text: str) -> dict[str, Any]:
    top = [{"token": text, "logprob": -0.01, "bytes": None}]
    if behaviour == "wrong logprobs":
        top = [{"token": "yes", "logprob": 3.5, "bytes": None}]
    return {"token": text, "logprob": -0.01, "bytes": None, "top_logprobs": top}


def answer(messages: list[dict[str, str]]) -> str:
    """What an honest judge that knows quoted words alone says."""
    prompt = "\n".join(one["content"] for one in messages if one["role"] == "user")
    words = set(re.findall("“([^”]+)”", prompt.split("LABEL", 1)[-1].split("PASSAGE", 1)[0]))
    passages = re.findall(r"^\d+\. (.*)$", prompt, re.MULTILINE)
    if "STRENGTH" in prompt:
        passage = prompt.split("PASSAGE\n", 1)[1].split("\n\nSTRENGTH")[0]
        return str(9 * int(fires(passage, words)))
    if "PASSAGE" not in prompt:
        return json.dumps(EXPLANATION)
    return json.dumps({"fires": [fires(one, words) for one in passages]})


def fires(passage: str, words: set[str]) -> bool:
    marked = re.findall("«(.*?)»", passage)
    last = marked[-1] if marked else passage.split(" ")[-1]
    return last.strip() in words


def error(status: int, message: str, **headers: str) -> Response:
    body = {"error": {"message": message, "type": "x", "code": None}}
    return JSONResponse(
        body, status, {name.replace("_", "-"): one for name, one in headers.items()}
    )


def half() -> Response:
    async def body() -> Any:
        yield b'{"id": "x", "choi'

    return StreamingResponse(
        body(), headers={"content-length": "900"}, media_type="application/json"
    )


FAILURES: dict[str, Any] = {
    "429": lambda: error(429, "slow down", retry_after_ms="300"),
    "429 reset": lambda: error(
        429, "slow down", x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="400ms"
    ),
    "quota": lambda: JSONResponse(
        {"error": {"message": "no money left", "type": "x", "code": "insufficient_quota"}}, 429
    ),
    "500": lambda: error(500, "broken"),
    "401": lambda: error(401, "wrong key sk-secret"),
    "404": lambda: error(404, "no such model"),
    "400": lambda: error(400, "prompt is too long"),
    "half": half,
    "not json": lambda: Response("<html>hello", media_type="application/json"),
    "other json": lambda: JSONResponse({"hello": 1}),
    "html": lambda: Response("<html>hello", media_type="text/html"),
}  # fmt: skip


async def embeddings(request: Request) -> Response:
    body = await request.json()
    COUNTS["embed"] += 1
    behaviour = PLAN.popleft() if PLAN else "well"
    if behaviour in FAILURES:
        return FAILURES[behaviour]()
    texts = body["input"][1:] if behaviour == "too few" else body["input"]
    rows = [
        {"object": "embedding", "index": n, "embedding": vector(text)}
        for n, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    if behaviour == "per token":
        rows = [{**row, "embedding": [row["embedding"], [0.0] * 16]} for row in rows]
    rows.reverse()  # the order is said by `index` alone
    return JSONResponse({"object": "list", "data": rows, "model": body["model"], "usage": usage})


def vector(text: str) -> list[float]:
    """Counts of words, hashed into 16 places: texts that share words are near."""
    found = [0.0] * 16
    for word in re.findall(r"\w+", text.lower()) or ["?"]:
        found[hashlib.sha256(word.encode()).digest()[0] % 16] += 3.0
    return found


app = Starlette(
    routes=[
        Route("/plan", plan, methods=["POST"]),
        Route("/seen", seen),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="critical", access_log=False)
