"""The query API: everything the pages show, one error shape, caching by snapshot."""

import io

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from app.http.api import make_app
from app.http.settings import Settings, Tokens, read_tokens
from atlas.api import Atlas
from atlas.errors import ConfigError
from atlas.store.publish import publish
from tests.builders import a_bundle


@pytest.fixture
def store(bundle_path, tmp_path):
    """A store of its own for every test here: they write."""
    publish(tmp_path / "store", [bundle_path])
    return tmp_path / "store"


@pytest.fixture
def atlas(store):
    with Atlas.open(store) as opened:
        yield opened


@pytest.fixture
def serve(atlas):
    """A client of a server with these settings."""

    def started(**settings):
        app = make_app(atlas, Settings(**settings))
        return TestClient(app, "http://localhost", raise_server_exceptions=False)

    return started


@pytest.fixture
def client(serve):
    return serve()


EVERYTHING = [
    "/",
    "/snapshot",
    "/snapshots",
    "/stats",
    "/models",
    "/models/toy",
    "/models/toy/vocab",
    "/runs",
    "/runs/run-1",
    "/saes",
    "/saes/toy/0-t",
    "/saes/toy/0-t/densities",
    "/saes/toy/0-t/weights",
    "/features/toy/0-t/0",
    "/heads/toy",
    "/heads/toy/L0H1",
    "/search?text=board",
    "/pairs?dst=%20board",
    "/compare?a=toy/0-t/0&b=toy/0-t/3",
    "/compare/heads?a=toy/L0H0&b=toy/L0H1",
    "/jump?text=0.1",
    "/contexts/0",
    "/random",
    "/progress",
    "/schema",
    "/schema?format=markdown",
    "/cookbook",
    "/sql?query=SELECT%201",
    "/notes/on/toy/0-t/0",
    "/notes/recent",
    "/notes/tags",
    "/notes/roles",
    "/notes/export",
    "/notes/search?text=x",
    "/openapi.json",
    "/docs",
]


@pytest.mark.parametrize("address", EVERYTHING)
def test_every_address_answers_and_names_the_snapshot(client, address):
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Atlas-Snapshot"] == "000001"
    assert client.head(address).status_code == 200


def test_a_feature_comes_with_everything_its_page_shows(client):
    page = client.get("/features/toy/0-t/0").json()["feature"]
    assert page["row"]["id"] == "toy/0-t/0"
    assert page["row"]["title"] == "predicts “ board” by induction"
    assert [head["dfa_share"] for head in page["heads"]] == pytest.approx([0.05, 0.95])
    assert len(page["examples"]) == 3
    assert page["examples"][0]["sources"][0]["pos"] == 2
    assert {label["side"] for label in page["labels"]} == {"title", "when", "fetches", "says"}
    assert page["neighbours"][0]["row"]["id"] == "toy/0-t/3"
    assert page["run"]["config"]["sae"]["k"] == 2


def test_search_pages_neither_skip_nor_repeat(client):
    seen, address = [], "/search?limit=3&sort=density"
    while address:
        page = client.get(address).json()
        seen += [hit["row"]["id"] for hit in page["hits"]]
        address = page["next"]
    assert len(seen) == len(set(seen)) == page["total"] == 10


@pytest.mark.parametrize(
    ("address", "status", "kind", "message"),
    [
        ("/features/toy/0-t/99", 404, "NotFound", "0 to 5"),
        ("/features/toy/0-t/x", 404, "NotFound", "not an id"),
        ("/models/gpt2", 404, "NotFound", "gpt2"),
        ("/nowhere", 404, "NotFound", "nothing at /nowhere"),
        ("/search?colour=red", 400, "QueryError", "unknown parameter 'colour'"),
        ("/search?limit=0", 400, "QueryError", "limit"),
        ("/search?limit=3&limit=4", 400, "QueryError", "given 2 times"),
        ("/search?sort=beauty", 400, "QueryError", "sort"),
        ("/search?after=zzz", 400, "QueryError", "page mark"),
        ("/search?snapshot=000099", 404, "NotFound", "000099"),
        ("/sql?query=DROP%20TABLE%20feature", 400, "QueryError", "SELECT"),
        ("/sql", 400, "QueryError", "query"),
        ("/cookbook/nothing", 404, "NotFound", "nothing"),
        ("/notes/nothing", 404, "NotFound", "nothing"),
    ],
)
def test_every_error_has_the_one_shape(client, address, status, kind, message):
    answer = client.get(address)
    error = answer.json()["error"]
    assert (answer.status_code, error["kind"]) == (status, kind)
    assert message in error["message"] + error["hint"]
    assert "Traceback" not in answer.text


