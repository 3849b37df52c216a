"""Every address of the evidence, and that it says what Atlas says."""

import json

import pytest
from starlette.testclient import TestClient

from app.http.api import make_app
from atlas import wire
from atlas.api import Atlas
from atlas.store.publish import publish
from atlas.types import Feature, Head, PairQuery, Query
from tests.builders import a_bundle

SAME = [
    ("/snapshot", lambda atlas: atlas.snapshot),
    ("/snapshots", lambda atlas: atlas.snapshots()),
    ("/stats", lambda atlas: atlas.stats()),
    ("/models", lambda atlas: atlas.models()),
    ("/models/toy", lambda atlas: atlas.model("toy")),
    ("/models/toy/vocab", lambda atlas: atlas.vocab("toy")),
    ("/runs", lambda atlas: atlas.runs()),
    ("/runs/run-1", lambda atlas: atlas.run("run-1")),
    ("/runs/run-1/record", lambda atlas: atlas.record("run-1")),
    ("/saes", lambda atlas: atlas.saes()),
    ("/saes/toy/1-t", lambda atlas: atlas.sae("toy/1-t")),
    ("/saes/toy/1-t/densities", lambda atlas: atlas.densities("toy/1-t")),
    ("/heads/toy", lambda atlas: atlas.heads("toy")),
    ("/compare?a=toy/1-t/0&b=toy/1-t/3", lambda atlas: atlas.compare("toy/1-t/0", "toy/1-t/3")),
    (
        "/compare/heads?a=toy/L1H0&b=toy/L1H1",
        lambda atlas: atlas.compare_heads("toy/L1H0", "toy/L1H1"),
    ),
    (
        "/histograms?feature=toy/1-t/0",
        lambda atlas: {"toy/1-t/0": atlas.feature("toy/1-t/0").histogram},
    ),
    ("/studies", lambda atlas: atlas.studies()),
    ("/heads/toy/L1H1/roles", lambda atlas: atlas.machine_roles("toy/L1H1")),
    ("/heads/toy/L1H1/studies", lambda atlas: atlas.head_studies("toy/L1H1")),
    ("/features/toy/1-t/0/families", lambda atlas: atlas.families("toy/1-t/0")),
    ("/heads/toy/L1H1/composition", lambda atlas: atlas.composition("toy/L1H1")),
    ("/jump?text=1.1", lambda atlas: atlas.jump("1.1")),
    ("/contexts/1", lambda atlas: atlas.context(1)),
    ("/random?seed=5", lambda atlas: atlas.random_feature(5)),
    ("/progress", lambda _: ()),
    ("/schema", lambda atlas: atlas.schema()),
    ("/cookbook", lambda atlas: dict(atlas.cookbook())),
    ("/cookbook/sae_quality", lambda atlas: atlas.cookbook()["sae_quality"]),
]


@pytest.mark.parametrize(("address", "asked"), SAME)
def test_an_address_says_what_atlas_says(client, atlas, address, asked):
    reply = client.get(address)
    assert reply.json() == wire.plain(asked(atlas))
    assert reply.headers["X-Atlas-Snapshot"] == "000001"


def test_the_feature_page_has_everything_with_what_people_wrote(client, atlas):
    page = client.get("/features/toy/1-t/0").json()
    assert wire.read(Feature, page["feature"]) == atlas.feature("toy/1-t/0")
    assert page["notes"]["target"] == "toy/1-t/0"


def test_the_head_page_takes_a_limit_and_an_order(client, atlas):
    page = client.get("/heads/toy/L1H1?limit=2&by=weights").json()
    assert wire.read(Head, page["head"]) == atlas.head("toy/L1H1", 2, "weights")


def test_the_strongest_examples_go_by_feature(client):
    found = client.get("/strongest?feature=toy/1-t/0&feature=toy/1-t/5").json()
    assert list(found) == ["toy/1-t/0"]
    assert found["toy/1-t/0"]["act"] == 8.0


def test_the_weights_are_the_file(client, atlas):
    reply = client.get("/saes/toy/1-t/weights")
    assert reply.content == atlas.weights("toy/1-t").read_bytes()


def test_a_search_takes_every_field_of_a_query(client, atlas):
    query = Query("the", model="toy", sae="toy/1-t", layer=1, head=0, head_by="weights",
                  head_min=0.3, density_min=0.0, density_max=1.0, support_min=0.1,
                  disagree=False, dead=True, sort="density", descending=False, limit=3)  # fmt: skip
    values = {name: value for name, value in wire.plain(query).items() if value not in (None, "")}
    told = client.get("/search", params={k: str(v) for k, v in values.items()}).json()
    assert told | {"next": None} == wire.plain(atlas.search(query)) | {"next": None}
    assert told["total"] == 3


@pytest.mark.parametrize("address", ["/search?sort=density&dead=true", "/pairs?distance_min=0"])
def test_pages_follow_each_other_without_gap_or_repetition(client, atlas, address):
    seen, here = [], f"{address}&limit=2"
    while here:
        page = client.get(here).json()
        seen += [hit["row"]["id"] for hit in page["hits"]]
        here = page["next"]
    whole = (
        atlas.search(Query(sort="density", dead=True, limit=500))
        if "search" in address
        else atlas.pairs(PairQuery(distance_min=0, limit=500))
    )
    assert seen == [str(hit.row.id) for hit in whole.hits]
    assert len(seen) == whole.total > 4


def test_the_page_of_addresses_needs_no_network(client):
    page = client.get("/docs").text
    assert "/features/{model}/{sae}/{index}" in page
    assert "http://" not in page
    assert "<script" not in page


def test_the_first_page_leads_on(client):
    home = client.get("/").json()
    assert home["holds"]["features"] == 12
    for address in home["links"].values():
        assert client.get(address).status_code == 200, address


def test_numbers_that_are_not_finite_arrive_as_null(tmp_path):

    odd = a_bundle(tmp_path / "bundle", sae={"fvu": [float("nan"), float("inf")]})
    publish(tmp_path / "store", [odd.path])
    with Atlas.open(tmp_path / "store") as atlas:
        reply = TestClient(make_app(atlas), "http://localhost").get("/saes")
    found = json.loads(reply.text, parse_constant=pytest.fail)
    assert [sae["evaluation"]["fvu"] for sae in found] == [None, None]
