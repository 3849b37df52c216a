"""The client gives what Atlas gives, over a real socket, and raises what Atlas raises."""

import threading
from inspect import signature

import pytest
import uvicorn

from app.http.api import make_app
from app.http.settings import Settings, Tokens
from atlas.api import Atlas
from atlas.client import Client
from atlas.client_notes import NotesClient
from atlas.errors import AtlasError, Conflict, NotesError, NotFound, QueryError, StoreError
from atlas.ids import parse, parse_feature
from atlas.note_types import (
    Collection,
    HumanLabel,
    Member,
    RoleClaim,
    SavedQuery,
    Tag,
    Vote,
)
from atlas.store.notes import Notes
from atlas.types import PairQuery, Query

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def url(atlas):
    """Address of a server in this process; the token's author is Ann."""
    app = make_app(atlas, Settings(tokens=Tokens.of({TOKEN: "Ann"})))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def client(url):
    return Client(url, token=TOKEN)


SAME = {
    "stats": lambda atlas: atlas.stats(),
    "refused": lambda atlas: atlas.refused,
    "snapshots": lambda atlas: atlas.snapshots(),
    "models": lambda atlas: (atlas.models(), atlas.model("toy")),
    "runs": lambda atlas: (atlas.runs(), atlas.run("run-1")),
    "record": lambda atlas: atlas.record("run-1"),
    "saes": lambda atlas: (atlas.saes(), atlas.sae("toy/1-t"), atlas.sae(parse("toy/0-t"))),
    "densities": lambda atlas: atlas.densities("toy/1-t"),
    "feature": lambda atlas: (atlas.feature("toy/1-t/0"), atlas.feature(parse("toy/1-t/5"))),
    "strongest": lambda atlas: atlas.strongest([parse_feature(f"toy/1-t/{n}") for n in range(6)]),
    "histograms": lambda atlas: atlas.histograms([parse_feature(f"toy/1-t/{n}") for n in (0, 5)]),
    "random": lambda atlas: atlas.random_feature(7),
    "heads": lambda atlas: atlas.heads("toy"),
    "head metrics": lambda atlas: atlas.head_metrics("toy"),
    "roles of heads": lambda atlas: atlas.roles_of_heads("toy"),
    "head": lambda atlas: (atlas.head("toy/L1H1"), atlas.head(parse("toy/L0H0"), 2, "weights")),
    "context": lambda atlas: atlas.context(2),
    "vocab": lambda atlas: atlas.vocab("toy"),
    "search": lambda atlas: atlas.search(Query("board mat", layer=1, disagree=False, dead=True)),
    "pairs": lambda atlas: atlas.pairs(PairQuery(dst=" mat", head=1)),
    "test": lambda atlas: atlas.test("src.before == dst.token", "toy/L1H1", 3),
    "compare": lambda atlas: atlas.compare("toy/1-t/0", parse("toy/1-t/3")),
    "compare heads": lambda atlas: atlas.compare_heads("toy/L1H0", "toy/L1H1"),
    "jump": lambda atlas: atlas.jump("1-t/3"),
    "has": lambda atlas: [atlas.has(parse(x)) for x in ("toy/L1H1", "toy/L1H2", "toy/1-t/5")],
    "schema": lambda atlas: atlas.schema(),
    "cookbook": lambda atlas: dict(atlas.cookbook()),
    "methods": lambda atlas: atlas.label_methods(),
    "judged": lambda atlas: atlas.judged("toy/1-t/0"),
    "label failures": lambda atlas: atlas.label_failures(parse_feature("toy/1-t/0")),
    "review": lambda atlas: (atlas.review_queue(), atlas.review_queue(2, "toy/1-t", "disagree")),
    "at": lambda atlas: atlas.at().models(),
}  # fmt: skip


@pytest.mark.parametrize("asked", SAME.values(), ids=SAME)
def test_the_client_gives_what_atlas_gives(client, atlas, asked):
    assert asked(client) == asked(atlas)


# What needs the files themselves: opening, and what jobs read to write bundles.
AT_HOME = {"close", "evidence", "open", "prepare", "read_only", "store", "verify", "written"}
OF_JOBS = {"fired_nearby", "measured", "random_contexts", "ranked", "to_embed", "to_label"}
NOTES_AT_HOME = {"as_tables", "close", "contradictions", "marks", "open"}


@pytest.mark.parametrize(
    ("here", "there", "missing"),
    [(Atlas, Client, AT_HOME | OF_JOBS), (Notes, NotesClient, NOTES_AT_HOME)],
)
def test_the_client_has_the_same_methods_with_the_same_arguments(here, there, missing):
    methods, remote = (
        {name: getattr(one, name) for name in vars(one) if not name.startswith("_")}
        for one in (here, there)
    )
    assert set(methods) - set(remote) == missing
    for name in set(methods) - missing:
        if callable(methods[name]):
            ours, theirs = (signature(one[name]).parameters for one in (methods, remote))
            # The device is the server's own; a file that comes needs a place to go to.
            assert {*ours} ^ {*theirs} <= {"device", "target"}, name
            assert [*ours][: len(theirs)] == [*theirs][: len(ours)], name
            assert all(ours[key].default == theirs[key].default for key in {*ours} & {*theirs}), (
                name
            )


def test_pages_are_walked_by_their_mark(client):
    first = client.search(Query(limit=7))
    second = client.search(Query(limit=7, after=first.after))
    assert len({hit.row.id for hit in first.hits + second.hits}) == first.total
    assert second.after == ""


