"""Heads: scores against slow loops and hand-set heads, and the study's tables as they are read."""

import re
import shutil
import time

import numpy as np
import pytest
import torch

from atlas.api import Atlas
from atlas.model import load
from atlas.progress import Reporter
from atlas.store.publish import publish
from ingest.run import Work
from ingest.studies.ablation import costs
from ingest.studies.attention import (
    COLUMNS,
    EDGES,
    ON_REPEATED,
    measure,
    ratio,
    repeated,
    strongest,
)
from ingest.studies.heads import HeadsPart
from ingest.studies.names import STUDIES
from ingest.studies.study import Study, run_study
from tests.models import BOS
from tests.studies.planted_heads import a_planted_folder

SMALL = [
    "tokens=300",
    "sequences=6",
    "repeat_tokens=12",
    "ablate_contexts=3",
    "ablate_dtype=float32",
    "top=2",
]


def some_patterns(contexts=2, heads=3, width=10):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(contexts, heads, width, width, generator=generator)
    mask = torch.ones(width, width).tril().log()
    tokens = torch.randint(0, 4, (contexts, width), generator=generator)
    valid = torch.arange(width).expand(contexts, width) >= 1
    valid = valid & (torch.arange(width) < torch.tensor([[width], [width - 3]]))
    return (scores + mask).softmax(-1), tokens, valid


def by_hand(pattern, tokens, valid, metric, condition):
    """(over, under) of one context and head, one destination and source at a time."""
    over = under = 0.0
    for d in range(len(tokens)):
        copies = [s for s in range(d) if tokens[s] == tokens[d]]
        if not valid[d] or (condition == "corpus_eligible" and not copies):
            continue
        sources = {
            "previous_token": [d - 1],
            "self": [d],
            "first_token": [0],
            "duplicate_token": copies,
            "induction": [s + 1 for s in copies],
        }
        row, start = pattern[d], int(condition == "corpus_without_first")
        under += float(row[start:].sum())
        if metric == "entropy":
            over -= sum(float(p * p.log2()) for p in row if p > 0)
        elif metric == "distance":
            over += sum(float(row[s]) * (d - s) for s in range(start, d + 1))
        else:
            over += sum(float(row[s]) for s in sources[metric] if s >= start)
    return over, under


def test_every_score_is_what_a_slow_loop_gives():
    pattern, tokens, valid = some_patterns()
    sums = measure(pattern, tokens, valid)
    for place, (metric, condition) in enumerate(COLUMNS):
        for c in range(2):
            over, under = by_hand(pattern[c, 1], tokens[c], valid[c], metric, condition)
            assert float(sums.over[c, 1, place]) == pytest.approx(over, abs=1e-4), metric
            assert float(sums.under[c, 1, place]) == pytest.approx(under, abs=1e-4), metric


def test_the_histogram_shares_out_all_attention_by_distance():
    pattern, tokens, valid = some_patterns()
    bins = measure(pattern, tokens, valid).bins
    assert torch.allclose(bins.sum(-1), valid.sum(1)[:, None].float())
    expected = sum(float(pattern[0, 0, d, s]) for d in range(1, 10) for s in range(1, d + 1)
                   if 3 <= d - s <= 4)  # fmt: skip
    assert float(bins[0, 0, 1 + EDGES.index(3)]) == pytest.approx(expected, abs=1e-5)


def test_the_strongest_source_is_never_position_zero_and_only_of_scored_destinations():
    pattern, _, valid = some_patterns()
    found = strongest(pattern, valid)
    assert int(found.src.min()) >= 1
    assert float(found.weight[1, :, 7:].max()) == 0
    row = pattern[0, 2, 6, 1:7]
    assert float(found.weight[0, 2, 6]) == pytest.approx(float(row.max()))
    assert int(found.src[0, 2, 6]) == int(row.argmax()) + 1


def test_a_ratio_counts_every_destination_alike_and_its_interval_covers_the_truth():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        under = rng.integers(5, 40, 60).astype(float)
        found = ratio(rng.binomial(under.astype(int), 0.3)[:, None], under[:, None])
        hits += bool(found.low[0] <= 0.3 <= found.high[0])
    assert 0.90 < hits / 300 < 0.985
    assert ratio(np.array([[1.0], [0.0]]), np.array([[3.0], [1.0]])).value[0] == 0.25


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = a_planted_folder(tmp_path_factory.mktemp("planted") / "planted")
    return load(str(folder), device="cpu", dtype="float32")


def test_hand_set_heads_are_recognised_on_repeated_random_tokens(planted):
    generator = torch.Generator().manual_seed(0)
    picked = torch.stack([torch.randperm(300, generator=generator)[:20] + 2 for _ in range(8)])
    tokens = torch.cat([torch.full((8, 1), BOS), picked, picked], 1)
    attention = planted.attention(tokens, [0, 1])
    scores = {layer: repeated(one.pattern, 1, 20).mean(0) for layer, one in attention.items()}

    def score(layer, head, metric):
        return float(scores[layer][head, ON_REPEATED.index(metric)])

    assert score(0, 0, "previous_token") > 0.95
    assert score(0, 1, "duplicate_token") > 0.95
    assert score(1, 0, "induction") > 0.95
    assert score(1, 1, "first_token") > 0.95
    for layer, head in ((0, 0), (0, 1), (1, 1)):
        assert score(layer, head, "induction") < 0.1


