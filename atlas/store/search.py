"""Keyword search: the index of a snapshot, how it is built and asked. The only user of tantivy.

One document per live feature. Every kind of text is indexed twice, stemmed and as written; the
tokens a feature fires on are also indexed whole, spaces and line breaks included.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import tantivy

from atlas.errors import StoreError
from atlas.store import common, vocab
from atlas.store.common import Common, Scores
from atlas.store.documents import COLUMN, FIELDS, documents
from atlas.store.words import Clause, escape

LOCK = ".tantivy-meta.lock"
_WRITER_LOCK = ".tantivy-writer.lock"
_AS_WRITTEN = 0.5
"""What a match of the very word adds to one of its stem."""
_WORD = re.compile(r"[^\W_]+")
_EXCERPT = 60
_REASONS = 3


class Matches(NamedTuple):
    """Features that match, by ascending row of the lists."""

    row: npt.NDArray[np.int64]  # [match]
    score: npt.NDArray[np.float64]  # [match], BM25 or a cosine

    def by_row(self) -> dict[int, float]:
        """Scores by row."""
        return dict(zip(self.row.tolist(), self.score.tolist(), strict=True))


def ordered(row: npt.NDArray[np.int64], score: npt.NDArray[np.float64]) -> Matches:
    """Matches from rows in any order, none twice."""
    order = np.argsort(row)
    return Matches(row[order], score[order])


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
    builder.add_unsigned_field("row", stored=True, indexed=True, fast=True)
    for column in COLUMN.values():
        builder.add_text_field(column, stored=True, tokenizer_name="stem")
        builder.add_text_field(f"{column}_word", tokenizer_name="word")
    builder.add_text_field("token", tokenizer_name="raw", index_option="freq")
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
        for document in documents(con):
            writer.add_document(tantivy.Document.from_dict(document, schema))
        writer.commit()
        writer.wait_merging_threads()
    except ValueError as error:
        raise OSError(f"the search index cannot be written: {error}") from error
    (folder / _WRITER_LOCK).unlink(missing_ok=True)
    (folder / LOCK).touch()
    ((size,),) = con.execute("SELECT coalesce(sum(d_sae), 0)::BIGINT FROM sae").fetchall()
    keep_common(folder, int(size), max(common.FEW, int(common.SHARE * size)))


def keep_common(folder: Path, size: int, least: int) -> None:
    """Write down the scores of words that at least `least` of `size` features have."""
    index = Index(folder, new=True)
    words = index.frequent(least, common.MOST)
    common.build(folder, words, size, lambda word: index.match([Clause("word", word)]))


def _any(queries: Iterable[tantivy.Query]) -> tantivy.Query:
    """What meets at least one of some queries."""
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, one) for one in queries])


def _where(found: Matches, columns: Sequence[Scores]) -> Matches:
    """The matches that common words have too, with the scores added up."""
    for column in columns:
        more = column[found.row]
        found = Matches(found.row[more > 0], (found.score + more)[more > 0])
    return found


class Index:
    """The opened search index of one snapshot; safe to ask from many threads."""

    def __init__(self, folder: Path, *, new: bool = False) -> None:
        """Open the index in `folder`; a `new` one has no scores of common words yet.

        Raises:
            StoreError: it is damaged.
        """
        self._stem, self._word = _analyzer(stem=True), _analyzer(stem=False)
        self._schema = _schema()
        try:
            index = tantivy.Index.open(str(folder))
            self._common = None if new else Common(folder)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the search index {folder} cannot be opened: {error}",
                "remove this snapshot and publish the bundles again",
            ) from error
        index.register_tokenizer("stem", self._stem)
        index.register_tokenizer("word", self._word)
        self._searcher = index.searcher()

    def match(self, clauses: Sequence[Clause]) -> Matches:
        """All live features that meet every clause, with their BM25 score."""
        known = [(clause, self._known(clause)) for clause in clauses]
        columns = [scores for _, scores in known if scores is not None]
        others = [clause for clause, scores in known if scores is None]
        if others or not columns:
            return _where(self._asked(others), columns)
        rows = np.flatnonzero(np.all(columns, axis=0))
        return Matches(rows, np.sum([column[rows] for column in columns], axis=0, dtype=np.float64))

    def _known(self, clause: Clause) -> Scores | None:
        """Scores of every feature for a single common word."""
        if self._common is None or clause.how != "word":
            return None
        forms: list[str] = self._word.analyze(clause.text)
        return self._common.scores(forms[0]) if len(forms) == 1 else None

    def _asked(self, clauses: Sequence[Clause]) -> Matches:
        parts = [(tantivy.Occur.Must, self._query(clause)) for clause in clauses]
        found = self._searcher.search(
            tantivy.Query.boolean_query(parts), limit=max(1, self._searcher.num_docs), count=False
        ).hits
        rows = self._searcher.fast_field_values("row", [address for _, address in found])
        scores = np.array([score for score, _ in found], dtype=np.float64)
        return ordered(np.array(rows, dtype=np.int64), scores)

    def frequent(self, least: int, most: int) -> tuple[str, ...]:
        """Up to `most` words that at least `least` features have in one kind of text."""
        counts: dict[str, int] = {}
        for column in COLUMN.values():
            for word, count in self._searcher.terms_with_prefix(f"{column}_word", "", limit=most):
                counts[word] = max(count, counts.get(word, 0))
        by_count = sorted(counts, key=lambda word: (-counts[word], word))
        return tuple(word for word in by_count[:most] if counts[word] >= least)

    def reasons(
        self, rows: Sequence[int], clauses: Sequence[Clause]
    ) -> tuple[tuple[str, ...], ...]:
        """For each row of the lists: where the clauses match, the match in «»."""
        patterns = [self._pattern(clause) for clause in clauses]
        return tuple(self._reasons(row, patterns) for row in rows)

    def _query(self, clause: Clause) -> tantivy.Query:
        if clause.how == "token":
            return _any(
                tantivy.Query.term_query(self._schema, "token", form, index_option="freq")
                for form in vocab.spellings(clause.text)
            )
        pattern = self._pattern(clause)
        if not pattern.forms:
            return tantivy.Query.empty_query()
        ways = []
        for name, weight in FIELDS.items():
            ways += self._ways(COLUMN[name], weight, pattern, clause.text)
        return _any(ways)

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

    def _reasons(self, row: int, patterns: Sequence[_Pattern]) -> tuple[str, ...]:
        query = tantivy.Query.term_query(self._schema, "row", row)
        hits = self._searcher.search(query, limit=1, count=False).hits
        if not hits:
            return ()
        document = self._searcher.doc(hits[0][1]).to_dict()
        found = []
        for name, column in COLUMN.items():
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
