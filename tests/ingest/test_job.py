"""A whole job: sealed, exact, resumable, and refusing what cannot work."""

import numpy as np
import pytest
import torch

from atlas import progress
from atlas.api import Atlas
from atlas.bundle import open_bundle
from atlas.errors import AtlasError, CorpusError, ModelError, StoreError
from atlas.lens.sae import encode, load, pre_activations
from atlas.model import load as load_model
from atlas.store.publish import publish
from ingest.job import build_corpus, run_id, run_job
from ingest.train.stream import valid_positions
from tests.ingest.jobs import a_job


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished job: (job, store, bundle, what was told)."""
    folder = tmp_path_factory.mktemp("job")
    told: list[progress.Progress] = []
    job = a_job(folder)
    bundle = run_job(job, folder / "store", told.append)
    return job, folder / "store", bundle, told


def test_the_bundle_holds_every_table_for_every_layer(made):
    _, _, bundle, _ = made
    counts = bundle.counts
    assert counts["sae"] == 2
    assert counts["feature"] == 48
    assert counts["feature_head"] == 48 * 4
    assert counts["head"] == 12
    assert counts["vocab"] == 320
    features = bundle.read("feature").to_pandas()
    live = features[features.firings > 0]
    assert counts["label"] == 4 * len(live)
    assert bundle.read("sae")["id"].to_pylist() == ["tiny/0-att", "tiny/2-att"]


def test_examples_are_exact_down_to_heads_and_sources(made):
    job, _, bundle, _ = made
    examples = bundle.read("example").to_pandas()
    features = bundle.read("feature").to_pandas().set_index(["sae", "feature"])
    assert len(examples) > 50
    assert examples.residual.abs().max() < 1e-5
    bias = features.bias.loc[list(zip(examples.sae, examples.feature, strict=True))].to_numpy()
    by_head = examples.head_dfa.map(sum) + bias
    by_source = examples.src_dfa.map(sum) + examples.src_rest + bias
    assert np.allclose(by_head, examples.act, atol=1e-4)
    assert np.allclose(by_source, examples.act, atol=1e-4)


def test_an_example_is_what_the_model_and_the_weights_give(made):
    job, _, bundle, _ = made
    model = load_model(job.model.name, id="tiny", device="cpu", dtype="float32")
    contexts = bundle.read("context").to_pandas().set_index("ctx")
    sae = load(bundle.path / "weights.safetensors", "tiny/2-att")
    examples = bundle.read("example").to_pandas()
    for row in examples[examples.sae == "tiny/2-att"].iloc[::9].itertuples():
        tokens = torch.from_numpy(contexts.tokens[row.ctx].copy()).long()
        z = model.z(tokens[None], [2])[2][0].flatten(1)
        acts = encode(sae, z)[:, row.feature]
        pre = pre_activations(sae, z)[:, row.feature]
        here = pre if row.kind == "near_miss" else acts
        assert float(here[row.pos]) == pytest.approx(row.act, abs=1e-4)
        assert int(tokens[row.pos]) == row.token
        valid = acts[1:].nonzero().squeeze(1) + 1
        assert valid.tolist() == list(row.act_pos)


def test_no_firing_is_an_example_twice_so_labels_are_judged_on_others(made):
    _, _, bundle, _ = made
    examples = bundle.read("example").to_pandas()
    assert set(examples.kind) == {"top", "interval", "random", "decile", "near_miss"}
    assert not examples.duplicated(["sae", "feature", "ctx", "pos"]).any()
    labels = bundle.read("label").to_pandas()
    judging = (examples.kind == "interval") | ((examples.kind == "top") & (examples["rank"] % 2))
    counts = examples[judging].groupby(["sae", "feature"], observed=True).size()
    for row in labels[labels.side == "title"].itertuples():
        assert row.n == counts.get((row.sae, row.feature), 0)


def all_firings(job, bundle):
    """SAE id to `[place, feature]` over all scored places of the mined text."""
    model = load_model(job.model.name, id="tiny", device="cpu", dtype="float32")
    mined = build_corpus(job, model).mine
    z = model.z(torch.from_numpy(mined.tokens).long(), [0, 2])
    limits = {row["layer"]: row["sink_norm"] for row in bundle.read("sae").to_pylist()}
    length = torch.from_numpy(mined.length)
    scored = valid_positions(length, mined.tokens.shape[1], job.positions.skip_first)
    for layer, limit in limits.items():
        scored &= z[layer].flatten(2).norm(dim=-1) <= limit
    weights = bundle.path / "weights.safetensors"
    return {
        f"tiny/{layer}-att": encode(load(weights, f"tiny/{layer}-att"), z[layer].flatten(2)[scored])
        > 0
        for layer in (0, 2)
    }


def test_neighbours_are_counted_over_every_place_of_the_mined_text(made):
    job, _, bundle, _ = made
    fires = all_firings(job, bundle)
    features = bundle.read("feature").to_pandas().set_index(["sae", "feature"])
    rows = bundle.read("neighbour").to_pandas()
    assert rows["rank"].notna().any()
    assert rows.fire_rank.notna().any()
    for row in rows.itertuples():
        one, other = fires[row.sae][:, row.feature], fires[row.other_sae][:, row.other_feature]
        assert int(one.sum()) == features.firings.loc[(row.sae, row.feature)]
        expected = float((one & other).sum() / max(int((one | other).sum()), 1))
        assert row.jaccard == pytest.approx(expected)


def test_top_examples_are_the_strongest_of_their_contexts(made):
    _, _, bundle, _ = made
    examples = bundle.read("example").to_pandas()
    features = bundle.read("feature").to_pandas().set_index(["sae", "feature"])
    top = examples[(examples.kind == "top") & (examples["rank"] == 0)]
    for row in top.itertuples():
        expected = features.max_act.loc[(row.sae, row.feature)]
        assert row.act == pytest.approx(expected, abs=1e-4)


def test_near_misses_do_not_fire_but_nearly(made):
    _, _, bundle, _ = made
    examples = bundle.read("example").to_pandas()
    near = examples[examples.kind == "near_miss"]
    thresholds = {
        name: load(bundle.path / "weights.safetensors", name).threshold
        for name in ("tiny/0-att", "tiny/2-att")
    }
    assert len(near) > 20
    for row in near.itertuples():
        threshold = float(thresholds[row.sae][row.feature])
        assert 0.49 * threshold < row.act < 0.95 * threshold
        assert row.pos not in row.act_pos
    assert not near.duplicated(["sae", "feature", "ctx"]).any()


def test_the_evaluation_is_sane(made):
    _, _, bundle, _ = made
    for row in bundle.read("sae").to_pylist():
        assert 0 < row["fvu"] < 1
        assert 1 < row["l0"] < 8
        assert row["ce_zero_low"] < row["ce_zero"] - row["ce_clean"] < row["ce_zero_high"]
        assert row["eval_tokens"] > 100


def test_a_finished_job_is_not_run_again(made):
    job, store, bundle, _ = made
    told = []
    again = run_job(job, store, told.append)
    assert (again.sha256, told) == (bundle.sha256, [])


def test_progress_goes_through_all_stages_and_ends_done(made):
    job, store, _, told = made
    stages = list(dict.fromkeys(one.stage for one in told))
    expected = ["load model", "tokenise", "train", "evaluate", "mine", "attribute"]
    assert stages == [*expected, "label and write", "seal"]
    (last,) = progress.read_all(store)
    assert (last.run, last.state) == (run_id(job), "done")
    trained = next(one for one in told if one.stage == "train" and one.done == one.total)
    assert len(trained.figures["fvu"]) == 2


def test_the_curve_ends_with_the_figures_of_the_last_step_of_every_layer(made):
    job, _, bundle, told = made
    curve = bundle.read("training_curve").to_pylist()
    steps = job.train.tokens // job.train.batch
    assert {one["layer"] for one in curve} == set(job.sae.layers)
    last = [one for one in curve if one["step"] == steps]
    trained = next(one for one in told if one.stage == "train" and one.done == one.total)
    assert tuple(one["fvu"] for one in last) == trained.figures["fvu"]
    assert {one["tokens"] for one in last} == {steps * job.train.batch}
    assert all(0 < one["loss"] < 10 for one in curve)
    assert last[0]["learning_rate"] < max(one["learning_rate"] for one in curve)


def test_the_log_of_a_bundle_ends_with_its_last_whole_stage(made):
    log = made[2].read("run_log").to_pylist()
    assert [log[0]["stage"], log[-1]["stage"]] == ["load model", "label and write"]
    assert {one["outcome"] for one in log} == {"done"}


def test_the_bundle_is_published_and_found(made):
    _, store, bundle, _ = made
    publish(store, [bundle.path])
    atlas = Atlas.open(store)
    feature = atlas.feature(atlas.random_feature(seed=1))
    assert feature.examples
    assert feature.labels
    assert feature.residual < 1e-5
    assert [str(sae.id) for sae in atlas.saes()] == ["tiny/0-att", "tiny/2-att"]
    joint = atlas.run(bundle.run).joint
    assert joint.layers == (0, 2)
    assert joint.sae_cost.low < joint.ce_sae - joint.ce_clean < joint.sae_cost.high
    assert joint.ce_clean == atlas.saes()[0].evaluation.ce_clean


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", ["train", "evaluate", "mine", "attribute", "label and write"])
def test_a_job_stopped_anywhere_goes_on_to_the_same_bundle(made, tmp_path, at):
    job, _, bundle, _ = made

    def stop(told):
        if told.stage == at and told.done > 0:
            raise Stop

    with pytest.raises(Stop):
        run_job(job, tmp_path, stop)
    (stopped,) = progress.read_all(tmp_path)
    assert stopped.state == "failed"
    resumed = run_job(job, tmp_path)
    same = {
        n: f.sha256 for n, f in bundle.files.items() if n not in ("run.parquet", "run_log.parquet")
    }
    assert {n: f.sha256 for n, f in resumed.files.items() if n in same} == same


def test_a_run_stopped_by_hand_is_told_as_stopped_and_goes_on(made, tmp_path):
    job, _, bundle, _ = made

    def interrupt(told):
        if told.stage == "train" and told.done > 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path, interrupt)
    (stopped,) = progress.read_all(tmp_path)
    assert (stopped.state, stopped.message) == ("stopped", "stopped by hand")
    told = []
    resumed = run_job(job, tmp_path, told.append)
    trained = [one for one in told if one.stage == "train"]
    assert trained[-1].done == trained[-1].total
    assert resumed.files["example.parquet"].sha256 == bundle.files["example.parquet"].sha256


def test_the_size_of_shards_does_not_change_a_byte(made, tmp_path):
    job, _, bundle, _ = made
    other = job.model_copy(update={"mine": job.mine.model_copy(update={"shard_contexts": 100})})
    again = run_job(other, tmp_path)
    for name in ("feature", "feature_head", "example", "label", "neighbour"):
        assert again.files[f"{name}.parquet"].sha256 == bundle.files[f"{name}.parquet"].sha256


@pytest.mark.parametrize(
    ("part", "changes", "error", "message"),
    [
        ("sae", {"layers": [0, 9]}, ModelError, "model tiny has no layer 9.*layers are 0 to 2"),
        ("model", {"name": "./nowhere"}, ModelError, "no folder nowhere"),
        ("corpus", {"name": "missing.jsonl"}, CorpusError, r"no corpus file missing\.jsonl"),
        ("corpus", {"context_length": 999}, CorpusError, "is more than model tiny takes"),
        ("mine", {"tokens": 10**9}, CorpusError, "usable tokens; this job wants"),
        ("train", {"batch": 2500}, CorpusError, "fewer than two batches"),
    ],
)
def test_what_cannot_work_is_said_and_no_bundle_is_left(tmp_path, part, changes, error, message):
    job = a_job(tmp_path, **{part: changes})
    with pytest.raises(error, match=message):
        run_job(job, tmp_path / "store")
    (failed,) = progress.read_all(tmp_path / "store")
    assert failed.state == "failed"
    with pytest.raises(AtlasError, match="incomplete"):
        open_bundle(tmp_path / "store" / "bundles" / run_id(job))


def test_a_run_that_is_going_on_is_not_started_twice(tmp_path):
    job = a_job(tmp_path)

    def second(told):
        if told.stage == "tokenise":
            with pytest.raises(StoreError, match="already going on"):
                run_job(job, tmp_path / "store")
            raise Stop

    with pytest.raises(Stop):
        run_job(job, tmp_path / "store", second)
