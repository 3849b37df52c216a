"""The search box's language, and page marks."""

import pytest

from atlas.errors import QueryError
from atlas.store import cursor
from atlas.store.words import Clause, parse
from atlas.types import Query


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("board members", [("word", "board"), ("word", "members")]),
        ("induct*", [("prefix", "induct")]),
        ('"board members" x', [("phrase", "board members"), ("word", "x")]),
        ('token:"▁the"', [("token", "▁the")]),
        ("token:the", [("token", "the")]),
        (r'"\n"', [("token", "\n")]),
        (r'token:"say \"hi\""', [("token", 'say "hi"')]),
        (r'token:"\u00e9"', [("token", "é")]),
        (". word", [("token", "."), ("word", "word")]),
    ],
)
def test_what_is_typed_becomes_conditions(text, clauses):
    assert parse(text) == tuple(Clause(*clause) for clause in clauses)


@pytest.mark.parametrize("text", ['"open', 'token:"open', 'a "b" "c'])
def test_an_open_quote_is_refused(text):
    with pytest.raises(QueryError, match="a quote is not closed"):
        parse(text)


def test_too_many_words_are_refused():
    with pytest.raises(QueryError, match="17 words are too many"):
        parse("w " * 17)


def test_a_mark_reads_back_and_belongs_to_one_query_and_snapshot():
    query, mark = Query(text="board", limit=5), cursor.Mark(float("inf"), 77)
    after = cursor.write(mark, query, "000001")
    assert cursor.read(Query(text="board", limit=9, after=after), "000001") == mark
    for other, snapshot in ((Query(text="x", after=after), "000001"), (query, "000002")):
        with pytest.raises(QueryError, match="another query or .* another snapshot"):
            cursor.read(Query(other.text, after=after), snapshot)


HUGE = cursor.write(cursor.Mark(0.0, 10**40), Query(), "000001")


@pytest.mark.parametrize("after", ["x", "%%%", "WzFd", "é", HUGE])
def test_what_is_no_mark_is_refused(after):
    with pytest.raises(QueryError, match="not a page mark"):
        cursor.read(Query(after=after), "000001")