@pytest.fixture(scope="module")
def studied(tiny, tmp_path_factory):
    """The study of heads on the tiny model: (page's store, bundle)."""
    store = tmp_path_factory.mktemp("heads") / "store"
    shutil.copytree(tiny[1], store)
    bundle = run_study("heads", STUDIES["heads"], store, changes=SMALL)
    publish(store, [bundle.path])
    return store, bundle


def test_every_head_of_every_layer_has_every_metric(studied):
    store, bundle = studied
    rows = bundle.read("head_metric").to_pandas()
    names = rows.groupby(["layer", "head"]).size()
    assert len(names) == 12
    assert set(names) == {len(COLUMNS) + len(ON_REPEATED) + 2}
    known = rows[~rows.metric.isin(["copying"])]
    assert (known.low <= known.value).all()
    assert (known.value <= known.high).all()


def test_every_ranking_is_the_order_of_its_measure_beside_its_check(studied):
    rows = studied[1].read("head_ranking").to_pandas()
    metrics = studied[1].read("head_metric").to_pandas().set_index(["metric", "condition"])
    assert rows.groupby("ranking")["rank"].apply(list).map(lambda own: own == [*range(1, 13)]).all()
    assert rows["ranking"][:3].tolist() == ["induction", "previous_token", "duplicate_token"]
    for (ranking, condition, check), own in rows.groupby(
        ["ranking", "condition", "check_condition"]
    ):
        assert own.value.is_monotonic_decreasing
        by_head = metrics.loc[(ranking, condition)].set_index(["layer", "head"]).value
        checked = metrics.loc[(ranking, check)].set_index(["layer", "head"]).value
        places = list(zip(own["layer"], own["head"], strict=True))
        assert by_head.loc[places].tolist() == own.value.tolist()
        assert checked.loc[places].rank(ascending=False).tolist() == own.check_rank.tolist()


def test_ablations_in_a_quick_precision_are_checked_in_float32(tiny, tmp_path):
    shutil.copytree(tiny[1], tmp_path / "store")
    changes = [*SMALL, "ablate_dtype=bfloat16"]
    bundle = run_study("heads", STUDIES["heads"], tmp_path / "store", changes=changes)
    publish(tmp_path / "store", [bundle.path])
    with Atlas.open(tmp_path / "store") as atlas:
        (said,) = (one for one in atlas.study("heads").said if "bfloat16" in one)
    apart = float(re.search(r"at most (\S+)", said)[1])
    assert 0 < apart < 0.05, said


def test_distances_of_a_head_share_out_one(studied):
    rows = studied[1].read("head_distance").to_pandas()
    assert np.allclose(rows.groupby(["layer", "head"]).share.sum(), 1, atol=1e-5)
    assert rows.distance_to.max() == 15
    assert rows.distance_from.isna().sum() == 12


def test_the_cost_of_a_head_is_the_loss_with_its_mean_in_place_of_its_z(tiny, tmp_path):
    with Atlas.open(tiny[1]) as atlas:
        work = Work(tmp_path, "run", Reporter(tmp_path, "run", lambda _: None, time.monotonic))
        work.scratch.mkdir()
        study = Study(atlas, atlas.model("tiny"), HeadsPart(tokens=100), work)
        means = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
        (found,) = costs(study, study.model, means, slice(0, 2))
        text = study.text.text.contexts
    tokens, length = torch.from_numpy(text.tokens[:2]).long(), int(text.length[0])

    def edit(z):
        z[0, 1:length, 3] = means[1, 3]
        return z

    losses = study.model.losses(tokens, {1: edit})[0, 1 : length - 1]
    assert found["ablated"][1, 3, 0] == pytest.approx(float(losses.sum()), rel=1e-5)
    clean = study.model.losses(tokens)[0, 1 : length - 1]
    assert found["clean"][0] == pytest.approx(float(clean.sum()), rel=1e-5)
    assert found["predicted"][0] == length - 2


def test_sampled_examples_lie_in_their_band_and_in_their_contexts(studied):
    _, bundle = studied
    contexts = bundle.read("context").to_pandas().set_index("ctx")
    rows = bundle.read("head_example").to_pandas()
    assert set(rows.ctx) == set(contexts.index)
    assert (np.minimum((rows.weight * 5).astype(int), 4) == rows.band).all()
    assert (rows.src <= rows.dst).all()
    assert rows.src.min() >= 1


def test_the_atlas_shows_the_newest_metrics_and_keeps_the_contexts(studied):
    store, _ = studied
    with Atlas.open(store) as atlas:
        head = atlas.head("tiny/L1H0")  # a layer without an SAE
        counted = atlas.sql("SELECT count(*) FROM head_example e JOIN context c USING (ctx)"
                            " WHERE c.tokens[e.dst + 1] IS NOT NULL")  # fmt: skip
        total = atlas.sql("SELECT count(*) FROM head_example")
    assert {one.metric for one in head.metrics} >= {"induction", "copying", "ablation_cost"}
    assert counted.rows == total.rows
