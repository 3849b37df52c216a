"""An SAE to Neuronpedia's export layout and back, and exports that cannot be read."""

import gzip
import json
import math
import shutil
from datetime import UTC, datetime
from typing import get_args

import pyarrow.parquet as pq
import pytest

from atlas.api import Atlas
from atlas.errors import BundleError, ConfigError, NotFound
from atlas.exchange.from_neuronpedia import read_neuronpedia
from atlas.exchange.neuronpedia import write_neuronpedia
from atlas.exchange.tables import write_sae
from atlas.store.export import Table
from atlas.store.publish import publish
from atlas.types import PairQuery, Query
from tests.builders import a_bundle

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exchange")
    publish(folder / "store", [a_bundle(folder / "bundle").path])
    with Atlas.open(folder / "store") as atlas:
        yield atlas


@pytest.fixture(scope="module")
def exported(atlas, tmp_path_factory):
    return write_neuronpedia(atlas, "toy/1-t", tmp_path_factory.mktemp("export"))


@pytest.fixture
def export(exported, tmp_path):
    """A copy of the export that a test may spoil."""
    return shutil.copytree(exported, tmp_path / "toy" / "1-t")


def lines(path):
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def test_the_export_has_the_layout_and_the_keys_of_the_public_ones(exported):
    assert (exported.parent.name, exported.name) == ("toy", "1-t")
    names = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert names == {
        "model.jsonl", "source.jsonl", "sourceset.jsonl", "release.jsonl",
        "features/batch-0.jsonl.gz", "explanations/batch-0.jsonl.gz",
        "activations/batch-0.jsonl.gz",
    }  # fmt: skip
    feature = lines(exported / "features" / "batch-0.jsonl.gz")[0]
    assert (feature["modelId"], feature["layer"], feature["index"]) == ("toy", "1-t", "0")
    assert (feature["maxActApprox"], feature["frac_nonzero"]) == (8.0, 0.04)
    assert feature["decoder_weights_dist"] == pytest.approx([0.1, 0.9])
    assert (feature["pos_str"], feature["neg_str"]) == ([" board", " members"], [" the", "."])
    assert (feature["topkCosSimIndices"], feature["hookName"]) == ([3], "blocks.1.attn.hook_z")


def test_an_activation_spells_its_tokens_and_its_sources(exported):
    first = lines(exported / "activations" / "batch-0.jsonl.gz")[0]
    assert first["tokens"] == ["<s>", " the", " cat", " sat", " on", " the", " mat", "."]
    assert first["values"] == [0, 0, 0, 0, 0, 0, 8.0, 0]
    assert (first["maxValue"], first["maxValueTokenIndex"], first["dfaTargetIndex"]) == (8.0, 6, 6)
    assert first["dfaValues"] == [8.5 * 0.25, 0, 8.5 * 0.75, 0, 0, 0, 0, 0]


def test_the_same_sae_gives_the_same_bytes(atlas, exported, tmp_path):
    again = write_neuronpedia(atlas, "toy/1-t", tmp_path)
    for path in exported.rglob("*.gz"):
        assert (again / path.relative_to(exported)).read_bytes() == path.read_bytes()


def test_an_export_is_never_written_over_another(atlas, exported):
    with pytest.raises(ConfigError, match="is there already"):
        write_neuronpedia(atlas, "toy/1-t", exported.parent.parent)
    with pytest.raises(NotFound, match="no SAE toy/9-t"):
        write_neuronpedia(atlas, "toy/9-t", exported.parent.parent)


