"""The text of every token id of a model, and which ids a typed text may mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MARKS = {"▁": " ", "Ġ": " ", "Ċ": "\n", "ĉ": "\t"}


@dataclass(frozen=True, slots=True)
class Vocab:
    """Token texts of one model by id."""

    model: str
    texts: tuple[str, ...]

    def text(self, token: int) -> str:
        """Text of a token; ids that no text is known for (padding rows) show their number."""
        known = 0 <= token < len(self.texts)
        return self.texts[token] if known else _unknown(token)

    def decode(self, tokens: Iterable[int]) -> tuple[str, ...]:
        """Text of every token."""
        return tuple(self.text(token) for token in tokens)

    def ids(self, text: str) -> tuple[int, ...]:
        """Ids whose text is exactly `text`, in any of the spellings of `spellings`."""
        forms = set(spellings(text))
        return tuple(token for token, known in enumerate(self.texts) if known in forms)


def of(model: str, texts: Iterable[tuple[int, str]]) -> Vocab:
    """The vocabulary of a model from its (token id, text) pairs in any order, gaps allowed."""
    known = dict(texts)
    every = range(max(known, default=-1) + 1)
    return Vocab(model, tuple(known.get(token, _unknown(token)) for token in every))


def _unknown(token: int) -> str:
    return f"⟨{token}⟩"


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
