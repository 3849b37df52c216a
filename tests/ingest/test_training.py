"""Groups of layers, trained apart and in any place, become the SAEs of one training to the bit."""

import pytest

from ingest.config import EnginePart
from ingest.elsewhere import Where
from ingest.job import run_id, run_job
from ingest.train.groups import Group, run_elsewhere, split
from tests.ingest.jobs import a_job


def same(one, other):
    names = set(one.files) - {"run.parquet", "run_log.parquet"}
    assert {n: one.files[n].sha256 for n in names} == {n: other.files[n].sha256 for n in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    job = a_job(folder)
    return job, run_job(job, folder / "store")


def apart(job, **engine):
    return job.model_copy(update={"engine": EnginePart(train_groups=2, **engine)})


def test_layers_are_split_evenly_in_their_order():
    assert split((1, 2, 5, 7, 9), 2) == [(1, 2, 5), (7, 9)]
    assert split((1, 2), 1) == [(1, 2)]
    assert split((1, 2), 5) == [(1,), (2,)]


def test_groups_one_after_the_other_give_the_bytes_of_one_training(whole, tmp_path):
    job, bundle = whole
    told = []
    assert run_id(apart(job)) == run_id(job)
    same(run_job(apart(job), tmp_path, told.append), bundle)
    training = [one for one in told if one.stage == "train"]
    assert training[-1].done == training[-1].total == 2 * 2560


class Stopped(Exception):
    pass


def test_a_job_stopped_between_and_within_groups_goes_on_to_the_same_bytes(whole, tmp_path):
    job, bundle = whole
    for limit in (1000, 3500):

        def stop(now, limit=limit):
            if now.stage == "train" and now.done >= limit:
                raise Stopped

        with pytest.raises(Stopped):
            run_job(apart(job), tmp_path, stop)
    same(run_job(apart(job), tmp_path), bundle)


def test_workers_train_a_group_each_and_what_they_write_is_told(whole, tmp_path):
    pytest.importorskip("distributed")
    job, bundle = whole
    told = []
    same(run_job(apart(job, kind="dask"), tmp_path, told.append), bundle)
    training = [one for one in told if one.stage == "train"]
    assert training[-1].done == training[-1].total
    assert len(training[-1].figures["fvu"]) == 2


def test_a_worker_that_sees_another_model_refuses_the_group(whole, tmp_path):
    job, _ = whole
    kept = []

    def keep(now):
        if now.stage == "train":
            kept.append(now)
            raise Stopped

    with pytest.raises(Stopped):
        run_job(job, tmp_path, keep)
    folder = tmp_path / "bundles" / run_id(job)
    group = Group((0,), folder / "work" / "train-0.safetensors", "another")
    with pytest.raises(ValueError, match="another model"):
        run_elsewhere(Where(job.model_dump_json(), str(folder)), group)
