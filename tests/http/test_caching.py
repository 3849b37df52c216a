"""What caches are told: ETags by snapshot and notes, older snapshots, HEAD and gzip."""

import pytest
from starlette.testclient import TestClient

from app.http.api import make_app
from atlas.api import Atlas
from atlas.note_types import Tag
from atlas.store.publish import publish
from tests.builders import a_bundle


@pytest.fixture
def growing(bundle_path, tmp_path):
    """A client of a store of this test's own, and what publishes into it."""
    store = tmp_path / "store"
    publish(store, [bundle_path])
    with Atlas.open(store) as atlas:
        client = TestClient(make_app(atlas), "http://localhost")
        yield client, lambda: publish(store, [a_bundle(tmp_path / "more", "run-2").path]), atlas


@pytest.mark.parametrize("address", ["/models", "/features/toy/1-t/0", "/search", "/notes/tags"])
def test_an_answer_that_is_known_is_not_sent_again(client, address):
    etag = client.get(address).headers["ETag"]
    again = client.get(address, headers={"If-None-Match": f'"x", {etag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert again.headers["X-Atlas-Snapshot"] == "000001"


def test_a_new_snapshot_has_new_answers(growing):
    client, publish_more, _ = growing
    old = client.get("/runs")
    publish_more()
    new = client.get("/runs", headers={"If-None-Match": old.headers["ETag"]})
    assert (new.status_code, new.headers["X-Atlas-Snapshot"]) == (200, "000002")
    assert [run["id"] for run in new.json()] == ["run-2"]


def test_a_note_changes_the_feature_but_not_the_evidence(growing):
    client, _, atlas = growing
    feature, models = client.get("/features/toy/1-t/0"), client.get("/models")
    atlas.notes.add(Tag("toy/1-t/0", "x"), "Ann")
    known = [{"If-None-Match": one.headers["ETag"]} for one in (feature, models)]
    assert client.get("/features/toy/1-t/0", headers=known[0]).status_code == 200
    assert client.get("/models", headers=known[1]).status_code == 304


def test_an_older_snapshot_answers_while_it_is_kept(growing):
    client, publish_more, _ = growing
    publish_more()
    old = client.get("/runs?snapshot=000001")
    assert [run["id"] for run in old.json()] == ["run-1"]
    assert old.headers["X-Atlas-Snapshot"] == "000001"
    assert old.headers["Cache-Control"].startswith("public, max-age=")
    assert client.get("/runs").headers["Cache-Control"] == "no-cache"
    assert client.get("/snapshots").json() == ["000002", "000001"]


def test_pages_stay_on_the_snapshot_that_began_them(growing):
    client, publish_more, _ = growing
    first = client.get("/search?limit=7").json()
    publish_more()
    second = client.get(first["next"]).json()
    assert (second["snapshot"], second["next"]) == ("000001", None)
    assert len(first["hits"]) + len(second["hits"]) == second["total"]


def test_a_snapshot_that_is_not_kept_is_not_found(client):
    error = client.get("/models?snapshot=000009").json()["error"]
    assert error == {
        "kind": "NotFound",
        "message": "no snapshot '000009'",
        "hint": "kept are 000001",
    }


def test_random_is_never_kept_unless_it_has_a_seed(client):
    assert client.get("/random").headers["Cache-Control"] == "no-store"
    assert "ETag" not in client.get("/random").headers
    assert "ETag" in client.get("/random?seed=1").headers


@pytest.mark.parametrize("address", ["/", "/features/toy/1-t/0", "/nothing", "/docs"])
def test_head_is_get_without_its_body(client, address):
    got, head = client.get(address), client.head(address)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers == got.headers


def test_long_answers_are_packed_for_those_who_can_unpack(client):
    packed = client.get("/schema", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/schema", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert "Accept-Encoding" in packed.headers["Vary"]


def test_reading_makes_no_notes_file(bundle_path, tmp_path):
    publish(tmp_path / "store", [bundle_path])
    with Atlas.open(tmp_path / "store") as atlas:
        client = TestClient(make_app(atlas), "http://localhost")
        assert client.get("/features/toy/1-t/0").json()["notes"]["tags"] == []
        assert client.get("/search?text=board&tag=x").json()["total"] == 0
    assert not (tmp_path / "store" / "notes.sqlite").exists()
