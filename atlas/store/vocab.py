"""The text of every token id of a model, and which ids a typed text may mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

_MARKS = {"▁": " ", "Ġ": " ", "Ċ": "\n", "ĉ": "\t"}


@dataclass(frozen=True, slots=True)
class Vocab:
    """Token texts of one model by id."""

    model: str
    texts: tuple[str, ...]

    def text(self, token: int) -> str:
        """Text of a token; ids that no text is known for (padding rows) show their number."""
        known = 0 <= token < len(self.texts)
        return self.texts[token] if known else f"⟨{token}⟩"

    def decode(self, tokens: Iterable[int]) -> tuple[str, ...]:
        """Text of every token."""
        return tuple(self.text(token) for token in tokens)

    def ids(self, text: str) -> tuple[int, ...]:
        """Ids whose text is exactly `text`, in any of the spellings of `spellings`."""
        forms = set(spellings(text))
        return tuple(token for token, known in enumerate(self.texts) if known in forms)


def read(cursor: duckdb.DuckDBPyConnection, model: str) -> Vocab:
    """The vocabulary of a model; ids without a text have their number as text."""
    rows = cursor.execute(
        "SELECT token, text FROM vocab WHERE model = $model ORDER BY token", {"model": model}
    ).fetchall()
    texts = [f"⟨{token}⟩" for token in range(rows[-1][0] + 1 if rows else 0)]
    for token, text in rows:
        texts[token] = text
    return Vocab(model, tuple(texts))


def spellings(text: str) -> tuple[str, ...]:
    """`text` and how other tokenizers write it: `▁the` and `Ġthe` also mean ` the`."""
    plain = readable(text)
    return tuple(dict.fromkeys((text, plain, plain.replace(" ", "▁"))))


def readable(text: str) -> str:
    """Token text with the marks of its tokenizer turned into the white space they stand for."""
    for mark, plain in _MARKS.items():
        text = text.replace(mark, plain)
    return text


def join(texts: Sequence[str]) -> str:
    """Readable text of neighbouring tokens."""
    return readable("".join(texts))
