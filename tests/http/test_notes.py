"""Writing over HTTP: every change, its author, and what happens when two write at once."""

import pytest
from starlette.testclient import TestClient

from app.http.api import make_app
from app.http.notes import Kind
from app.http.settings import Settings, Tokens
from atlas.api import Atlas
from atlas.note_types import KINDS, ROLES

ANN = {"X-Author": "Ann"}
LABEL = {"kind": "human_label", "content": {"target": "toy/1-t/0", "text": "next board"}}


@pytest.fixture
def client(store, tmp_path):
    """A client of a store whose notes are this test's own."""
    with Atlas.open(store, notes=str(tmp_path / "notes.sqlite")) as atlas:
        yield TestClient(make_app(atlas), "http://localhost", raise_server_exceptions=False)


def added(client, note=LABEL, headers=ANN):
    reply = client.post("/notes", json=note, headers=headers)
    assert reply.status_code == 201, reply.text
    return reply.json()


def test_the_document_names_every_kind():
    assert set(Kind.__args__) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("tag", {"target": "toy", "name": "nice"}),
        ("role_claim", {"target": "toy/L1H1", "role": "induction", "confidence": 0.75,
                        "evidence": [{"kind": "target", "target": "toy/1-t/0"}]}),
        ("human_label", {"target": "toy/1-t/0", "text": "“ board”", "side": "says"}),
        ("comment", {"target": "toy/1-t", "text": "hm\nwell"}),
        ("collection", {"name": "mine", "members": [{"target": "toy/1-t/0"}]}),
        ("saved_query", {"name": "one", "text": "SELECT $n AS n", "parameters": {"n": 1}}),
    ],
)  # fmt: skip
def test_every_kind_is_written_and_read(client, kind, content):
    reply = client.post("/notes", json={"kind": kind, "content": content, "author": "Zoë"})
    note = reply.json()
    assert (note["kind"], note["author"], note["version"]) == (kind, "Zoë", 1)
    assert (
        note["content"].items()
        >= {
            name: value for name, value in content.items() if isinstance(value, str | float)
        }.items()
    )
    assert client.get(reply.headers["Location"]).json() == note
    assert client.get(f"/notes/kinds/{kind}").json() == [note]


def test_an_edit_is_based_on_a_version_and_a_late_one_loses_nothing(client):
    note = added(client)
    here = f"/notes/{note['id']}"
    new = {"target": "toy/1-t/0", "text": "better"}
    edited = client.put(here, json={"content": new, "based_on": 1}, headers=ANN).json()
    assert (edited["version"], edited["content"]["text"]) == (2, "better")
    late = client.put(here, json={"content": new | {"text": "mine"}, "based_on": 1}, headers=ANN)
    error = late.json()["error"]
    assert (late.status_code, error["kind"]) == (409, "Conflict")
    assert error["theirs"] == edited
    assert error["yours"]["text"] == "mine"


def test_what_is_removed_comes_back_by_undo(client):
    note = added(client)
    here = f"/notes/{note['id']}"
    assert client.delete(f"{here}?based_on=1", headers=ANN).status_code == 204
    assert client.get(here).status_code == 404
    late = client.put(here, json={"content": LABEL["content"], "based_on": 1}, headers=ANN)
    assert (late.status_code, late.json()["error"]["theirs"]) == (409, None)
    back = client.post(f"{here}/undo", json={"based_on": 2}, headers=ANN).json()
    assert (back["version"], back["content"]) == (3, note["content"])
    history = client.get(f"{here}/history").json()
    assert [change["action"] for change in history] == ["add", "remove", "undo"]
    first = added(client, {"kind": "comment", "content": {"target": "toy", "text": "x"}})
    gone = client.post(f"/notes/{first['id']}/undo", json={"based_on": 1}, headers=ANN)
    assert gone.json() is None


def test_a_vote_is_one_per_author(client):
    note = added(client)
    for choice in ("agree", "dispute"):
        vote = {"choice": choice, "reason": "so", "author": "Bob"}
        assert client.post(f"/notes/{note['id']}/vote", json=vote).status_code == 201
    (judged,) = client.get("/notes/judged/human_label?target=toy/1-t/0").json()
    assert (judged["agree"], judged["dispute"], len(judged["votes"])) == (0, 1, 1)


def test_members_are_put_at_the_end_of_a_collection(client):
    note = added(client, {"kind": "collection", "content": {"name": "mine"}})
    new = {"members": [{"target": "toy/1-t/1", "sentence": "nice"}, {"target": "toy"}]}
    found = client.post(f"/notes/{note['id']}/members", json=new, headers=ANN).json()
    assert [one["target"] for one in found["content"]["members"]] == ["toy/1-t/1", "toy"]


def test_notes_are_found_by_target_word_tag_and_time(client):
    tag = added(client, {"kind": "tag", "content": {"target": "toy/1-t/0", "name": "nice"}})
    label = added(client)
    on = client.get("/notes/on/toy/1-t/0").json()
    assert [one["id"] for one in on["tags"]] == [tag["id"]]
    assert [one["note"]["id"] for one in on["labels"]] == [label["id"]]
    assert client.get("/notes/tags").json() == [{"name": "nice", "targets": 1}]
    assert client.get("/notes/tagged?name=nice").json() == ["toy/1-t/0"]
    assert client.get("/notes/search?text=BOARD").json()[0]["note"] == label["id"]
    titles = client.get("/notes/titles?feature=toy/1-t/0&feature=toy/1-t/1").json()
    assert {name: note["id"] for name, note in titles.items()} == {"toy/1-t/0": label["id"]}
    assert client.get("/notes/roles").json() == ROLES
    assert client.get("/search?tag=nice").json()["total"] == 1


