"""Mining on a real Dask cluster of processes: whatever dies, the bytes are those of a local run."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from atlas import progress
from atlas.bundle import open_bundle
from atlas.errors import BundleError, ConfigError, StoreError
from ingest.config import EnginePart, make_job
from ingest.engine import TRIES, open_engine, run_all
from ingest.job import run_id, run_job
from tests.ingest.jobs import a_job

distributed = pytest.importorskip("distributed")
QUIET = "ignore::pytest.PytestUnraisableExceptionWarning"


def append(path, text):
    with Path(path).open("a") as file:
        file.write(f"{text} {os.getpid()}\n")


def die(path):
    """Kill the worker that has this unit the first time; the second time do it."""
    file = Path(path)
    if not file.exists():
        file.write_text("begun")
        os.kill(os.getpid(), signal.SIGKILL)
    file.write_text("done")


def break_down(path):
    append(path, "tried")
    raise IndexError("token 999 is not in the vocabulary")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def on(cluster):
    return EnginePart(kind="dask", scheduler=cluster.scheduler_address)


@pytest.mark.parametrize("kind", ["local", "dask"])
def test_a_poisoned_unit_is_named_after_three_tries_and_the_others_are_done(
    cluster, tmp_path, kind
):
    part = on(cluster) if kind == "dask" else EnginePart()
    units = {f"unit {n}": functools.partial(append, tmp_path / str(n), "done") for n in range(4)}
    units["unit bad"] = functools.partial(break_down, tmp_path / "bad")
    finished = []
    with open_engine(part) as engine:
        failed = run_all(engine, units, finished.append)
    assert failed == {"unit bad": "IndexError: token 999 is not in the vocabulary"}
    assert sorted(finished) == [f"unit {n}" for n in range(4)]
    assert len((tmp_path / "bad").read_text().splitlines()) == TRIES


def test_a_worker_killed_in_mid_unit_is_replaced_and_the_unit_done(cluster, tmp_path):
    units = {"fatal": functools.partial(die, tmp_path / "fatal")}
    units |= {f"{n}": functools.partial(append, tmp_path / str(n), "done") for n in range(3)}
    with open_engine(on(cluster)) as engine:
        assert run_all(engine, units, lambda _: None) == {}
    assert (tmp_path / "fatal").read_text() == "done"


def test_a_scheduler_that_does_not_answer_is_said():
    part = EnginePart(kind="dask", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        open_engine(part)
    with pytest.raises(ConfigError, match="a scheduler is of use to kind = 'dask' alone"):
        make_job({"sae": {"layers": (0,)}, "engine": {"scheduler": "tcp://x:1"}})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    job = a_job(folder, mine={"shard_contexts": 16})
    return job, run_job(job, folder / "local")


def same(one, other):
    names = set(one.files) - {"run.parquet", "run_log.parquet"}
    assert {n: one.files[n].sha256 for n in names} == {n: other.files[n].sha256 for n in names}


def with_engine(job, part):
    return job.model_copy(update={"engine": part})


def test_workers_that_die_and_a_second_driver_change_no_byte(cluster, whole, tmp_path):
    job, bundle = whole
    mined = with_engine(job, on(cluster))
    assert run_id(mined) == run_id(job)
    refused, killed = {}, []

    def disturb(told):
        if told.stage in ("train", "mine") and told.stage not in refused:
            with pytest.raises(StoreError, match="already going on") as error:
                run_job(mined, tmp_path)
            refused[told.stage] = error
            threading.Thread(target=kill_soon).start()

    def kill_soon():
        time.sleep(0.3)
        worker = next(iter(cluster.workers.values()))
        killed.append(worker.pid)
        os.kill(worker.pid, signal.SIGKILL)

    same(run_job(mined, tmp_path, disturb), bundle)
    assert set(refused) == {"train", "mine"}
    assert len(killed) == 2


def test_a_shard_that_cannot_be_read_is_named_and_mended_the_job_goes_on(cluster, whole, tmp_path):
    job, bundle = whole
    poisoned = []

    def poison(told):
        """Put a token that no vocabulary has into the mined text, as a damaged file would."""
        path = tmp_path / "bundles" / run_id(job) / "work" / "corpus.npz"
        if told.stage == "train" and not poisoned:
            with np.load(path) as arrays:
                content = dict(arrays)
            poisoned.append(path.read_bytes())
            content["mine_tokens"][20, 3] = 9999
            np.savez(path, **content)

    with pytest.raises(BundleError, match=r"1 of \d+ units failed 3 times: count 16-31 \("):
        run_job(with_engine(job, on(cluster)), tmp_path, poison)
    with pytest.raises(BundleError, match="incomplete"):
        open_bundle(tmp_path / "bundles" / run_id(job))
    path = tmp_path / "bundles" / run_id(job) / "work" / "corpus.npz"
    path.write_bytes(poisoned[0])
    same(run_job(job, tmp_path), bundle)


@pytest.mark.filterwarnings(QUIET)
def test_a_killed_scheduler_is_said_and_the_next_run_computes_what_is_missing(whole, tmp_path):
    job, bundle = whole
    told = []
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    command += ["--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as scheduler:
        while not file.is_file():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]

        def kill(now):
            told.append(now)
            if now.stage == "train" and scheduler.poll() is None:
                scheduler.kill()  # it has no workers, so units are still waiting

        part = EnginePart(kind="dask", scheduler=address)
        with pytest.raises(StoreError, match="scheduler is gone while train 0, 2"):
            run_job(with_engine(job, part), tmp_path, kill)
    (stopped,) = progress.read_all(tmp_path)
    assert stopped.state == "failed"
    same(run_job(job, tmp_path), bundle)