def test_what_comes_back_is_what_the_layout_can_say(atlas, export, tmp_path):
    bundle = read_neuronpedia(export, tmp_path / "bundle", NOW)
    publish(tmp_path / "store", [bundle.path])
    with Atlas.open(tmp_path / "store") as imported:
        ours, theirs = (one.feature("toy/1-t/0") for one in (atlas, imported))
        assert theirs.row.title == ours.row.title
        assert (theirs.row.firings, theirs.row.max_act) == (120, 8.0)
        assert [one.weight_share for one in theirs.heads] == pytest.approx([0.1, 0.9])
        assert [one.text for one in theirs.top_logits] == [" board", " members"]
        assert theirs.histogram == ours.histogram
        assert [(one.act, one.tokens, one.acts) for one in theirs.examples] == [
            (one.act, one.tokens, one.acts) for one in ours.examples
        ]
        assert [one.row.id.index for one in theirs.neighbours] == [3]
        assert imported.feature("toy/1-t/5").is_dead
        assert imported.search(Query("board")).total == atlas.search(Query("board", layer=1)).total
        assert imported.pairs(PairQuery(dst=" mat", src=" cat")).total == 5
        assert imported.run("neuronpedia-toy-1-t").kind == "import"


def test_what_the_layout_cannot_say_stays_unknown(export, tmp_path):
    bundle = read_neuronpedia(export, tmp_path / "bundle", NOW)
    publish(tmp_path / "store", [bundle.path])
    with Atlas.open(tmp_path / "store") as imported:
        feature = imported.feature("toy/1-t/0")
        assert (feature.row.dfa_head, feature.row.dfa_share, feature.disagreement) == (None,) * 3
        assert math.isnan(feature.bias)
        assert math.isnan(feature.examples[0].residual)
        assert (feature.examples[0].sources, feature.examples[0].src_rest) == ((), 8.5)
        assert feature.sae.evaluation is None


def _spoil(path, change):
    records = [change(record) for record in lines(path)]
    with gzip.open(path, "wt") as file:
        file.writelines(f"{json.dumps(record)}\n" for record in records if record is not None)


def _no_shares(record):
    return record | {"decoder_weights_dist": []}


def _without_two(record):
    return None if record["index"] == "2" else record


FEATURES, ACTIVATIONS = "features/batch-0.jsonl.gz", "activations/batch-0.jsonl.gz"
SPOILT = [
    (lambda e: (e / "model.jsonl").unlink(), "no model.jsonl"),
    (lambda e: (e / "source.jsonl").write_text("{"), "no source.jsonl"),
    (lambda e: (e / "source.jsonl").write_text('{"id": "main"}'), "names no layer and set"),
    (lambda e: shutil.rmtree(e / "features"), "has no head shares"),
    (lambda e: _spoil(e / FEATURES, _no_shares), "has no head shares"),
    (lambda e: _spoil(e / FEATURES, _without_two), "features are missing"),
    (lambda e: _spoil(e / ACTIVATIONS, lambda r: r | {"values": []}), "cannot be read"),
    (lambda e: (e / ACTIVATIONS).write_bytes(b"\x1f\x8b\x08 broken"), "is damaged"),
    (lambda e: (e / ACTIVATIONS).write_bytes(b"plain"), "is damaged"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_an_export_that_is_spoilt_says_what_is_wrong(export, tmp_path, spoil, message):
    spoil(export)
    with pytest.raises(BundleError, match=message):
        read_neuronpedia(export, tmp_path / "bundle", NOW)
    assert not (tmp_path / "bundle" / "manifest.json").exists()


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_an_sae_is_written_as_files_with_its_weights(atlas, tmp_path, form):
    folder = write_sae(atlas, "toy/1-t", tmp_path, form)
    assert folder == tmp_path / "toy" / "1-t"
    tables = {f"{table}.{form}" for table in get_args(Table)}
    assert {path.name for path in folder.iterdir()} == tables | {"weights.safetensors"}
    if form == "parquet":
        features = pq.read_table(folder / "feature.parquet").to_pylist()
    else:
        features = [json.loads(one) for one in (folder / "feature.jsonl").read_text().splitlines()]
    assert [(row["sae"], row["feature"]) for row in features] == [("toy/1-t", n) for n in range(6)]
    with pytest.raises(ConfigError, match="is there already"):
        write_sae(atlas, "toy/1-t", tmp_path, form)
    with pytest.raises(ConfigError, match="unknown format 'xml'. known: parquet, jsonl"):
        write_sae(atlas, "toy/1-t", tmp_path, "xml")
