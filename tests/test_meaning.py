"""Search by meaning: beside words where a model is set, said where none is, never in the way."""

import time

import numpy as np
import pytest

from atlas.api import Atlas
from atlas.errors import LabelError, NotFound
from atlas.meaning import Meaning
from atlas.store.find import find
from atlas.store.meaning import Wanted, fuse, nearest
from atlas.store.publish import publish
from atlas.store.reader import open_store
from atlas.store.search import Matches
from atlas.types import Query
from tests.builders import TITLES, a_bundle
from tests.store.parts import a_part

DIM = 4


def unit(*numbers):
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """Features 0 to 4 of one SAE with vectors that turn away from the first axis step by step."""
    folder = tmp_path_factory.mktemp("meaning")
    publish(folder / "store", [a_bundle(folder / "bundle").path])
    with Atlas.open(folder / "store") as atlas:
        todo = [one for one in atlas.to_embed("m") if str(one.feature.sae) == "toy/1-t"]
    rows = {
        "sae": ["toy/1-t"] * len(todo),
        "feature": [one.feature.index for one in todo],
        "model": ["m"] * len(todo),
        "text": [one.text for one in todo],
        "vector": [unit(1, one.feature.index, 0, 0).tolist() for one in todo],
    }
    publish(folder / "store", [a_part(folder / "part", "run-e", label_embedding=rows).path])
    return open_store(folder / "store").now()


def ids(page):
    return [str(hit.row.id) for hit in page.hits]


def test_the_nearest_labels_come_with_their_cosine(evidence):
    (number,) = [sae.number for sae in evidence.saes if str(sae.id) == "toy/1-t"]
    found = nearest(evidence, Wanted("m", unit(1, 0, 0, 0)), [number])
    cosines = found.by_row()
    assert cosines[evidence.lists.rows(number, 0)] == pytest.approx(1)
    assert cosines[evidence.lists.rows(number, 1)] == pytest.approx(1 / np.sqrt(2))
    assert len(nearest(evidence, Wanted("m", unit(1, 0, 0, 0)), [99]).row) == 0


def test_words_and_meaning_are_merged_by_rank():
    words = Matches(np.array([5, 6]), np.array([9.0, 3.0]))
    near = Matches(np.array([6, 7]), np.array([0.9, 0.8]))
    merged = {5: 1 / 61, 6: pytest.approx(1 / 62 + 1 / 61), 7: 1 / 62}
    assert fuse(words, near).by_row() == merged


def test_a_search_finds_what_no_word_of_it_says_and_tells_why(evidence):
    wanted = Wanted("m", unit(1, 4, 0, 0))
    page = find(evidence, Query("zebra"), wanted=wanted)
    assert (page.searched, page.unsearched) == (("words", "meaning"), "")
    assert ids(page)[0] == "toy/1-t/4"
    assert page.hits[0].reasons == ("meaning: 1.00 like the label",)
    assert find(evidence, Query("zebra", by="words"), wanted=wanted).total == 0
    both = find(evidence, Query("induction"), wanted=Wanted("m", unit(1, 0, 0, 0)))
    assert ids(both)[0] == "toy/1-t/0"
    assert both.total == len(TITLES) + 1  # and the same word in the other SAE
    only = find(evidence, Query("induction", by="meaning"), wanted=wanted)
    assert (only.searched, ids(only)[0]) == (("meaning",), "toy/1-t/4")


def test_a_model_that_was_prepared_is_opened_once():
    opened = []

    class Slow:
        model = "m"

        def embed(self, texts):
            return np.array([unit(1, 0)] * len(texts))

    def open_slowly():
        opened.append(time.sleep(0.05))
        return Slow()

    meaning = Meaning(open_slowly)
    meaning.prepare()
    assert isinstance(meaning.of("words"), Wanted)
    assert len(opened) == 1


def test_pages_of_a_merged_search_neither_skip_nor_repeat(evidence):
    wanted, after, seen = Wanted("m", unit(1, 2, 0, 0)), "", []
    for _ in range(9):
        page = find(evidence, Query("board", limit=2, after=after), wanted=wanted)
        seen, after = seen + ids(page), page.after
        if not after:
            break
    assert len(seen) == len(set(seen)) == page.total


def test_filters_hold_for_meaning_too(evidence):
    wanted = Wanted("m", unit(1, 0, 0, 0))
    assert find(evidence, Query("zebra", layer=0), wanted=wanted).total == 0
    assert ids(find(evidence, Query("zebra", family="induction"), wanted=wanted)) == ["toy/1-t/0"]


@pytest.mark.parametrize("text", ['token:" mat"', "induct*", ""])
def test_exact_tokens_and_prefixes_are_not_sought_by_meaning(evidence, text):
    page = find(evidence, Query(text), wanted=Wanted("m", unit(1, 0, 0, 0)))
    assert "meaning" not in page.searched


def test_another_models_vectors_are_never_compared(evidence):
    page = find(evidence, Query("board"), wanted=Wanted("other", unit(1, 0, 0, 0)))
    assert page.searched == ("words",)
    assert page.unsearched == "no label is embedded by other. there are vectors of m"
    with pytest.raises(NotFound, match="with 4 numbers each, the search with 2"):
        nearest(evidence, Wanted("m", unit(1, 0)), [1])


def test_without_a_model_the_box_says_so_and_works(evidence, monkeypatch):
    monkeypatch.delenv("ATLAS_EMBED_URL", raising=False)
    monkeypatch.delenv("ATLAS_EMBED_MODEL", raising=False)
    page = Atlas.open(evidence.store).search(Query("board"))
    assert (page.searched, page.total > 0) == (("words",), True)
    assert "ATLAS_EMBED_MODEL" in page.unsearched


class Failing:
    """An endpoint that fails until it is well."""

    model = "m"

    def __init__(self):
        self.asked, self.is_well = 0, False

    def embed(self, texts):
        self.asked += 1
        if not self.is_well:
            raise LabelError("no endpoint answers")
        return np.stack([unit(1, len(text), 0, 0) for text in texts])


def test_an_endpoint_that_fails_is_told_once_and_then_left_alone_for_a_while():
    endpoint, now = Failing(), [0.0]
    meaning = Meaning(lambda: endpoint, lambda: now[0])
    assert [meaning.of(text) for text in ("a", "b")] == ["no endpoint answers"] * 2
    assert endpoint.asked == 1
    endpoint.is_well, now[0] = True, 31.0
    assert meaning.of("a") is meaning.of("a")
    assert endpoint.asked == 2
