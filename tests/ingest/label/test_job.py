"""A whole labelling run against a real endpoint: what comes of it, killed, spent, asked again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from app.cli import cli
from atlas.api import Atlas
from atlas.errors import LabelError
from atlas.progress import read as read_progress
from atlas.store.publish import publish
from ingest.label import job
from ingest.label.journal import FILE
from ingest.label.plan import make_plan
from ingest.label.settings import Budget, Choice, Endpoint, Settings
from tests.ingest.label.conftest import ROOT
from tests.ingest.label.stores import a_store

KEY = "sk-secret"
FEATURE = "toy/1-t/1"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return a_store(tmp_path_factory.mktemp("job"))


@pytest.fixture
def atlas(made, tmp_path):
    import shutil

    with Atlas.open(shutil.copytree(made, tmp_path / "store")) as atlas:
        yield atlas


def a_run(endpoint, budget=None, **choice):
    settings = Endpoint(url=endpoint.url, model="m", concurrency=4, tries=2)
    return Settings(endpoint=settings, choice=Choice(**choice), budget=budget or Budget())


def label(atlas, settings, features=(FEATURE,), published=True, **changes):
    """Label features and publish what came of it."""
    saes, names = job.chosen(atlas, settings, [], list(features), None)
    done = job.run_labels(atlas, settings, saes, names, key=KEY, **changes)
    if done.bundle and published:
        publish(atlas.store, [done.bundle.path])
    return done


def test_a_label_that_is_true_scores_one_by_every_scorer(atlas, endpoint):
    scorers = ("detection", "fuzzing", "simulation")
    label(atlas, a_run(endpoint, scorers=scorers))
    feature = atlas.feature(FEATURE)
    mine = {one.side: one for one in feature.labels if one.method == "llm"}
    assert mine["when"].text == "on “the”"
    assert mine["title"].model == "m"
    assert mine["title"].prompt.startswith("explain-")
    scores = {(one.method, one.scorer): one for one in feature.scores}
    assert scores["llm", "detection"].score == scores["llm", "fuzzing"].score == 1.0
    assert scores["llm", "simulation"].score > 0.7  # it tells firing, not how strongly
    assert scores["tokens", "detection"].score == scores["tokens", "fuzzing"].score == 1.0
    assert {share for share in scores["llm", "detection"].deciles if share is not None} == {1.0}
    assert feature.row.title == "fires on “the”"
    assert feature.row.title_score == 1.0


def test_a_label_that_is_wrong_scores_near_chance_and_does_not_become_the_title(atlas, endpoint):
    # Feature 4's rule is true; the endpoint's label names a word that is in no text.
    endpoint.plan('{"when": "on “zebra”", "fetches": "x", "says": "y", "title": "zebra"}')
    label(atlas, a_run(endpoint), ["toy/1-t/4"])
    feature = atlas.feature("toy/1-t/4")
    scores = {(one.method, one.scorer): one.score for one in feature.scores}
    assert scores["llm", "detection"] == scores["llm", "fuzzing"] == 0.5
    assert feature.row.title_method == "tokens"


def test_every_judgement_is_kept_with_its_place(atlas, endpoint):
    label(atlas, a_run(endpoint))
    (found,) = [
        one for one in atlas.judged(FEATURE) if (one.method, one.scorer) == ("llm", "detection")
    ]
    assert len(found.judgements) == 24
    for one in found.judgements:
        context = atlas.context(one.ctx)
        assert (context.doc, context.tokens[one.pos]) == (one.doc, one.token)
        assert one.fires == (one.token == " the") == bool(one.said)
        assert (one.decile is None) == (one.act == 0) == (not one.fires)


def test_methods_stand_in_one_table(atlas, endpoint):
    label(atlas, a_run(endpoint), [FEATURE, "toy/1-t/3"])
    rows = {(one.method, one.scorer): one for one in atlas.label_methods()}
    assert set(rows) == {(m, s) for m in ("llm", "tokens") for s in ("detection", "fuzzing")}
    one = rows["llm", "detection"]
    assert (one.features, one.common, one.labelled, one.failures) == (2, 2, 2, 0)
    assert (one.mean, one.common_mean) == (1.0, 1.0)


def test_what_fails_is_a_failure_and_neither_label_nor_score(atlas, endpoint):
    endpoint.plan("refuse")
    label(atlas, a_run(endpoint))
    feature = atlas.feature(FEATURE)
    assert {one.method for one in feature.labels} == {one.method for one in feature.scores}
    assert {one.method for one in feature.labels} == {"tokens"}
    (failure,) = atlas.label_failures(FEATURE)
    assert (failure.method, failure.step) == ("llm", "explain")
    assert failure.reason.startswith("refused: I cannot")
    label(atlas, a_run(endpoint))
    assert atlas.label_failures(FEATURE) == ()
    assert {one.method for one in atlas.feature(FEATURE).labels} == {"llm", "tokens"}


def test_a_judge_that_cannot_be_read_fails_one_score_alone(atlas, endpoint):
    endpoint.plan("well", *["wrong json"] * 3, *["well"] * 30)
    label(atlas, a_run(endpoint, scorers=("detection",), batch=24))
    endpoint.plan()
    steps = [one.step for one in atlas.label_failures(FEATURE)]
    assert steps == ["detection"]
    assert [one.scorer for one in atlas.feature(FEATURE).scores] == ["detection"]  # by rule
    assert "llm" in {one.method for one in atlas.feature(FEATURE).labels}


def test_simulation_without_log_probabilities_is_a_failure(atlas, endpoint):
    endpoint.plan("well", *["no logprobs"] * 60)
    label(atlas, a_run(endpoint, scorers=("simulation",)))
    (failure,) = atlas.label_failures(FEATURE)
    assert failure.step == "simulation"
    assert "no log-probabilities" in failure.reason


def test_the_queue_goes_by_worth_and_empties(atlas, endpoint):
    from atlas.note_types import Comment

    atlas.notes.add(Comment("toy/1-t/2", "what is this?"), "ada")
    settings = a_run(endpoint)
    saes, names = job.chosen(atlas, settings, [], [], None)
    # 2 has a note; 3 disagrees most of the others; 5 is dead.
    assert [one.index for one in names] == [2, 3, 4, 0, 1]
    label(atlas, settings, map(str, names))
    with pytest.raises(job.Nothing, match="nothing to label"):
        job.chosen(atlas, settings, [], [], None)


def test_later_features_join_the_run_and_the_earlier_stay(atlas, endpoint):
    label(atlas, a_run(endpoint))
    label(atlas, a_run(endpoint), ["toy/1-t/3"])
    assert len([run for run in atlas.runs() if run.kind == "labels"]) == 1
    titles = [atlas.feature(f"toy/1-t/{n}").row.title_method for n in (1, 2, 3)]
    assert titles == ["llm", "tokens", "llm"]


def test_asking_again_gives_a_new_label_in_the_old_ones_place(atlas, endpoint):
    label(atlas, a_run(endpoint))
    endpoint.plan()
    label(atlas, a_run(endpoint))
    assert endpoint.seen()["counts"] == {}
    other = {"when": "w", "fetches": "f", "says": "s", "title": "new"}
    endpoint.plan(json.dumps(other))
    label(atlas, a_run(endpoint), salt="again")
    mine = [one.text for one in atlas.feature(FEATURE).labels if one.method == "llm"]
    assert mine == ["new", "w", "f", "s"]


def test_a_spent_budget_stops_cleanly_and_a_larger_one_goes_on(atlas, endpoint):
    names = [f"toy/1-t/{n}" for n in range(5)]
    first = label(atlas, a_run(endpoint, Budget(tokens=12_000)), names)
    assert "the budget of 12,000 tokens is spent" in first.stopped
    assert 0 < first.features < 5
    assert first.features + first.left == 5
    (run,) = [run for run in atlas.runs() if run.kind == "labels"]
    assert run.config["spent"]["tokens_in"] + run.config["spent"]["tokens_out"] <= 12_000
    endpoint.plan()
    second = label(atlas, a_run(endpoint), names, published=False)
    assert (second.stopped, second.left) == ("", 0)
    assert first.calls + second.calls == 5 * 7  # one to explain, three and three to judge


def test_a_killed_run_goes_on_and_pays_for_no_answered_call_twice(atlas, endpoint):
    settings = a_run(endpoint)
    folder = atlas.store / "bundles" / job.run_id(settings, atlas.saes())
    environment = os.environ | {"ATLAS_LABEL_KEY": KEY}
    command = [
        sys.executable, "-m", "app.cli", "label", "--store", str(atlas.store), "--concurrency", "4",
        "--endpoint", endpoint.url, "--model", "m", "--no-publish",
    ]  # fmt: skip
    endpoint.plan(*["well"] * 12, *["slow"] * 4)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    journal = folder / FILE
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= 12):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_progress(folder).state == "stopped"
    answered = journal.read_bytes().count(b"\n")
    endpoint.plan()
    done = label(atlas, settings, [f"toy/1-t/{n}" for n in range(5)], published=False)
    assert (done.features, done.left) == (5, 0)
    assert endpoint.seen()["counts"]["chat"] == 5 * 7 - answered
    assert not any(KEY in path.read_text("utf-8", "replace") for path in folder.rglob("*.json*"))


def test_a_plan_counts_the_calls_that_are_then_made(atlas, endpoint):
    settings = a_run(endpoint, Budget(price_in=1.0, price_out=2.0))
    saes, names = job.chosen(atlas, settings, [], [], None)
    plan = make_plan(atlas, settings, saes, names, 2.0)
    assert endpoint.seen()["counts"] == {}
    done = label(atlas, settings, map(str, names), published=False)
    assert plan.calls == done.calls == 35
    assert plan.usd == pytest.approx((plan.tokens_in + 2 * plan.tokens_out) / 1e6)
    assert plan.seconds == 35 * 2.0 / 4
    larger = make_plan(atlas, settings, saes, names[:1] or names, 2.0, total=350_000)
    assert larger.features == 350_000


def test_a_server_that_asks_for_no_key_needs_none(atlas, endpoint):
    settings = a_run(endpoint)
    saes, names = job.chosen(atlas, settings, [], [FEATURE], None)
    assert job.run_labels(atlas, settings, saes, names).features == 1


def test_rules_are_scored_without_any_endpoint(atlas):
    label(atlas, Settings())
    assert {one.scored_by for one in atlas.feature(FEATURE).scores} == {"rule"}


def test_the_review_queue_names_its_reasons(atlas, endpoint):
    from atlas.note_types import HumanLabel

    endpoint.plan('{"when": "on “zebra”", "fetches": "x", "says": "y", "title": "zebra"}')
    label(atlas, a_run(endpoint), ["toy/1-t/4"])
    queue = {str(one.row.id): one.reasons for one in atlas.review_queue()}
    assert queue["toy/1-t/3"] == ("disagree",)
    assert [str(one.row.id) for one in atlas.review_queue(reason="disagree")] == ["toy/1-t/3"]
    atlas.notes.add(HumanLabel("toy/1-t/3", "mine"), "ada")
    assert "toy/1-t/3" not in {str(one.row.id) for one in atlas.review_queue()}


def test_one_feature_is_labelled_anew_from_its_page(atlas, endpoint, monkeypatch):
    from app.relabel import labeller, relabel

    named = atlas.feature(FEATURE).id
    with pytest.raises(LabelError, match="no endpoint is set"):
        relabel(atlas.store, named)
    for name, value in {"URL": endpoint.url, "MODEL": "m", "KEY": KEY}.items():
        monkeypatch.setenv(f"ATLAS_LABEL_{name}", value)
    assert labeller() == "m"
    assert "published as snapshot 000002" in relabel(atlas.store, named)
    assert atlas.feature(FEATURE).row.title == "fires on “the”"


def test_the_command_says_what_it_did(atlas, endpoint, monkeypatch):
    monkeypatch.setenv("ATLAS_LABEL_KEY", KEY)
    base = ["label", "--store", str(atlas.store), "--endpoint", endpoint.url, "--model", "m"]
    runner = CliRunner()
    dry = runner.invoke(cli, [*base, "--dry-run", "--price-in", "1", "--price-out", "2"])
    assert "calls  35" in dry.output
    assert "cost  $" in dry.output
    done = runner.invoke(cli, [*base, "--limit", "2"], catch_exceptions=False)
    assert "published as snapshot 000002" in done.output
    assert "detection" in done.output
    assert KEY not in dry.output + done.output
    shown = runner.invoke(cli, ["judgements", "toy/1-t/3", "--store", str(atlas.store)])
    assert "detection of the label by llm m explain-" in shown.output
    assert shown.output.count("✓") == 4 * 24
    spent = runner.invoke(cli, [*base, "--budget-tokens", "9000"])
    assert "stopped: the budget of 9,000 tokens is spent" in spent.output
