"""Keyword search: the index of a snapshot, how it is built and asked. The only user of tantivy.

One document per live feature. Every kind of text is indexed twice, stemmed and as written; the
tokens a feature fires on are also indexed whole, spaces and line breaks included.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import tantivy

from atlas.errors import StoreError
from atlas.store import vocab
from atlas.store.words import Clause, escape

LOCK = ".tantivy-meta.lock"
_WRITER_LOCK = ".tantivy-writer.lock"
# Kinds of text with their weight in the score, in the order reasons are given.
FIELDS = {"title": 4.0, "label": 2.0, "fires on": 1.5, "promotes": 1.0, "example": 0.5}
_COLUMN = {name: name.replace(" ", "_") for name in FIELDS}
_AS_WRITTEN = 0.5
"""What a match of the very word adds to one of its stem."""
_WORD = re.compile(r"[^\W_]+")
_WINDOW = 8
"""Tokens on either side of an example's position that are indexed."""
_WINDOWS = 3
"""Examples per feature whose text is indexed."""
_EXCERPT = 60
_REASONS = 3


class Matches(NamedTuple):
    """Features that match, in no order."""

    sae: npt.NDArray[np.int64]  # [match]
    feature: npt.NDArray[np.int64]  # [match]
    score: npt.NDArray[np.float64]  # [match], BM25 or a cosine

    def by_key(self) -> dict[tuple[int, int], float]:
        """Scores by (SAE number, feature)."""
        keys = zip(self.sae.tolist(), self.feature.tolist(), strict=True)
        return dict(zip(keys, self.score.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A clause as words to find in a text."""

    forms: tuple[str, ...]
    how: str


def _analyzer(*, stem: bool) -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    builder = builder.filter(tantivy.Filter.remove_long(40)).filter(tantivy.Filter.lowercase())
    builder = builder.filter(tantivy.Filter.ascii_fold())
    return (builder.filter(tantivy.Filter.stemmer("english")) if stem else builder).build()


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("key", stored=True, indexed=True, fast=True)
    for column in _COLUMN.values():
        builder.add_text_field(column, stored=True, tokenizer_name="stem")
        builder.add_text_field(f"{column}_word", tokenizer_name="word")
    builder.add_text_field("token", tokenizer_name="raw", index_option="basic")
    return builder.build()


def build(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the index of all live features of an open database into a new folder.

    Raises:
        OSError: the index cannot be written.
    """
    folder.mkdir()
    schema = _schema()
    try:
        index = tantivy.Index(schema, path=str(folder))
        index.register_tokenizer("stem", _analyzer(stem=True))
        index.register_tokenizer("word", _analyzer(stem=False))
        writer = index.writer(heap_size=256_000_000, num_threads=min(4, os.cpu_count() or 1))
        for document in _documents(con):
            writer.add_document(tantivy.Document.from_dict(document, schema))
        writer.commit()
        writer.wait_merging_threads()
    except ValueError as error:
        raise OSError(f"the search index cannot be written: {error}") from error
    (folder / _WRITER_LOCK).unlink(missing_ok=True)
    (folder / LOCK).touch()


def _documents(con: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    saes = con.execute("SELECT sae, model FROM sae ORDER BY model, sae").fetchall()
    words = vocab.of("", ())
    for sae, model in saes:
        if words.model != model:
            words = vocab.of(model, con.execute(_VOCAB, {"model": model}).fetchall())
            plain = words.readable()
        yield from _documents_of(con, sae, words, plain)


def _documents_of(
    con: duckdb.DuckDBPyConnection, sae: int, words: vocab.Vocab, plain: vocab.Vocab
) -> Iterator[dict[str, Any]]:
    titles = dict(con.execute(_LABELS, {"sae": sae, "title": True}).fetchall())
    labels = dict(con.execute(_LABELS, {"sae": sae, "title": False}).fetchall())
    tokens = dict(con.execute(_TOKENS, {"sae": sae}).fetchall())
    windows = dict(
        con.execute(_TEXTS, {"sae": sae, "around": _WINDOW, "many": _WINDOWS}).fetchall()
    )
    for feature, promoted in con.execute(_LIVE, {"sae": sae}).fetchall():
        fires_on = tokens.get(feature, ())
        texts: dict[str, list[str]] = {
            "title": titles.get(feature, []),
            "label": labels.get(feature, []),
            "fires on": list(plain.decode(fires_on)),
            "promotes": list(plain.decode(promoted or ())),
            "example": ["".join(plain.decode(ids)) for ids in windows.get(feature, ())],
        }
        document: dict[str, Any] = {
            "key": sae << 32 | feature,
            "token": list(words.decode(fires_on)),
        }
        for name, values in texts.items():
            document[_COLUMN[name]] = document[f"{_COLUMN[name]}_word"] = values
        yield document


_VOCAB = "SELECT token, text FROM vocab WHERE model = $model"
_LIVE = "SELECT feature, top_tokens FROM feature WHERE sae = $sae AND firings > 0 ORDER BY feature"
_LABELS = (
    "SELECT feature, list(text ORDER BY side, method, text) FROM label"
    " WHERE sae = $sae AND (side = 'title') = $title GROUP BY feature"
)
_TOKENS = (
    "SELECT feature, list(DISTINCT token ORDER BY token) FROM example"
    " WHERE sae = $sae AND kind = 'top' GROUP BY feature"
)
_TEXTS = """
SELECT e.feature, list(c.tokens[greatest(e.pos + 1 - $around, 1) : e.pos + 1 + $around]
                       ORDER BY e.rank)
FROM example e JOIN context c USING (ctx)
WHERE e.sae = $sae AND e.kind = 'top' AND e.rank < $many GROUP BY e.feature
"""


class Index:
    """The opened search index of one snapshot; safe to ask from many threads."""

    def __init__(self, folder: Path) -> None:
        """Open the index in `folder`. Raises StoreError when it is damaged."""
        self._stem, self._word = _analyzer(stem=True), _analyzer(stem=False)
        self._schema = _schema()
        try:
            index = tantivy.Index.open(str(folder))
        except ValueError as error:
            raise StoreError(
                f"the search index {folder} cannot be opened: {error}",
                "remove this snapshot and publish the bundles again",
            ) from error
        index.register_tokenizer("stem", self._stem)
        index.register_tokenizer("word", self._word)
        self._searcher = index.searcher()

    def match(self, clauses: Sequence[Clause]) -> Matches:
        """All live features that meet every clause, with their BM25 score."""
        parts = [(tantivy.Occur.Must, self._query(clause)) for clause in clauses]
        found = self._searcher.search(
            tantivy.Query.boolean_query(parts), limit=max(1, self._searcher.num_docs), count=False
        ).hits
        addresses = [address for _, address in found]
        keys = np.array(self._searcher.fast_field_values("key", addresses), dtype=np.int64)
        scores = np.array([score for score, _ in found], dtype=np.float64)
        return Matches(keys >> 32, keys & 0xFFFFFFFF, scores)

    def reasons(
        self, features: Sequence[tuple[int, int]], clauses: Sequence[Clause]
    ) -> tuple[tuple[str, ...], ...]:
        """For each (SAE number, feature): where the clauses match, the match in «»."""
        patterns = [self._pattern(clause) for clause in clauses]
        return tuple(self._reasons(sae << 32 | feature, patterns) for sae, feature in features)

    def _query(self, clause: Clause) -> tantivy.Query:
        if clause.how == "token":
            forms = list(vocab.spellings(clause.text))
            return tantivy.Query.term_set_query(self._schema, "token", forms)
        pattern = self._pattern(clause)
        if not pattern.forms:
            return tantivy.Query.empty_query()
        ways = []
        for name, weight in FIELDS.items():
            ways += self._ways(_COLUMN[name], weight, pattern, clause.text)
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, way) for way in ways])

    def _ways(
        self, column: str, weight: float, pattern: _Pattern, text: str
    ) -> list[tantivy.Query]:
        """How a clause may match one kind of text."""
        boost, word = tantivy.Query.boost_query, f"{column}_word"
        if pattern.how == "prefix":
            start = re.escape(pattern.forms[0])
            return [boost(tantivy.Query.regex_query(self._schema, word, f"{start}.*"), weight)]
        if pattern.how == "phrase":
            return [boost(self._sequence(word, pattern.forms), weight)]
        return [
            boost(self._sequence(column, pattern.forms), weight),
            boost(self._sequence(word, self._word.analyze(text)), weight * _AS_WRITTEN),
        ]

    def _sequence(self, column: str, forms: Sequence[str]) -> tantivy.Query:
        if len(forms) == 1:
            return tantivy.Query.term_query(self._schema, column, forms[0])
        return tantivy.Query.phrase_query(self._schema, column, list(forms))

    def _pattern(self, clause: Clause) -> _Pattern:
        if clause.how == "token":
            return _Pattern(vocab.spellings(clause.text), "token")
        analyzer = self._stem if clause.how == "word" else self._word
        forms = tuple(analyzer.analyze(clause.text))
        # `re-enter*` is more than one word: its last one cannot be a prefix of a phrase.
        how = "phrase" if clause.how == "prefix" and len(forms) > 1 else clause.how
        return _Pattern(forms, how)

    def _reasons(self, key: int, patterns: Sequence[_Pattern]) -> tuple[str, ...]:
        query = tantivy.Query.term_query(self._schema, "key", key)
        hits = self._searcher.search(query, limit=1, count=False).hits
        if not hits:
            return ()
        document = self._searcher.doc(hits[0][1]).to_dict()
        found = []
        for name, column in _COLUMN.items():
            for text in document.get(column, ()):
                marked = self._marked(text, patterns, name)
                if marked:
                    found.append(f"{name}: {marked}")
                    break
        return tuple(found[:_REASONS])

    def _marked(self, text: str, patterns: Sequence[_Pattern], name: str) -> str:
        """The part of `text` around the first match, every match in «»; empty without one."""
        spans: set[tuple[int, int]] = set()
        words = [(found.start(), found.end()) for found in _WORD.finditer(text)]
        for pattern in patterns:
            if pattern.how == "token":
                whole = name == "fires on" and vocab.readable(pattern.forms[0]) == text
                spans |= {(0, len(text))} if whole else set()
            else:
                spans |= self._spans(text, words, pattern)
        return _excerpt(text, sorted(spans)) if spans else ""

    def _spans(
        self, text: str, words: Sequence[tuple[int, int]], pattern: _Pattern
    ) -> set[tuple[int, int]]:
        analyzer = self._stem if pattern.how == "word" else self._word
        forms = ["".join(analyzer.analyze(text[start:end])) for start, end in words]
        size, spans = len(pattern.forms), set()
        if pattern.how == "prefix":
            start = pattern.forms[0] if pattern.forms else "\0"
            return {span for span, form in zip(words, forms, strict=True) if form.startswith(start)}
        for first in range(len(forms) - size + 1 if size else 0):
            if tuple(forms[first : first + size]) == pattern.forms:
                spans.add((words[first][0], words[first + size - 1][1]))
        return spans


def _excerpt(text: str, spans: Sequence[tuple[int, int]]) -> str:
    first = max(0, spans[0][0] - _EXCERPT // 2)
    last = min(len(text), max(spans[0][1] + _EXCERPT, first + _EXCERPT))
    out, at = ["…" if first else ""], first
    for start, end in spans:
        if at <= start and end <= last:
            out += [text[at:start], "«", text[start:end], "»"]
            at = end
    out += [text[at:last], "…" if last < len(text) else ""]
    return escape("".join(out))
