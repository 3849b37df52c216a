"""SQL over HTTP: permalinks, formats, limits and saved queries."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

QUERY = "SELECT id, firings FROM feature_card WHERE firings > $least ORDER BY firings DESC, id"
ASKED = {"query": QUERY, "parameters": '{"least": 100}', "limit": "3"}


def test_rows_come_with_what_is_needed_to_cite_them(client):
    reply = client.get("/sql", params=ASKED)
    found = reply.json()
    assert (found["columns"], found["types"]) == (["id", "firings"], ["VARCHAR", "BIGINT"])
    assert found["rows"][:2] == [["toy/0-t/2", 900], ["toy/1-t/2", 900]]
    assert (found["truncated"], found["snapshot"], found["query"]) == (True, "000001", QUERY)
    assert reply.headers["X-Atlas-Truncated"] == "true"


def test_a_post_answers_its_permalink(client):
    body = {"query": QUERY, "parameters": {"least": 100}, "limit": 3}
    posted = client.post("/sql", json=body)
    again = client.get(posted.headers["Content-Location"])
    assert again.json()["rows"] == posted.json()["rows"]
    assert "snapshot=000001" in posted.headers["Content-Location"]
    positional = client.post("/sql", json={"query": "SELECT ? AS a", "parameters": [[1, 2]]})
    assert positional.json()["rows"] == [[[1, 2]]]


def test_every_format_holds_the_same_rows(client):
    def fetched(form):
        return client.get("/sql", params=ASKED | {"format": form})

    rows = fetched("json").json()["rows"]
    assert fetched("csv").text.splitlines()[1] == "toy/0-t/2,900"
    assert fetched("ndjson").text.splitlines()[0] == '{"id": "toy/0-t/2", "firings": 900}'
    parquet = pq.read_table(io.BytesIO(fetched("parquet").content))
    arrow = pa.ipc.open_stream(fetched("arrow").content).read_all()
    for table in (parquet, arrow):
        assert [list(row.values()) for row in table.to_pylist()] == rows
        assert b"feature_card" in table.schema.metadata[b"feature-atlas"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/json;q=0.2, application/x-ndjson", "application/x-ndjson"),
        ("text/csv;q=0, application/json;q=0.1", "application/json"),
        ("text/csv;q=junk", "application/json"),
        ("", "application/json"),
    ],
)
def test_a_format_may_be_asked_for_by_header(client, accept, kind):
    reply = client.get("/sql", params={"query": "SELECT 1 AS a"}, headers={"Accept": accept})
    assert (reply.headers["Content-Type"], reply.headers["Vary"][:6]) == (kind, "Accept")


def test_people_s_notes_stand_beside_the_evidence(client, atlas):
    from atlas.note_types import RoleClaim

    atlas.notes.add(RoleClaim("toy/L1H1", "induction"), "Ann")
    query = "SELECT target, role FROM role_claim"
    assert client.get("/sql", params={"query": query}).json()["rows"] == [["toy/L1H1", "induction"]]


def test_a_caller_may_ask_for_less_time(client):
    slow = {"query": "SELECT count(*) FROM range(10000000000)", "seconds": "0.2"}
    error = client.get("/sql", params=slow).json()["error"]
    assert error["message"] == "the query ran longer than 0.2 s"


def test_the_schema_is_json_or_markdown(client):
    tables = {table["name"]: table for table in client.get("/schema").json()}
    assert tables["feature"]["store"] == "evidence"
    assert tables["role_claim"]["store"] == "notes"
    for reply in (
        client.get("/schema?format=markdown"),
        client.get("/schema", headers={"Accept": "text/markdown"}),
    ):
        assert reply.headers["Content-Type"].startswith("text/markdown")
        assert "## feature\n" in reply.text


def test_a_recipe_runs_with_its_defaults_or_with_others(client):
    assert len(client.get("/cookbook/sae_quality/rows").json()["rows"]) == 2
    address = "/cookbook/features_of_head/rows"
    rows = [client.get(address, params={"parameters": p}).json()["rows"]
            for p in ("{}", '{"layer": 1, "head": 1}')]  # fmt: skip
    assert rows[0] != rows[1]
    assert rows[1][0][0] == "toy/1-t/0"
    wrong = client.get(address, params={"parameters": "[1]"})
    assert wrong.json()["error"]["message"] == "this query's parameters have names"


def test_a_saved_query_is_an_address(client, atlas):
    from atlas.note_types import SavedQuery, Tag

    saved = atlas.notes.add(SavedQuery("n", "SELECT $n AS n", parameters={"n": 1}), "Ann")
    here = f"/notes/{saved.id}/rows"
    assert client.get(here).json()["rows"] == [[1]]
    assert client.get(here, params={"parameters": '{"n": "x"}'}).json()["rows"] == [["x"]]
    tag = atlas.notes.add(Tag("toy", "x"), "Ann")
    assert client.get(f"/notes/{tag.id}/rows").status_code == 400
