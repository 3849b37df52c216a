"""Prompts over HTTP: what the explorer says, within limits, and clear words where none is run."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from starlette.testclient import TestClient

from app.http.api import make_app
from app.http.explorers import Explorers
from app.http.settings import Settings
from atlas.api import Atlas
from atlas.client import Client
from atlas.errors import AtlasError, Busy, ModelError, NotFound, QueryError
from atlas.ids import FeatureId, HeadId
from atlas.prompt_types import Edit
from atlas.store.publish import publish
from ingest.job import run_job
from tests.ingest.jobs import a_job

TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """An atlas made by a whole job on a tiny model, its features and its weights."""
    folder = tmp_path_factory.mktemp("mined")
    publish(folder / "store", [run_job(a_job(folder), folder / "store").path])
    with Atlas.open(folder / "store") as atlas:
        yield atlas


@pytest.fixture(scope="module")
def url(mined):
    app = make_app(mined, Settings(prompts=True, prompt_seconds=120))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def explorers(mined, url):
    """One here and one over HTTP."""
    return mined.explorer(), Client(url).explorer()


@pytest.fixture(scope="module")
def feature(explorers) -> FeatureId:
    return max(explorers[0].features(TEXT).layers[-1].firings, key=lambda one: one.act).feature


SAME = {
    "features": lambda at, _: at.features(TEXT, top=3),
    "token ids": lambda at, _: at.features([0, 5, 6, 7]),
    "trace": lambda at, feature: at.trace(TEXT, feature),
    "step": lambda at, feature: at.step(TEXT, str(feature), 4, 2),
    "graph": lambda at, feature: at.graph(TEXT, feature, depth=2, top=3, skip_start=True),
    "qk": lambda at, _: at.qk(TEXT, 2, 1, 4, 2, top=5),
    "logit": lambda at, _: at.logit(TEXT, top=5),
    "ablate": lambda at, feature: at.ablate(
        TEXT, [Edit(feature, "zero"), Edit(HeadId("tiny", 0, 1), "scale", 0.5, (1, 2))]
    ),
    "compare": lambda at, _: at.compare(TEXT, "the dog sat on the log"),
}  # fmt: skip


@pytest.mark.parametrize("asked", SAME.values(), ids=SAME)
def test_the_server_says_what_the_explorer_says(explorers, feature, asked):
    here, there = (asked(at, feature) for at in explorers)
    assert there == here


def test_a_prompt_search_ranks_features_with_their_titles(mined, url):
    found = Client(url).fires_on(TEXT, limit=5)
    assert found == mined.fires_on(TEXT, limit=5)
    relative = [hit.relative for hit in found.hits]
    assert relative == sorted(relative, reverse=True)
    assert all(hit.relative == hit.act / hit.row.max_act for hit in found.hits)
    by_act = [hit.act for hit in mined.fires_on(TEXT, limit=5, by="activation").hits]
    assert by_act == sorted(by_act, reverse=True)
    assert found.fired > 5
    assert min(hit.pos for hit in mined.fires_on(TEXT, limit=100).hits) > 0


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (lambda at: at.features(""), QueryError, "the prompt is empty"),
        (lambda at: at.features("a b " * 4000), QueryError, r"tokens, the limit is 64"),
        (lambda at: at.features("x" * 10_000_000), QueryError, "limit is 20000"),
        (lambda at: at.features([0, 320]), QueryError, "token 320 is outside .* 0 to 319"),
        (lambda at: at.features([0, -1]), QueryError, "token -1 is outside"),
        (lambda at: at.features("a\x00b"), QueryError, r"control character U\+0000"),
        (lambda at: at.features("a\x1b[2J"), QueryError, r"control character U\+001B"),
        (lambda at: at.features(TEXT, top=101), QueryError, "top is 101. it may be 1 to 100"),
        (lambda at: at.features(TEXT, set="nope"), NotFound, "no SAE set nope"),
        (lambda at: at.trace(TEXT, "gpt2/5-att/1"), NotFound, "no model 'gpt2'"),
        (lambda at: at.trace(TEXT, "tiny/0-z/9999"), NotFound, "no"),
        (lambda at: at.trace(TEXT, "tiny/7-z/1"), NotFound, "no SAE"),
        (lambda at: at.step(TEXT, "tiny/2-z/1", 2, 4), AtlasError, "no SAE|comes after"),
        (lambda at: at.qk(TEXT, 1, 99, 3, 2), ModelError, "head"),
        (lambda at: at.ablate(TEXT, []), QueryError, "nothing to ablate"),
        (lambda at: at.ablate(TEXT, [Edit(HeadId("tiny", 0, 1), "zero")] * 17), QueryError, "17"),
        (lambda at: at.logit(TEXT, token=10**9), QueryError, "outside the vocabulary"),
    ],
)
def test_bad_input_is_answered_clearly_and_the_server_lives(explorers, asked, error, message):
    with pytest.raises(error, match=message):
        asked(explorers[1])
    assert explorers[1].features("the cat").prompt.tokens[-1] == " cat"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"prompt": 7}, "prompt must be"),
        ({"prompt": [1, "x"]}, "prompt"),
        ({"promt": TEXT}, "promt is unknown"),
        ({}, "prompt is missing"),
        ([], "must be an object"),
    ],
)
def test_a_body_that_is_none_is_refused(mined, body, told):
    client = TestClient(make_app(mined, Settings(prompts=True)), "http://localhost")
    answer = client.post("/prompt", json=body)
    assert (answer.status_code, told in answer.json()["error"]["message"]) == (400, True)


def test_a_server_that_runs_no_prompts_says_so(mined):
    client = TestClient(make_app(mined, Settings(prompts=False)), "http://localhost")
    answer = client.post("/prompt", json={"prompt": TEXT})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "NoPrompts")
    assert client.get("/prompt").json()["enabled"] is False


def test_the_limits_and_the_loaded_model_are_told(mined):
    client = TestClient(make_app(mined, Settings(prompts=True)), "http://localhost")
    told = client.get("/prompt").json()
    assert told == {
        "enabled": True, "models": ["tiny"], "loaded": None, "seconds": 30.0, "waiting": 8
    }  # fmt: skip
    assert client.post("/prompt", json={"prompt": TEXT}).status_code == 200
    assert client.get("/prompt").json()["loaded"] == "tiny"


def test_without_the_weights_of_an_sae_the_others_answer_and_say_so(tmp_path):
    publish(tmp_path / "store", [run_job(a_job(tmp_path), tmp_path / "store").path])
    for path in (tmp_path / "store" / "weights").iterdir():
        path.unlink()
    with Atlas.open(tmp_path / "store") as atlas:
        client = TestClient(make_app(atlas, Settings(prompts=True)), "http://localhost")
        answer = client.post("/prompt", json={"prompt": TEXT})
        assert (answer.status_code, answer.json()["layers"]) == (200, [])
        assert "are not at" in answer.json()["missing"][0]
        name = f"{atlas.saes()[0].id}/1"
        told = client.post("/prompt/trace", json={"prompt": TEXT, "feature": name})
        assert told.status_code >= 400
        assert "are not at" in told.json()["error"]["message"]


def test_only_so_many_prompts_wait_and_none_for_ever(mined):
    explorers, going, end = Explorers(60, 1), threading.Event(), threading.Event()

    def slow(explorer):
        going.set()
        end.wait(60)
        return explorer.model.info.id

    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(explorers.run, mined, None, slow)
        assert going.wait(60)
        explorers.seconds = 0.2
        with pytest.raises(Busy, match=r"no answer within 0.2 s"):
            explorers.run(mined, None, slow)
        explorers._places.acquire()  # as somebody who waits
        with pytest.raises(Busy, match="too many prompts are waiting"):
            explorers.run(mined, None, slow)
        explorers._places.release()
        end.set()
        assert first.result() == "tiny"
    explorers.seconds = 60
    assert explorers.run(mined, None, lambda at: at.model.info.id) == "tiny"
