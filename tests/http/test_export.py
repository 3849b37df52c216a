"""An SAE in bulk: every table, whole, in both formats."""

import io
import json
import tarfile
from typing import get_args

import pyarrow.parquet as pq
import pytest

from atlas.exchange.neuronpedia import write_neuronpedia
from atlas.store.export import Table
from atlas.tables import TABLES


def test_the_tables_of_an_sae_are_listed_with_their_addresses(client):
    found = client.get("/saes/toy/1-t/export").json()
    assert set(found["tables"]) == set(get_args(Table))
    for address in (*found["tables"].values(), found["weights"]):
        assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("table", get_args(Table))
def test_both_formats_hold_the_same_rows_with_the_columns_of_a_bundle(client, table):
    parquet = client.get(f"/saes/toy/1-t/export/{table}")
    lines = client.get(f"/saes/toy/1-t/export/{table}?format=jsonl").text.splitlines()
    rows = pq.read_table(io.BytesIO(parquet.content))
    assert rows.schema.names == TABLES[table].names
    assert rows.to_pylist() == [json.loads(line) for line in lines]


def test_nothing_is_left_out_and_nothing_is_another_sae_s(client):
    def read(table):
        content = client.get(f"/saes/toy/1-t/export/{table}").content
        return pq.read_table(io.BytesIO(content)).to_pylist()

    assert [row["feature"] for row in read("feature")] == list(range(6))
    assert len(read("feature_head")) == 12
    assert {(row["sae"], row["kind"]) for row in read("example")} == {("toy/1-t", "top")}
    assert len(read("example")) == 15
    assert [row["ctx"] for row in read("context")] == [0, 1, 2]
    assert len(read("label")) == 20
    assert read("neighbour")[0]["other_sae"] == "toy/1-t"


def test_parquet_is_not_packed_twice_and_lines_are(client):
    packed = {"Accept-Encoding": "gzip"}
    address = "/saes/toy/1-t/export/feature"
    assert client.get(address, headers=packed).headers["Content-Encoding"] == "identity"
    assert (
        client.get(f"{address}?format=jsonl", headers=packed).headers["Content-Encoding"] == "gzip"
    )


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/saes/toy/9-t/export", 404),
        ("/saes/toy/9-t/export/feature", 404),
        ("/saes/toy/1-t/export/run", 400),
        ("/saes/toy/1-t/export/feature?format=csv", 400),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_sent(client, address, status):
    assert client.get(address).status_code == status


def test_an_sae_comes_as_a_tar_in_neuronpedias_layout(client, atlas, tmp_path):
    answer = client.get("/saes/toy/1-t/export/neuronpedia")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        tar.extractall(tmp_path / "over", filter="data")
    here = write_neuronpedia(atlas, "toy/1-t", tmp_path / "here")
    for path in here.rglob("*.*"):
        fetched = tmp_path / "over" / path.relative_to(tmp_path / "here")
        assert fetched.read_bytes() == path.read_bytes()
    assert client.get("/saes/toy/9-t/export/neuronpedia").status_code == 404
