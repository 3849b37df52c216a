"""The synthetic atlas of the benchmarks can be published and answers every request."""

import random

from atlas.api import Atlas
from atlas.store.publish import publish
from tests.benchmarks.serving import requests
from tests.benchmarks.synthetic import Size, make


def test_a_small_synthetic_atlas_answers_every_request(tmp_path):
    size = Size(saes=2, features=60, examples=25, contexts=300, length=32, heads=4, vocab=20_000)
    publish(tmp_path / "store", make(tmp_path / "bundles", size))
    with Atlas.open(tmp_path / "store") as atlas:
        assert atlas.stats().features == 120
        assert "SYNTHETIC" in atlas.models()[0].name
        for ask in requests(atlas, random.Random(0)).values():
            assert ask() is not None