def test_sql_keeps_its_types(client):
    query = "SELECT DATE '2026-01-02' AS day, 9007199254740993 AS big, [1.5] AS list, $x AS x"
    result = client.sql(query, {"x": "y"})
    ((day, big, numbers, x),) = result.rows
    assert (day.isoformat(), big, x) == ("2026-01-02", 9007199254740993, "y")
    assert (result.columns, result.truncated) == (("day", "big", "list", "x"), False)
    assert (result.types[0], result.snapshot, result.query) == ("DATE", "000001", query)
    assert client.sql("SELECT ? AS a", [3]).rows == ((3,),)


def test_the_weights_are_fetched_into_a_new_file(client, atlas, tmp_path):
    path = client.weights("toy/1-t", tmp_path / "w.safetensors")
    assert path.read_bytes() == atlas.weights("toy/1-t").read_bytes()


def test_notes_are_written_changed_judged_and_taken_back(client, atlas):
    notes, label = client.notes, HumanLabel("toy/1-t/1", "cats")
    note = notes.add(label, "Ann")
    assert note == atlas.notes.get(note.id)
    changed = notes.edit(note.id, HumanLabel("toy/1-t/1", "dogs"), "Ann", 1)
    vote = notes.add(Vote(note.id, "agree"), "Ann")
    (judged,) = notes.judged(HumanLabel, ["toy/1-t/1"])
    assert (judged.note, judged.votes) == (changed, (vote,))
    assert notes.titles(["toy/1-t/1"]) == {"toy/1-t/1": changed}
    assert notes.on("toy/1-t/1") == atlas.notes.on("toy/1-t/1")
    notes.remove(note.id, "Ann", 2)
    assert notes.undo(note.id, "Ann", 3).content.text == "dogs"
    assert notes.history(note.id) == atlas.notes.history(note.id)
    assert notes.recent(2) == atlas.notes.recent(2)
    assert notes.about("toy/1-t/1", 3) == atlas.notes.about("toy/1-t/1", 3) != ()


def test_notes_are_found_as_atlas_finds_them(client, atlas):
    notes = client.notes
    tag = notes.add(Tag("toy/L0H0", "nice"), "Ann")
    notes.add(RoleClaim("toy/L0H0", "induction"), "Ann")
    mine = notes.add(Collection("mine"), "Ann")
    assert notes.collect(mine.id, [Member("toy")], "Ann").content.members == (Member("toy"),)
    assert notes.every(Tag, ["toy/L0H0", "toy"]) == (tag,)
    assert (notes.every(Tag), notes.every(Tag, [])) == (atlas.notes.every(Tag), ())
    assert notes.judged(RoleClaim) == atlas.notes.judged(RoleClaim)
    assert notes.tags_in_use() == atlas.notes.tags_in_use()
    assert notes.tagged("nice") == ("toy/L0H0",)
    assert notes.search("nice") == atlas.notes.search("nice")
    assert notes.stamp() == atlas.notes.stamp()
    assert notes.export() == atlas.notes.export()
    assert notes.import_(notes.export()).added == 0


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (lambda c: c.feature("toy/1-t/6"), NotFound, "no feature toy/1-t/6"),
        (lambda c: c.feature("../etc"), NotFound, "not an id"),
        (lambda c: c.model("a/b"), NotFound, "not a name"),
        (lambda c: c.search(Query(limit=0)), QueryError, "limit"),
        (lambda c: c.sql("DROP TABLE x"), QueryError, "only SELECT"),
        (lambda c: c.sql("SELECT 'a\ud800'"), QueryError, "signs that are no text"),
        (lambda c: c.prompt("a\ud800"), QueryError, "signs that are no text"),
        (lambda c: c.at("000009").models(), NotFound, "no snapshot"),
        (lambda c: c.notes.get("x"), NotFound, "no note 'x'"),
        (lambda c: c.notes.add(Tag("toy", ""), "Ann"), NotesError, "tag is empty"),
        (lambda c: c.notes.add(Tag("toy", "x"), "Bob"), AtlasError, "this is Ann's change"),
    ],
)
def test_the_client_raises_what_atlas_raises(client, asked, error, message):
    with pytest.raises(error, match=message) as raised:
        asked(client)
    assert isinstance(raised.value, AtlasError)


def test_a_conflict_brings_both_sides(client):
    note = client.notes.add(HumanLabel("toy/1-t/2", "one"), "Ann")
    client.notes.edit(note.id, HumanLabel("toy/1-t/2", "two"), "Ann", 1)
    with pytest.raises(Conflict) as raised:
        client.notes.edit(note.id, HumanLabel("toy/1-t/2", "three"), "Ann", 1)
    assert raised.value.theirs.content == HumanLabel("toy/1-t/2", "two")
    assert raised.value.yours == HumanLabel("toy/1-t/2", "three")


def test_without_a_token_nothing_is_written(url):
    with pytest.raises(AtlasError, match="writing needs a token"):
        Client(url).notes.add(Tag("toy", "x"), "Ann")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "file:///etc/passwd", "nonsense"])
def test_where_no_atlas_answers_is_said(url):
    with pytest.raises(StoreError, match="no atlas answers at|not the address of a server"):
        Client(url).models()


def test_a_hypothesis_is_saved_and_tested_again(client, atlas):
    kept = SavedQuery("early", "earlier", "hypothesis", {"target": "toy/1-t/0"})
    note = client.notes.add(kept, "Ann")
    assert client.test_saved(note.id) == atlas.test_saved(note.id)
    with pytest.raises(QueryError, match="unknown name 'dist'"):
        client.test("dist < 3", "toy/1-t/0")
