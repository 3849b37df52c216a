"""Publishing is killed, runs out of disk, and is read from all the while: nothing is lost."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from atlas.store import features
from atlas.store.publish import publish
from atlas.store.reader import open_store
from tests.builders import a_bundle

ROOT = Path(__file__).parents[2]
PUBLISHER = """
import sys
from pathlib import Path
from atlas.store.publish import publish
store, bundle = map(Path, sys.argv[1:])
publish(store, [bundle], lambda step: print(step, flush=True))
"""
SMALL_DISK = """
import json, resource, sys
from pathlib import Path
from atlas.errors import StoreError
from atlas.store.publish import publish
store, bundle = map(Path, sys.argv[1:])
outcomes = []
for limit in (0, 1_000, 2_000_000, 4_000_000, 6_000_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        publish(store, [bundle])
        outcomes.append("published")
    except StoreError as error:
        outcomes.append(error.message)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print(json.dumps(outcomes))
"""


def runs_served(store):
    evidence = open_store(store).now()
    assert len(features.feature(evidence, "toy/1-t/0").examples) == 3
    return {run.id for run in evidence.runs}


def test_a_publisher_killed_at_any_moment_leaves_a_whole_snapshot(store, tmp_path):
    bundles = {run: a_bundle(tmp_path / run, run=run) for run in ("run-2", "run-3")}
    chance = random.Random(0)
    for _ in range(10):
        served = runs_served(store)
        ahead = next(bundle for run, bundle in bundles.items() if run not in served)
        child = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, store, ahead.path],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert child.stdout
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.4))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert runs_served(store) in (served, {ahead.run})
    last = next(bundle for run, bundle in bundles.items() if run not in runs_served(store))
    publish(store, [last.path])
    assert runs_served(store) == {last.run}
    assert not list((store / "snapshots").glob(".*"))


def test_a_full_disk_is_said_and_leaves_the_old_snapshot(store, tmp_path):
    second = a_bundle(tmp_path / "second", run="run-2")
    told = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, store, second.path],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    outcomes = json.loads(told.stdout)
    assert len(outcomes) == 5
    assert all("File too large" in outcome for outcome in outcomes)
    assert [path.name for path in (store / "snapshots").iterdir()] == ["000001"]
    assert runs_served(store) == {"run-1"}


def test_fifty_readers_see_one_whole_snapshot_or_the_next_while_publishing_goes_on(store, tmp_path):
    reader, stop, seen, wrong = open_store(store), threading.Event(), set(), []

    def read():
        while not stop.wait(0.5):
            evidence = reader.now()
            feature = features.feature(evidence, "toy/1-t/0")
            seen.add(evidence.snapshot.number)
            if (feature.run.id, len(feature.examples)) != (evidence.runs[0].id, 3):
                wrong.append(feature)

    with ThreadPoolExecutor(50) as pool:
        reading = [pool.submit(read) for _ in range(50)]
        for n in range(2, 5):
            publish(store, [a_bundle(tmp_path / f"b{n}", run=f"run-{n}").path])
            while n not in seen and not any(one.done() for one in reading):
                time.sleep(0.05)  # every snapshot is read by somebody before the next one comes
        stop.set()
    assert [one.exception() for one in reading] == [None] * 50
    assert wrong == []
    assert {2, 3, 4} <= seen
    assert reader.now().snapshot.number == 4
