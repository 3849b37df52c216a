"""The prompts, one file each, whose version is their name with a hash of their words."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import NamedTuple

FOLDER = Path(__file__).parent / "prompts"
_BREAK = "=====\n"

Message = tuple[str, str]
"""Role and content."""


class Prompt(NamedTuple):
    """One prompt file: what the system is told, and the template of what is asked."""

    version: str
    """Such as explain-1a2b3c4d: another wording is another version."""
    system: str
    user: Template

    def messages(self, **values: str | int) -> tuple[Message, ...]:
        """The messages of a request; every name in the template must be given."""
        asked = ("user", self.user.substitute(values).strip())
        return (("system", self.system), asked) if self.system else (asked,)


@cache
def prompt(name: str) -> Prompt:
    """The prompt of that file name."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    system, _, user = text.partition(_BREAK)
    version = f"{name}-{sha256(text.encode()).hexdigest()[:8]}"
    return Prompt(version, system.strip(), Template(user))
