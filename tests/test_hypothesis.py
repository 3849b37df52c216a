"""The language of hypotheses: what it means, and that nothing else gets through."""

import numpy as np
import pytest

from atlas.errors import QueryError
from atlas.hypothesis import FIELDS, Scene, Words, parse

TEXTS = [" the", "The", " cat", " a", ".", "7"]
COLUMNS = {
    "dst.token": [0, 1, 2, 3],
    "dst.before": [4, -1, 0, 2],
    "src.token": [1, 0, 2, 4],
    "src.before": [0, 2, 1, -1],
    "src.after": [2, 2, 2, 2],
    "dst.seen": [0, 2, 0, 1],
    "dst.pos": [5, 6, 7, 8],
    "src.pos": [4, 1, 7, 2],
    "distance": [1, 5, 0, 6],
    "head": [6, 6, 1, -1],
    "layer": [3, 3, 3, 3],
    "feature": [10, 10, 11, 12],
}


def match(texts, pattern):
    import re

    return [bool(re.search(pattern, text)) for text in texts]


def held(text):
    """Rows of which the hypothesis holds."""
    words = Words(TEXTS, match)
    columns = {name: np.array(values) for name, values in COLUMNS.items()}
    for name, (kind, _) in FIELDS.items():
        if kind == "token":
            columns[name] = words.of_tokens(columns[name])
    return np.flatnonzero(parse(text).holds(Scene(columns, words))).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('dst.token == " the"', [0]),
        ('dst.token in {" the", " a"} and distance <= 5', [0]),
        ("lower(dst.token) == lower(src.token)", [2]),
        ("word(dst.token) == word(src.token)", [0, 1, 2]),
        ('strip(dst.token) != "the"', [1, 2, 3]),
        ("1 <= distance <= 5", [0, 1]),
        ("src.before == dst.token", [0]),
        ('src.before == ""', [3]),
        ("head == 6 or head == 1", [0, 1, 2]),
        ("not head == 6", [2, 3]),
        ("head not in [1, 6]", [3]),
        ("earlier", [1, 3]),
        ("earlier and dst.seen > 1", [1]),
        ("src.pos == dst.pos - 1", [0]),
        ("feature + 1 > 12 or -distance >= 0", [2, 3]),
        ('match(dst.token, "^ [a-b]")', [3]),
        (r'match(lower(dst.token), r"^\s?t\w+$")', [0, 1]),
        ('dst.before == "."  # after a stop\n and\n layer == 3', [0]),
    ],
)
def test_a_statement_means_what_it_says(text, rows):
    assert held(text) == rows


def test_a_hypothesis_knows_whether_it_speaks_of_sources():
    assert parse("distance < 3").of_source
    assert not parse('dst.token == "a" and earlier').of_source


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("dst.tokn == 1", "line 1, column 1", "unknown name 'dst.tokn'"),
        ("distance < 3 and\n  foo > 2", "line 2, column 3", "unknown name 'foo'"),
        ('dst.token == "é" and foo > 1', "line 1, column 22", "unknown name 'foo'"),
        ("distance <", "line 1", "invalid syntax"),
        ('distance == "a"', "column 13", "a number is compared with a token"),
        ('dst.token < "a"', "column 1", "tokens have no order"),
        ("dst.token", "column 1", "this is no statement"),
        ("True", "column 1", "says nothing"),
        ("distance == 1.5", "column 13", "neither a text nor a whole number"),
        ("distance == True", "column 13", "neither a text nor a whole number"),
        ("distance in (head, 2)", "column 14", "constants"),
        ("distance is 3", "column 1", "`is` is not part"),
        ("lower(distance) == dst.token", "column 7", "takes a token"),
        ('match(dst.token, dst.before)', "column 1", "match takes a token and a text"),
        ("distance < 99999999999", "column 12", "too large"),
        ("__import__('os').system('true') == 0", "column 1", "not part of the language"),
        ("().__class__.__bases__ == 0", "column 1", "unknown name"),
        ("[x for x in dst.token] == 1", "column 1", "not part of the language"),
        ("(lambda: 1)() == 1", "column 1", "not part of the language"),
        ("f'{distance}' == dst.token", "column 1", "not part of the language"),
        ("distance ** 9 == 1", "column 1", "not part of the language"),
        ("(x := 3) == 3", "column 2", "not part of the language"),
        ("1) or (2", "column", ""),
    ],
)  # fmt: skip
def test_what_is_not_the_language_is_refused_with_its_place(text, place, message):
    with pytest.raises(QueryError, match="hypothesis") as caught:
        parse(text)
    assert place in caught.value.message
    assert message in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["", "   ", "(" * 3000, "not " * 900 + "earlier", "distance == " + "9" * 4000, "earlier\0",
     "earlier or " * 300 + "earlier", "x" * 5000],
)  # fmt: skip
def test_empty_huge_and_broken_statements_are_refused(text):
    with pytest.raises(QueryError):
        parse(text)
