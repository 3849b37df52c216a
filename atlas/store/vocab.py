"""The text of every token id of a model, and which ids a typed text may mean."""

from collections.abc import Iterable
from dataclasses import dataclass

_MARKS = {"▁": " ", "Ġ": " ", "Ċ": "\n", "ĉ": "\t"}


@dataclass(frozen=True, slots=True)
class Vocab:
    """Token texts of one model by id."""

    model: str
    texts: tuple[str, ...]

    def text(self, token: int) -> str:
        """Text of a token; ids that no text is known for (padding rows) show their number."""
        return self.decode((token,))[0]

    def decode(self, tokens: Iterable[int]) -> tuple[str, ...]:
        """Text of every token."""
        tokens = tokens if isinstance(tokens, list | tuple) else tuple(tokens)
        texts, known = self.texts, len(self.texts)
        if tokens and min(tokens) >= 0 and max(tokens) < known:  # nearly always, and much quicker
            return tuple(map(texts.__getitem__, tokens))
        return tuple(texts[t] if 0 <= t < known else _unknown(t) for t in tokens)

    def readable(self) -> "Vocab":
        """The same tokens as a person reads them."""
        return Vocab(self.model, tuple(readable(text) for text in self.texts))

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
