"""Labels as vectors: through a real server, stored beside the labels, made once."""

import shutil

import numpy as np
import pytest

from atlas.api import Atlas
from atlas.embed import EmbedSettings, open_embedder, settings
from atlas.errors import ConfigError, LabelError
from atlas.store.publish import publish
from ingest.embed import embed_labels
from tests.builders import a_bundle
from tests.store.parts import a_label, a_part


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed")
    publish(folder / "store", [a_bundle(folder / "first", layers=(1,)).path])
    return folder / "store"


@pytest.fixture
def store(published, tmp_path):
    return shutil.copytree(published, tmp_path / "store")


@pytest.fixture
def embedder(endpoint):
    return open_embedder(EmbedSettings(endpoint.url, "small"))


def test_vectors_have_length_one_and_the_order_of_their_texts(embedder):
    found = embedder.embed(["cat sat", "dog", "cat sat"])
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1])
    assert found[0] @ found[2] == pytest.approx(1)
    assert found[0] @ found[1] < 0.9


def test_every_label_gets_a_vector_once(store, embedder, endpoint):
    with Atlas.open(store) as atlas:
        publish(store, [embed_labels(atlas, embedder).path])
        assert embed_labels(atlas, embedder) is None
        rows = atlas.sql("SELECT feature, text, len(vector) FROM label_embedding").rows
        assert [row[0] for row in rows] == [0, 1, 2, 3, 4]
        assert rows[0][1].startswith("predicts “ board” by induction | fetches: fetches: predicts")
        assert {row[2] for row in rows} == {16}
        assert endpoint.seen()["counts"] == {"embed": 1}


def test_a_changed_label_loses_its_vector_and_gets_a_new_one(store, embedder, tmp_path):
    with Atlas.open(store) as atlas:
        publish(store, [embed_labels(atlas, embedder).path])
        score = {"sae": ["toy/1-t"], "feature": [1], "method": ["llm"], "model": ["m"]}
        score |= {"prompt": ["p1"], "scorer": ["detection"], "score": [0.9], "score_low": [0.8]}
        part = a_part(tmp_path / "p", "labels", label=a_label("better"), label_score=score)
        publish(store, [part.path])
        assert [one.text for one in atlas.to_embed("small")] == ["better"]
        publish(store, [embed_labels(atlas, embedder).path])
        assert atlas.to_embed("small") == ()
        (row,) = atlas.sql("SELECT count(*), count(DISTINCT feature) FROM label_embedding").rows
        assert row == (5, 5)


def test_a_vector_per_token_is_pooled(embedder, endpoint):
    plain = embedder.embed(["cat sat", "dog"])
    endpoint.plan("per token")
    assert embedder.embed(["cat sat", "dog"]) == pytest.approx(plain)


def test_a_limit_is_waited_out(embedder, endpoint):
    endpoint.plan("429", "500")
    assert embedder.embed(["cat"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("behaviour", "match"),
    [
        ("401", "does not embed with small: .*wrong key"),
        ("too few", "answered 1 vectors for 2 texts"),
        ("other json", "answered something else than vectors"),
        ("html", "answered something else than vectors"),
    ],
)
def test_an_endpoint_that_cannot_embed_is_said(embedder, endpoint, behaviour, match):
    endpoint.plan(behaviour)
    with pytest.raises(LabelError, match=match):
        embedder.embed(["cat", "dog"])


def test_the_key_is_not_in_what_is_said(endpoint):
    endpoint.plan("401")
    given = EmbedSettings(endpoint.url, "small", "sk-secret")
    with pytest.raises(LabelError) as caught:
        open_embedder(given).embed(["cat"])
    assert "sk-secret" not in f"{caught.value} {given!r}"


def test_settings_come_from_the_environment_and_the_official_key_stays_home():
    env = {"ATLAS_EMBED_URL": "http://h:1/v1", "ATLAS_EMBED_MODEL": "m", "OPENAI_API_KEY": "sk"}
    assert settings(env) == EmbedSettings("http://h:1/v1", "m", "none")
    official = env | {"ATLAS_EMBED_URL": "https://api.openai.com/v1"}
    assert settings(official).key == "sk"
    assert settings({}) is None


@pytest.mark.parametrize(
    ("env", "match"),
    [
        ({"ATLAS_EMBED_URL": "http://h"}, "names no model"),
        ({"ATLAS_EMBED_URL": "ftp://h", "ATLAS_EMBED_MODEL": "m"}, "not the URL"),
        ({"ATLAS_EMBED_URL": "http://u:p@h", "ATLAS_EMBED_MODEL": "m"}, "carries a secret"),
    ],
)
def test_wrong_settings_are_refused(env, match):
    with pytest.raises(ConfigError, match=match):
        settings(env)
