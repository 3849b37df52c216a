"""Corpora: documents cut into contexts that never mix unless told to."""

import json

import pytest

from atlas.errors import CorpusError
from ingest.config import CorpusPart
from ingest.corpus import Document, build, load, read, save

BOS = 1


def by_letter(texts):
    return [[ord(letter) for letter in text] for text in texts]


def a_corpus(texts, wanted=(4, 4, 100), bos=BOS, **settings):
    part = CorpusPart(**{"context_length": 4, "min_tokens": 2, **settings})
    documents = [Document(f"d{n}", "s", text) for n, text in enumerate(texts)]
    return build(documents, by_letter, part, bos, wanted)


def words(contexts):
    rows = zip(contexts.tokens.tolist(), contexts.length.tolist(), strict=True)
    return ["".join("^" if t == BOS else chr(t) for t in row[:length]) for row, length in rows]


def test_contexts_start_with_bos_and_never_mix_documents():
    corpus = a_corpus(["abcde", "fghij", "klmnopqr"])
    assert words(corpus.evaluate) == ["^abc", "^de"]
    assert words(corpus.mine) == ["^fgh", "^ij"]
    assert words(corpus.train) == ["^klm", "^nop", "^qr"]
    assert corpus.train.start.tolist() == [0, 3, 6]
    assert [corpus.doc_ids[doc] for doc in corpus.train.doc] == ["d2"] * 3


def test_leftovers_below_the_minimum_are_dropped():
    assert words(a_corpus(["abcde", "efgh", "ijklm"]).train) == ["^ijk", "^lm"]
    assert words(a_corpus(["abcd", "efgh", "ijkl"]).train) == ["^ijk"]


def test_without_bos_contexts_are_text_alone():
    assert words(a_corpus(["abcd", "efgh", "ijkl"], bos=None).train) == ["ijkl"]


def test_packing_runs_over_document_ends_with_bos_between_and_at_position_0():
    corpus = a_corpus(["abcd", "efgh", "ij", "klm", "nop"], pack=True)
    assert words(corpus.evaluate) == ["^abc"]
    # the train split starts afresh: ^ i j ^ | k l m ^ | ..., with position 0 overwritten
    assert words(corpus.train) == ["^ij^", "^lm^"]
    assert [corpus.doc_ids[doc] for doc in corpus.train.doc] == ["d2", "d3"]


def test_documents_are_in_one_split_only():
    corpus = a_corpus(["abcdefgh", "ijkl", "mnop"])
    docs = [set(split.doc.tolist()) for split in corpus[:3]]
    assert docs == [{0}, {1}, {2}]


def test_too_little_text_is_an_error_that_counts():
    with pytest.raises(CorpusError, match="has 4 usable tokens; this job wants 4 to evaluate"):
        a_corpus(["abc"])


def test_a_saved_corpus_comes_back(tmp_path):
    corpus = a_corpus(["abcde", "fghij", "klmnopqr"])
    save(tmp_path / "c.npz", corpus)
    again = load(tmp_path / "c.npz")
    assert words(again.train) == words(corpus.train)
    assert (again.sha256, again.doc_ids) == (corpus.sha256, corpus.doc_ids)


def test_the_builtin_corpus_is_prose_and_code_in_the_order_of_its_seed():
    part = CorpusPart()
    documents = [document for document, _ in zip(read(part), range(200), strict=False)]
    again = [document.id for document, _ in zip(read(part), range(200), strict=False)]
    other = [d.id for d, _ in zip(read(CorpusPart(seed=1)), range(200), strict=False)]
    assert [document.id for document in documents] == again != other
    assert {d.source for d in documents} >= {"python-source", "python-docstrings"}


@pytest.mark.parametrize("name", ["a.jsonl", "a b é.jsonl"])
def test_local_jsonl_is_read(tmp_path, name):
    path = tmp_path / name
    path.write_text("".join(json.dumps({"id": n, "text": f"text {n}"}) + "\n" for n in range(5)))
    documents = sorted(read(CorpusPart(name=str(path))))
    assert [d.text for d in documents] == [f"text {n}" for n in range(5)]
    assert documents[0].id == "0"


def test_a_text_file_is_one_document(tmp_path):
    (tmp_path / "a.txt").write_text("first line\n\nsecond line\n")
    (document,) = read(CorpusPart(name=str(tmp_path / "a.txt")))
    assert "second line" in document.text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": null}\n', "row 1 has no text in column 'text'"),
        ("a.jsonl", '{"body": "x"}\n', r"no column 'text'.*set corpus\.text to one of: body"),
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "cannot be read"),
        ("a.jsonl", "", "no documents|cannot be read"),
        ("a.parquet", "not parquet", "cannot be read"),
        ("a.xyz", "x", "no known format"),
    ],
)
def test_broken_corpora_are_named(tmp_path, file, content, message):
    path = tmp_path / file
    path.write_text(content)
    with pytest.raises(CorpusError, match=message):
        list(read(CorpusPart(name=str(path))))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"no corpus file .*nothing\.txt"):
        list(read(CorpusPart(name=str(tmp_path / "nothing.txt"))))
