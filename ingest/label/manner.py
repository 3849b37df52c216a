"""What a server was found to understand, so that it is asked in a way that it accepts.

Servers differ in how they are held to JSON, in what they call the longest answer, and in whether a
temperature may be set. The usual way is tried first; what a server refuses is not tried again.
"""

from typing import Any, NamedTuple

from ingest.label.prompts import Message

ALTERNATIVES = 20
"""Log-probabilities asked for."""


class Ask(NamedTuple):
    """One request."""

    messages: tuple[Message, ...]
    longest: int
    """Tokens that the answer may take."""
    schema: dict[str, Any] | None = None
    """JSON schema of the answer, for servers that can hold to one."""
    logprobs: bool = False
    """Whether the alternatives to its first token are wanted, and no more of it."""


class Manner:
    """How one server is asked."""

    def __init__(self, model: str, temperature: float) -> None:
        self._model = model
        self._temperature: float | None = temperature
        self._longest = "max_tokens"
        self._forms = ["json_schema", "json_object"]

    def body(self, ask: Ask) -> dict[str, Any]:
        """The body of a request to chat/completions."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": role, "content": text} for role, text in ask.messages],
            self._longest: ask.longest,
        }
        if self._temperature is not None:
            body["temperature"] = self._temperature
        if ask.schema is not None and self._forms:
            body["response_format"] = _form(self._forms[0], ask.schema)
        if ask.logprobs:
            body |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
        return body

    def learns(self, status: int, said: str, ask: Ask) -> bool:
        """Take a refusal as a hint to ask in another way; False where there is none to try.

        Some servers refuse a form that they do not know with status 500.
        """
        if "max_completion_tokens" in said and self._longest == "max_tokens":
            self._longest = "max_completion_tokens"
            return True
        if status in (400, 422) and "temperature" in said and self._temperature is not None:
            self._temperature = None
            return True
        named = any(word in said for word in ("response_format", "json_schema", "json_object"))
        if ask.schema is not None and self._forms and (named or status in (400, 422)):
            self._forms.pop(0)  # the prompt asks for JSON as well
            return True
        return False


def _form(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A response_format; llama.cpp and others take the schema beside the older kind."""
    if kind == "json_schema":
        inside = {"name": "answer", "strict": True, "schema": schema}
        return {"type": kind, "json_schema": inside}
    return {"type": kind, "schema": schema}
