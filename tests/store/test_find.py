"""Searching: words find features and say why; filters, order, counts and pages agree."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.bundle import open_bundle
from atlas.errors import NotFound, QueryError
from atlas.ids import parse_feature, parse_head
from atlas.store import words
from atlas.store.common import Common
from atlas.store.facets import Said
from atlas.store.find import find
from atlas.store.publish import publish
from atlas.store.reader import open_store
from atlas.store.search import Index, keep_common
from atlas.types import Query, Sort
from tests.builders import a_bundle
from tests.store.parts import a_label, a_part

LAYER_1 = [f"toy/1-t/{n}" for n in range(5)]


@pytest.fixture(scope="module")
def evidence(published):
    return open_store(published / "store").now()


def ids(page):
    return [str(hit.row.id) for hit in page.hits]


def search(evidence, *args, **changes):
    return ids(find(evidence, Query(*args, **{"sae": "toy/1-t"} | changes)))


def test_a_word_finds_titles_before_text_and_says_where(evidence):
    page = find(evidence, Query("board", sae="toy/1-t"))
    assert ids(page)[0] == "toy/1-t/0"
    assert page.hits[0].reasons[0] == "title: predicts “ «board»” by induction"
    assert page.hits[0].score > page.hits[1].score
    assert "promotes:  «board»" in page.hits[1].reasons


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("predicting boards", [0]),  # by stems
        ("induct*", [0]),
        ("indvct*", []),
        ('"board by induction"', [0]),
        ('"induction by board"', []),
        ('"predicting board"', []),  # a phrase is taken as written
        ("sentence", [4]),
        ("mat cat", [0, 1, 2, 3, 4]),  # every word must be found somewhere
        ("mat zebra", []),
        ('token:" mat"', [0, 1, 2, 3, 4]),
        ('token:"▁mat"', [0, 1, 2, 3, 4]),
        ("token:mat", []),  # the token has a space
        (r'"\n" sentence', [4]),
        ("members", [0, 1, 2, 3, 4]),  # promoted, and in the text
    ],
)
def test_words_prefixes_phrases_and_tokens(evidence, text, found):
    assert sorted(search(evidence, text)) == [LAYER_1[n] for n in found]


@pytest.mark.parametrize("text", ["***", "-", '""', "* *", "a:b", "(", "title:x", "é", "\\", "̈"])
def test_no_text_breaks_the_search(evidence, text):
    assert find(evidence, Query(text)).total >= 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("induct*", "title: predicts “ board” by «induction»"),
        ('"board by"', "title: predicts “ «board” by» induction"),
        ('token:" mat"', "fires on: « mat»"),
        (r'"\n"', "fires on: «\\n»"),
        ("dog", "example: <s> the «dog» sat\\n x. the"),
    ],
)
def test_a_reason_shows_the_match(evidence, text, reason):
    assert reason in find(evidence, Query(text, sae="toy/1-t")).hits[0].reasons


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"dead": True}, [0, 1, 2, 3, 4, 5]),
        ({"family": "induction"}, [0]),
        ({"disagree": True}, [3]),
        ({"disagree": False}, [0, 1, 2, 4]),
        ({"density_min": 0.1}, [2, 4]),
        ({"density_min": 0.02, "density_max": 0.05}, [0, 1]),
        ({"head": 1, "head_min": 0.6}, [0, 3]),
        ({"head": 1, "head_min": 0.6, "head_by": "weights"}, [0]),
        ({"support_min": 0.75}, [0, 1, 2, 3, 4]),
        ({"support_min": 0.8}, []),
        ({"model": "toy", "layer": 1}, [0, 1, 2, 3, 4]),
        ({"disagreement_min": 0.2}, [3]),
        ({"method": "tokens"}, [0, 1, 2, 3, 4]),
        ({"method": "llm"}, []),
        ({"score_min": 0.1}, []),
    ],
)
def test_filters(evidence, filters, found):
    page = find(evidence, Query(**{"sae": "toy/1-t"} | filters))
    assert ids(page) == [f"toy/1-t/{n}" for n in found]
    assert page.total == len(found)


@pytest.mark.parametrize(
    ("sort", "down", "up"),
    [
        ("density", [2, 4, 0, 1, 3], [3, 1, 0, 4, 2]),
        ("max_act", [0, 3, 1, 4, 2], [2, 4, 1, 3, 0]),
        ("mean_act", [0, 3, 1, 4, 2], [2, 4, 1, 3, 0]),
        ("head_share", [0, 1, 3, 2, 4], [4, 2, 3, 1, 0]),
        ("disagreement", [3, 1, 2, 0, 4], [4, 0, 1, 2, 3]),  # 1 and 2 tie: by id both ways
        ("support", [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ("id", [4, 3, 2, 1, 0], [0, 1, 2, 3, 4]),
    ],
)
def test_every_order_and_its_reverse(evidence, sort, down, up):
    assert search(evidence, sort=sort) == [f"toy/1-t/{n}" for n in down]
    assert search(evidence, sort=sort, descending=False) == [f"toy/1-t/{n}" for n in up]


def test_unknown_values_come_last_both_ways(evidence):
    for descending in (True, False):
        found = search(evidence, sort="disagreement", dead=True, descending=descending)
        assert found[-1] == "toy/1-t/5"


def test_counts_divide_the_matches(evidence):
    page = find(evidence, Query(density_max=0.2))
    assert page.total == 8
    assert page.facets["layer"] == (("0", 4), ("1", 4))
    assert page.facets["sae"] == (("toy/0-t", 4), ("toy/1-t", 4))
    assert page.facets["family"] == (("induction", 2),)
    assert sum(count for _, count in page.facets["head"]) == 8


@given(
    size=st.integers(2, 12),
    sort=st.sampled_from(get_args(Sort)),
    text=st.sampled_from(["", "the", "board", "mat*"]),
    head=st.sampled_from([None, 0, 1]),
    flags=st.tuples(st.booleans(), st.booleans()),
)
@settings(max_examples=25, deadline=None, database=None)
def test_pages_neither_skip_nor_repeat_under_any_order(evidence, size, sort, text, head, flags):
    query = Query(text, head=head, sort=sort, descending=flags[0], dead=flags[1])
    whole, parts, after = ids(find(evidence, replace(query, limit=100))), [], ""
    while True:
        page = find(evidence, replace(query, limit=size, after=after))
        parts += ids(page)
        after = page.after
        if not after:
            break
    assert parts == whole


def test_a_mark_of_another_snapshot_is_refused(store, tmp_path):
    after = find(open_store(store).now(), Query(limit=2)).after
    publish(store, [a_bundle(tmp_path / "second", run="run-2").path])
    with pytest.raises(QueryError, match="another snapshot than 000002"):
        find(open_store(store).now(), Query(limit=2, after=after))


@pytest.mark.parametrize(
    ("changes", "match", "error"),
    [
        ({"limit": 0}, "limit is 0", QueryError),
        ({"limit": 501}, "1 to 500", QueryError),
        ({"sort": "colour"}, "unknown sort 'colour'. known: relevance, density", QueryError),
        ({"head_by": "guess"}, "unknown head_by", QueryError),
        ({"density_min": 2}, "density_min is 2", QueryError),
        ({"head_min": float("nan")}, "head_min is nan", QueryError),
        ({"role": "hero"}, "unknown role 'hero'. known: induction", QueryError),
        ({"model": "gpt9"}, "no model 'gpt9'", NotFound),
        ({"sae": "toy/9-t"}, "no SAE toy/9-t", NotFound),
        ({"layer": 9}, "no SAE on layer 9. layers with SAEs: 0, 1", NotFound),
        ({"head": 2}, "no head 2. heads are 0 to 1", NotFound),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(evidence, changes, match, error):
    with pytest.raises(error, match=match):
        find(evidence, Query(**changes))


def test_features_that_people_write_about_come_first_and_tags_filter(evidence):
    third, first = parse_feature("toy/1-t/3"), parse_feature("toy/1-t/0")
    said = Said(reasons={third: "note: my «board»", parse_feature("toy/9-t/0"): "gone"})
    page = find(evidence, Query("board", sae="toy/1-t"), said)
    assert ids(page)[:2] == ["toy/1-t/3", "toy/1-t/0"]
    assert page.hits[0].reasons[0] == "note: my «board»"
    tagged = Said(tags={"mine": {third, first}})
    assert ids(find(evidence, Query(tag="mine"), tagged)) == ["toy/1-t/0", "toy/1-t/3"]
    assert ids(find(evidence, Query("induction", tag="mine"), tagged)) == ["toy/1-t/0"]
    assert find(evidence, Query(tag="nobody")).total == 0


def test_roles_tags_and_people_titles_narrow_a_search_and_are_counted(evidence):
    third, first = parse_feature("toy/1-t/3"), parse_feature("toy/1-t/0")
    heads = {parse_head("toy/L1H1"), parse_head("toy/L7H0")}
    said = Said(
        tags={"odd": {third}, "mine": {third, first}}, roles={"induction": heads}, named={third}
    )
    everything = find(evidence, Query(sae="toy/1-t"), said)
    counts = everything.facets
    assert counts["tag"] == (("mine", 2), ("odd", 1))
    assert counts["method"] == (("tokens", 5), ("human", 1))
    assert counts["role"] == (("induction", dict(counts["head"])["toy/L1H1"]),)
    found = find(evidence, Query(sae="toy/1-t", role="induction"), said)
    assert found.total == counts["role"][0][1]
    assert {hit.row.dfa_head for hit in found.hits} == {1}
    assert ids(find(evidence, Query(method="human"), said)) == ["toy/1-t/3"]
    assert ids(find(evidence, Query(method="human", tag="mine"), said)) == ["toy/1-t/3"]
    assert find(evidence, Query(role="syntax"), said).total == 0


def test_a_title_has_the_mean_score_of_its_scorers(store, tmp_path):
    key = {"sae": ["toy/1-t"], "feature": [1], "method": ["llm"], "model": ["m"], "prompt": ["p1"]}
    two = {name: values * 2 for name, values in key.items()}
    scores = two | {"scorer": ["detection", "fuzzing"], "score": [0.75, 1.0], "n": [10, 10]}
    part = a_part(tmp_path / "l", "run-l", label=a_label("cats"), label_score=scores)
    publish(store, [part.path])
    page = find(open_store(store).now(), Query(score_min=0.8))
    assert [(str(hit.row.id), hit.row.title_score) for hit in page.hits] == [("toy/1-t/1", 0.875)]
    assert page.facets["score"] == (("0.8", 1),)
    assert ids(find(open_store(store).now(), Query(sort="score", limit=1))) == ["toy/1-t/1"]


def test_what_fires_on_a_token_most_comes_first(store, tmp_path):
    """Feature 1 fires on " on" once in three top examples; all of feature 3's do."""
    tokens = {"ctx": [0, 0, 0], "pos": [4, 4, 4], "token": [4, 4, 4]}
    base = open_bundle(a_bundle(tmp_path / "base", "run-2", (1,)).path).read("example").to_pydict()
    for row, (feature, rank) in enumerate(zip(base["feature"], base["rank"], strict=True)):
        if feature == 3 or (feature, rank) == (1, 0):
            for name, values in tokens.items():
                base[name][row] = values[0]
    publish(store, [a_bundle(tmp_path / "next", "run-2", (1,), example=base).path])
    page = find(open_store(store).now(), Query('token:" on"', sae="toy/1-t"))
    assert ids(page) == ["toy/1-t/3", "toy/1-t/1"]


def test_words_whose_scores_are_kept_are_found_as_by_the_index(published, tmp_path):
    folder = tmp_path / "search"
    shutil.copytree(published / "store" / "snapshots" / "000001" / "search", folder)
    asked = Index(folder, new=True)
    keep_common(folder, 12, 1)
    kept = Index(folder)
    for text in ("board", "boards", "the", "board mat", "mat cat induct*", "the zebra", "x the"):
        clauses = words.parse(text)
        expected, found = asked.match(clauses), kept.match(clauses)
        assert found.row.tolist() == expected.row.tolist(), text
        assert found.score == pytest.approx(expected.score), text
    assert asked.frequent(10, 3) == ("board", "cat", "dog")
    assert np.count_nonzero(Common(folder).scores("board")) == 10


def test_many_threads_get_their_own_answers(evidence):
    queries = [Query(text, sort=sort) for text in ("board", "the", "") for sort in get_args(Sort)]
    alone = [ids(find(evidence, query)) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda query: ids(find(evidence, query)), queries * 4))
    assert together == alone * 4
