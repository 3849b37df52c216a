"""What a person types into the search box: words, prefixes, phrases and exact tokens.

`board member*` asks for both, `"board members"` for the phrase, `token:"▁the"` and `"\\n"` for
features that fire on exactly that token.
"""

import re
from dataclasses import dataclass
from typing import Literal

from atlas.errors import QueryError

_PART = re.compile(
    r"""\s*(?:
      (?P<token>token:)?"(?P<quoted>(?:[^"\\]|\\.)*)"
    | token:(?P<bare>[^\s"]+)
    | (?P<word>[^\s"]+)
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_LETTER = re.compile(r"[^\W_]")
MAX_CLAUSES = 16


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition; a feature must meet all of them."""

    how: Literal["word", "prefix", "phrase", "token"]
    text: str


def parse(text: str) -> tuple[Clause, ...]:
    """The conditions that `text` spells; none for empty text.

    Raises:
        QueryError: a quote is not closed, or there are too many conditions.
    """
    clauses, at = [], 0
    text = text.strip()
    while at < len(text):
        found = _PART.match(text, at)
        if not found:
            raise QueryError(
                f"a quote is not closed: {text[at:][:40]}", 'write \\" for a quote inside quotes'
            )
        at = found.end()
        clauses.append(_clause(found))
    if len(clauses) > MAX_CLAUSES:
        raise QueryError(f"{len(clauses)} words are too many", f"use at most {MAX_CLAUSES}")
    return tuple(clauses)


def _clause(found: re.Match[str]) -> Clause:
    if found["quoted"] is not None:
        text = unescape(found["quoted"])
        is_token = found["token"] is not None or not _LETTER.search(text)
        return Clause("token" if is_token else "phrase", text)
    if found["bare"] is not None:
        return Clause("token", unescape(found["bare"]))
    word = found["word"]
    if not _LETTER.search(word):
        return Clause("token", unescape(word))
    if word.endswith("*"):
        return Clause("prefix", word.rstrip("*"))
    return Clause("word", word)


def unescape(text: str) -> str:
    r"""`\n`, `\t`, `\r`, `\uXXXX` and any other escaped character as what they mean."""

    def plain(found: re.Match[str]) -> str:
        code = found[1]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(plain, text)


def escape(text: str) -> str:
    r"""Text on one line: line breaks and tabs as `\n`, `\t`, `\r`."""
    return text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
