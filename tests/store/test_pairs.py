"""Pair search: by what fires, by what it fires for, by distance and head."""

from dataclasses import replace

import pytest

from atlas.errors import NotFound, QueryError
from atlas.store.pairs import find_pairs
from atlas.store.reader import open_store
from atlas.types import PairQuery


@pytest.fixture(scope="module")
def evidence(published):
    return open_store(published / "store").now()


def features(page):
    return [str(hit.row.id) for hit in page.hits]


# Examples fire at positions 6, 5, 4 of the three contexts; the strongest source is position 2.
def test_a_pair_is_found_with_its_best_example_and_its_count(evidence):
    page = find_pairs(evidence, PairQuery(dst=" the", src=" board", sae="toy/1-t"))
    assert page.total == 5
    hit = page.hits[0]
    assert (hit.example.tokens[hit.example.pos], hit.matches, hit.kept) == (" the", 1, 3)
    assert hit.example.ctx == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (PairQuery(dst="▁mat", layer=1, head=1), [0, 3]),
        (PairQuery(src=" cat", head=0, layer=1), [1, 2, 4]),
        (PairQuery(distance_min=4, distance_max=4, family="induction", layer=1), [0]),
        (PairQuery(distance_min=5), []),
        (PairQuery(dst=r'"\n"', src=" dog", head=1, layer=1), [0, 3]),
        (PairQuery(dst=" mat", src=" dog"), []),
    ],
)
def test_conditions_are_joined(evidence, query, found):
    assert features(find_pairs(evidence, query)) == [f"toy/1-t/{n}" for n in found]


def test_pages_neither_skip_nor_repeat(evidence):
    whole = features(find_pairs(evidence, PairQuery(head=1)))
    parts, after = [], ""
    while len(parts) < len(whole):
        page = find_pairs(evidence, replace(PairQuery(head=1), limit=1, after=after))
        parts += features(page)
        after = page.after
    assert parts == whole
    assert after == ""


@pytest.mark.parametrize(
    ("query", "error", "match"),
    [
        (PairQuery(), QueryError, "no pair asked for"),
        (PairQuery(distance_min=3, distance_max=1), QueryError, "is above"),
        (PairQuery(distance_max=10**40), QueryError, "distance_max is 1000"),
        (PairQuery(head=0, limit=0), QueryError, "limit is 0"),
        (PairQuery(dst="cat"), NotFound, '"cat" is not one token of toy. did you mean " cat"'),
        (PairQuery(dst="zebra"), NotFound, '"zebra" is not one token'),
    ],
)
def test_a_pair_that_makes_no_sense_is_refused(evidence, query, error, match):
    with pytest.raises(error, match=match):
        find_pairs(evidence, query)