def test_recent_changes_come_a_page_at_a_time(client):
    for n in range(5):
        added(client, {"kind": "comment", "content": {"target": "toy", "text": str(n)}})
    here, seen = "/notes/recent?limit=2", []
    while here:
        page = client.get(here).json()
        seen += [change["after"]["text"] for change in page["changes"]]
        here = page["next"]
    assert seen == ["4", "3", "2", "1", "0"]


def test_an_export_is_taken_in_once(client):
    added(client)
    text = client.get("/notes/export").text
    ndjson = {"Content-Type": "application/x-ndjson"}
    assert client.post("/notes/import", content=text, headers=ndjson).json()["known"] == 1
    other = text.replace(text.split('"id":"')[1][:32], "0" * 32)
    assert client.post("/notes/import", content=other, headers=ndjson).json()["added"] == 1
    broken = client.post("/notes/import", content=text + "{", headers=ndjson)
    assert (broken.status_code, broken.json()["error"]["kind"]) == (422, "NotesError")
    assert len(client.get("/notes/kinds/human_label").json()) == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not UTF-8"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "must be an object (Written)"),
        (b'{"kind": "song", "content": {}}', "kind must be one of tag"),
        (b'{"kind": "tag", "content": {}, "x": 1}', "x is unknown"),
        (b'{"kind": "tag", "content": {"target": "toy"}}', "content.name is missing"),
        (b'{"kind": "tag", "content": {"target": "toy", "name": NaN}}', "NaN is no JSON"),
        (b'{"kind": "tag", "content": {"target": "toy", "name": 3}}', "content.name must be text"),
        (b'{"kind": "tag", "content": {"target": "toy", "name": " "}}', "tag is empty"),
        (b'{"kind": "tag", "content": {"target": "toy", "name": "a\\ud800"}}', "control character"),
        (
            b'{"kind": "tag", "content": {"target": "toy", "name": "x"}, "author": ""}',
            "author is empty",
        ),
        (b'{"kind": "role_claim", "content": {"target": "toy/L0H0", "role": "x"}}', "unknown role"),
        (b'{"kind": "vote", "content": {"about": "x", "choice": "agree"}}', "not the id of a note"),
    ],
)  # fmt: skip
def test_a_note_that_cannot_be_is_refused_with_a_reason(client, body, message):
    headers = {"Content-Type": "application/json"}
    if b"author" not in body:
        headers |= ANN
    reply = client.post("/notes", content=body, headers=headers)
    assert (reply.status_code, reply.json()["error"]["kind"]) == (422, "NotesError")
    assert message in reply.json()["error"]["message"]
    assert client.get("/notes/stamp").json() == 0


def test_a_change_needs_an_author_and_only_one(client):
    nobody = client.post("/notes", json=LABEL)
    assert (nobody.status_code, nobody.json()["error"]["kind"]) == (422, "NotesError")
    two = client.post("/notes", json=LABEL | {"author": "Bob"}, headers=ANN)
    assert (two.status_code, two.json()["error"]["kind"]) == (403, "WrongAuthor")
    assert added(client, headers={"X-Author": "Zo%C3%AB"})["author"] == "Zoë"
    assert added(client, headers={"X-Author": "Zoë".encode()})["author"] == "Zoë"


def test_a_form_of_another_web_page_cannot_write(client):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = client.post("/notes", content=b"{}", headers={"Content-Type": kind} | ANN)
        assert (reply.status_code, reply.json()["error"]["kind"]) == (415, "WrongMediaType")


def test_with_tokens_the_token_says_who_writes(atlas):
    settings = Settings(tokens=Tokens.of({"0123456789abcdef": "Ann"}))
    client = TestClient(make_app(atlas, settings), "http://localhost")
    tag = {"kind": "tag", "content": {"target": "toy", "name": "t"}}

    def write(token, **more):
        headers = {"Authorization": token} if token else {}
        return client.post("/notes", json=tag | more, headers=headers)

    assert write("Bearer 0123456789abcdef").json()["author"] == "Ann"
    assert write("Bearer 0123456789abcdef", author="Ann").status_code == 201
    assert write("Bearer 0123456789abcdef", author="Bob").status_code == 403
    for wrong in (None, "0123456789abcdef", "Bearer", "Bearer 0123456789abcdeF", "Basic x"):
        reply = write(wrong)
        assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert client.get("/notes/on/toy").status_code == 200
    ndjson = {"Content-Type": "application/x-ndjson"}
    assert client.post("/notes/import", content="", headers=ndjson).status_code == 401


def test_a_server_that_is_read_only_takes_nothing(serve):
    client = serve(read_only=True)
    reply = client.post("/notes", json=LABEL, headers=ANN)
    assert (reply.status_code, reply.json()["error"]["kind"]) == (403, "ReadOnly")
    assert client.get("/notes/tags").status_code == 200
