"""Everything wrong in one shape, with a fitting status and never a traceback."""

import shutil

import pytest
from starlette.testclient import TestClient

from app.http.api import make_app
from atlas.api import Atlas
from atlas.errors import Busy
from atlas.store.publish import publish

WRONG = [
    ("/nothing", 404, "NotFound", "nothing at /nothing"),
    ("/models/none", 404, "NotFound", "no model 'none'"),
    ("/runs/none", 404, "NotFound", "no run 'none'"),
    ("/saes/toy/9-t", 404, "NotFound", "no SAE toy/9-t"),
    ("/saes/toy/t", 404, "NotFound", "not an SAE id: 'toy/t'"),
    ("/features/toy/1-t/6", 404, "NotFound", "no feature toy/1-t/6"),
    ("/features/toy/1-t/-1", 404, "NotFound", "not an id: 'toy/1-t/-1'"),
    ("/features/toy/1-t/" + "9" * 5000, 404, "NotFound", "not an id"),
    ("/features/toy/1-t/..%2f..%2fetc", 404, "NotFound", "nothing at"),
    ("/features/toy/1-t/0;DROP TABLE", 404, "NotFound", "not an id"),
    ("/heads/toy/L5H0", 404, "NotFound", "no head toy/L5H0"),
    ("/heads/toy/L1H0?limit=-1", 400, "QueryError", "parameter limit"),
    ("/contexts/99", 404, "NotFound", "no context 99"),
    ("/contexts/99999999999999999999", 400, "QueryError", "path parameter ctx"),
    ("/contexts/x", 400, "QueryError", "path parameter ctx"),
    ("/search?layer=x", 400, "QueryError", "query parameter layer"),
    ("/search?layer=99999999999999999999", 400, "QueryError", "query parameter layer"),
    ("/search?sort=colour", 400, "QueryError", "query parameter sort"),
    ("/search?limit=501", 400, "QueryError", "query parameter limit"),
    ("/search?density_min=nan", 400, "QueryError", "query parameter density_min"),
    ("/search?after=junk", 400, "QueryError", "not a page mark: 'junk'"),
    ("/search?colour=red", 400, "QueryError", "unknown parameter 'colour'"),
    ("/search?layer=1&layer=1", 400, "QueryError", "'layer' is given 2 times"),
    ("/search?model=none", 404, "NotFound", "no model 'none'"),
    ("/models?x", 400, "QueryError", "unknown parameter 'x'"),
    ("/models?snapshot=../../etc", 400, "QueryError", "query parameter snapshot"),
    ("/models?snapshot=000002", 404, "NotFound", "no snapshot '000002'"),
    ("/pairs", 400, "QueryError", "no pair asked for"),
    ("/compare?a=toy/1-t/0", 400, "QueryError", "query parameter b"),
    ("/compare?a=toy/1-t/0&b=toy", 404, "NotFound", "not a feature id"),
    ("/notes/xyz", 404, "NotFound", "no note 'xyz'"),
    ("/notes/on/what%20is", 404, "NotFound", "not an id"),
    ("/notes/kinds/songs", 400, "QueryError", "path parameter kind"),
    ("/sql", 400, "QueryError", "query parameter query"),
    ("/sql?query=DROP TABLE feature", 400, "QueryError", "only SELECT is allowed"),
    ("/sql?query=SELECT 1&parameters=[", 400, "QueryError", "parameters are not JSON"),
    ("/sql?query=SELECT 1&parameters=3", 400, "QueryError", "parameters are no object"),
    ("/sql?query=SELECT 1&format=xls", 400, "QueryError", "query parameter format"),
    ("/sql?query=SELECT nothing", 400, "QueryError", "nothing"),
    ("/cookbook/nothing", 404, "NotFound", "no recipe 'nothing'"),
    ("/cookbook/sae_quality/rows?parameters={\"a\": 1}", 400, "QueryError", "no parameter a"),
]  # fmt: skip


@pytest.mark.parametrize(("address", "status", "kind", "message"), WRONG)
def test_a_wrong_request_is_answered_in_one_shape(client, address, status, kind, message):
    reply = client.get(address)
    assert (reply.status_code, reply.headers["Content-Type"]) == (status, "application/json")
    (error,) = reply.json().values()
    assert (error["kind"], set(error)) == (kind, {"kind", "message", "hint"})
    assert message in error["message"]
    assert reply.headers["Cache-Control"] == "no-store"
    assert "Traceback" not in reply.text


HOSTILE = ["%00", "%ff%fe", "'; DROP TABLE x; --", '"', "*", "«", "a" * 9000]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_only_words(client, text):
    assert client.get(f"/search?text={text}").status_code in (200, 400)
    assert client.get(f"/jump?text={text}").status_code == 200
    assert client.get(f"/notes/search?text={text}").status_code == 200


def test_a_method_that_does_not_work_says_which_do(client):
    reply = client.post("/models")
    assert (reply.status_code, reply.json()["error"]["kind"]) == (405, "MethodNotAllowed")
    assert reply.headers["Allow"] == "GET, HEAD"


def test_a_damaged_store_says_so_without_its_path(bundle_path, tmp_path):
    store = tmp_path / "secret-place"
    publish(store, [bundle_path])
    with Atlas.open(store) as atlas:
        client = TestClient(make_app(atlas), "http://localhost")
        shutil.rmtree(store / "weights")
        reply = client.get("/saes/toy/1-t/weights")
    assert (reply.status_code, reply.json()["error"]["kind"]) == (503, "StoreError")
    assert "the weights of toy/1-t are not at the store" in reply.json()["error"]["message"]
    assert "secret-place" not in reply.text


def test_a_mistake_of_the_server_tells_nothing_but_that(atlas):
    app = make_app(atlas)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret")

    reply = TestClient(app, "http://localhost", raise_server_exceptions=False).get("/broken")
    assert (reply.status_code, reply.json()["error"]["kind"]) == (500, "InternalError")
    assert "secret" not in reply.text


def test_being_busy_asks_to_come_again(atlas):
    app = make_app(atlas)

    @app.get("/busy")
    def busy() -> None:
        raise Busy("too many queries are waiting", "try again in a moment")

    reply = TestClient(app, "http://localhost").get("/busy")
    assert (reply.status_code, reply.json()["error"]["kind"]) == (503, "Busy")
    assert reply.headers["Retry-After"] == "1"
