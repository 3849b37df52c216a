"""A job that is killed at any moment goes on to the same bundle; a full disk is said as such."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlas.bundle import open_bundle
from atlas.errors import StoreError
from ingest.job import run_id, run_job
from tests.ingest.jobs import a_job

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
from pathlib import Path
from ingest.config import make_job
from ingest.job import run_job
job, store = make_job(json.loads(sys.argv[1])), Path(sys.argv[2])
run_job(job, store, lambda told: print(told.stage, flush=True))
"""


def start(job, store, **more):
    command = [sys.executable, "-c", RUN, json.dumps(job.model_dump(mode="json")), str(store)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **more)


def kill_in(stage, job, store, after):
    """Kill the job `after` seconds into a stage."""
    process = start(job, store)
    for line in process.stdout:
        if line.strip() == stage:
            time.sleep(after)
            break
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.slow
def test_a_job_killed_again_and_again_ends_with_the_bundle_of_one_never_stopped(tmp_path):
    job = a_job(tmp_path)
    whole = run_job(job, tmp_path / "whole")
    for stage, after in (
        ("tokenise", 0.01),
        ("train", 0.15),
        ("evaluate", 0.01),
        ("mine", 0.05),
        ("attribute", 0.02),
        ("label and write", 0.01),
    ):
        kill_in(stage, job, tmp_path / "killed", after)
    with start(job, tmp_path / "killed") as last:
        last.stdout.read()
    resumed = open_bundle(tmp_path / "killed" / "bundles" / run_id(job))
    names = set(whole.files) - {"run.parquet", "run_log.parquet"}
    assert {n: resumed.files[n].sha256 for n in names} == {n: whole.files[n].sha256 for n in names}


def test_a_full_disk_is_one_clear_error_and_the_job_goes_on_once_there_is_room(tmp_path):
    job = a_job(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(StoreError, match="cannot go on: .*give the same command again"):
            run_job(job, tmp_path / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run_job(job, tmp_path / "store").counts["sae"] == 2