def test_an_answer_that_the_client_has_is_not_sent_again(client):
    first = client.get("/features/toy/0-t/0")
    again = client.get("/features/toy/0-t/0", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_new_snapshot_is_served_at_the_next_request_and_the_old_one_by_name(
    client, store, tmp_path
):
    etag = client.get("/stats").headers["ETag"]
    publish(
        store, [a_bundle(tmp_path / "other", run="run-2", layers=(1,), sae={"fvu": [0.5]}).path]
    )
    fresh = client.get("/stats", headers={"If-None-Match": etag})
    assert (fresh.status_code, fresh.headers["X-Atlas-Snapshot"]) == (200, "000002")
    assert client.get("/saes/toy/1-t").json()["evaluation"]["fvu"] == 0.5
    assert client.get("/saes/toy/1-t?snapshot=000001").json()["evaluation"]["fvu"] == 0.25


def test_sql_answers_in_every_form(client):
    query = {"query": "SELECT id, layer FROM sae WHERE layer = $layer", "parameters": {"layer": 1}}
    assert client.post("/sql", json=query).json()["rows"] == [["toy/1-t", 1]]
    csv = client.post("/sql?format=csv", json=query)
    assert csv.text.split() == ["id,layer", "toy/1-t,1"]
    table = pq.read_table(io.BytesIO(client.post("/sql?format=parquet", json=query).content))
    assert table.to_pylist() == [{"id": "toy/1-t", "layer": 1}]


def test_sql_says_when_rows_were_left_out(client):
    found = client.get("/sql?query=SELECT%20*%20FROM%20feature&limit=5").json()
    assert (len(found["rows"]), found["truncated"], found["snapshot"]) == (5, True, "000001")


TAG = {"kind": "tag", "content": {"target": "toy/0-t/0", "name": "odd"}}


def test_a_note_is_written_changed_and_undone_under_a_name(client):
    comment = {"kind": "comment", "content": {"target": "toy/0-t/0", "text": "first"}}
    ada = {"X-Author": "ada"}
    note = client.post("/notes", json=comment, headers=ada)
    assert note.status_code == 201, note.text
    key = note.json()["id"]
    changed = {"content": {**comment["content"], "text": "second"}, "based_on": 1}
    assert client.put(f"/notes/{key}", json=changed, headers=ada).json()["version"] == 2
    stale = client.put(f"/notes/{key}", json=changed, headers=ada)
    assert (stale.status_code, stale.json()["error"]["kind"]) == (409, "Conflict")
    undone = client.post(f"/notes/{key}/undo", json={"based_on": 2}, headers=ada).json()
    assert undone["content"]["text"] == "first"
    assert len(client.get(f"/notes/{key}/history").json()) == 3
    assert client.delete(f"/notes/{key}?based_on=3", headers=ada).status_code == 204


def test_a_tag_filters_a_search(client):
    assert client.post("/notes", json=TAG, headers={"X-Author": "ada"}).status_code == 201
    hits = client.get("/search?tag=odd").json()["hits"]
    assert [hit["row"]["id"] for hit in hits] == ["toy/0-t/0"]


def test_a_note_without_an_author_or_with_strange_content_is_refused(client):
    assert client.post("/notes", json=TAG).status_code == 422
    strange = {"kind": "tag", "content": {"target": "toy/0-t/0", "colour": "red"}}
    answer = client.post("/notes", json=strange, headers={"X-Author": "ada"})
    assert answer.status_code == 422
    unknown = client.post("/notes", json={**TAG, "kind": "song"}, headers={"X-Author": "ada"})
    assert "'song'" in unknown.json()["error"]["message"]


def test_where_tokens_are_set_only_their_owners_write(serve, tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# people\n0123456789abcdef0123 Ada\n")
    client = serve(tokens=read_tokens(path))
    assert client.post("/notes", json=TAG, headers={"X-Author": "eve"}).status_code == 401
    token = {"Authorization": "Bearer 0123456789abcdef0123"}
    assert client.post("/notes", json=TAG, headers=token).json()["changed_by"] == "Ada"
    assert client.get("/models").status_code == 200


def test_a_read_only_server_takes_no_notes(serve):
    client = serve(read_only=True, tokens=Tokens({}))
    assert client.post("/notes", json=TAG).status_code == 403


@pytest.mark.parametrize("content", ["", "# nobody\n", "short Ada\n", "0123456789abcdef0123\n"])
def test_a_token_file_that_makes_no_sense_is_refused(tmp_path, content):
    (tmp_path / "tokens").write_text(content)
    with pytest.raises(ConfigError, match="token"):
        read_tokens(tmp_path / "tokens")


def test_requests_are_bounded_in_rate_size_and_host(serve):
    slow = serve(per_minute=3)
    statuses = [slow.get("/stats").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    small = serve(body_bytes=100)
    assert small.post("/sql", json={"query": "x" * 200}).status_code == 413
    assert serve().get("/stats", headers={"Host": "evil.example"}).status_code == 421


def test_long_answers_are_compressed_and_origins_are_opt_in(serve):
    client = serve(origins=("https://a.example",))
    answer = client.get("/schema", headers={"Origin": "https://a.example"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    other = client.get("/schema", headers={"Origin": "https://b.example"})
    assert "Access-Control-Allow-Origin" not in other.headers
