"""A run's own record: one curve over all tries, and a log that a kill leaves readable."""

import subprocess
import sys

import pytest

from atlas import progress, record
from atlas.errors import NotFound
from atlas.progress import Reporter


def point(step, layer=3, **changes):
    figures = {"fvu": 0.5, "l0": 16.0, "dead": 0.0, "loss": 0.4, "learning_rate": 1e-3}
    return record.TrainingPoint(layer, step, 100 * step, **figures | changes)


def write(folder, *steps):
    for points in steps:
        progress.append(folder / record.curve_file([0, 1]), record.curve_line(points))


def test_a_curve_is_read_by_layer_then_step(tmp_path):
    first, second = [point(1, 3), point(1, 5)], [point(2, 3), point(2, 5, fvu=0.25)]
    write(tmp_path, first, second)
    assert record.read_curve(tmp_path) == (first[0], second[0], first[1], second[1])


def test_a_step_that_was_done_again_after_a_stop_counts_once(tmp_path):
    write(tmp_path, [point(1)], [point(2)], [point(2, fvu=0.3)], [point(3)])
    assert [(one.step, one.fvu) for one in record.read_curve(tmp_path)] == [
        (1, 0.5),
        (2, 0.3),
        (3, 0.5),
    ]


def test_a_torn_last_line_is_passed_over(tmp_path):
    write(tmp_path, [point(1)])
    with (tmp_path / record.curve_file([0, 1])).open("a") as file:
        file.write('{"step": 2, "tok')
    assert [one.step for one in record.read_curve(tmp_path)] == [1]


def test_the_log_tells_every_stage_of_every_try(tmp_path):
    seconds = [0.0]
    for ending in (("stopped", "stopped by hand"), ("done", "")):
        reporter = Reporter(tmp_path, "r", lambda _: None, lambda: seconds[0])
        reporter.stage("tokenise", 1, "corpus")
        seconds[0] += 2
        reporter.advance(1)
        reporter.stage("train", 100, "tokens")
        seconds[0] += 5
        reporter.advance(40)
        reporter.end(*ending)
    told = [(one.stage, one.seconds, one.done, one.outcome) for one in record.read_log(tmp_path)]
    assert told == [
        ("tokenise", 2, 1, "done"),
        ("train", 5, 40, "stopped"),
        ("tokenise", 2, 1, "done"),
        ("train", 5, 40, "done"),
    ]
    assert record.read_log(tmp_path)[1].message == "stopped by hand"


def test_a_process_that_is_killed_leaves_its_stage_unfinished(tmp_path):
    code = (
        "import os, pathlib, time; from atlas.progress import Reporter;"
        f"r = Reporter(pathlib.Path({str(tmp_path)!r}), 'r', lambda _: None, time.monotonic);"
        "r.stage('train', 100, 'tokens'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (line,) = record.read_log(tmp_path)
    assert (line.stage, line.seconds, line.outcome) == ("train", None, "unfinished")


def test_only_runs_of_the_store_are_read(tmp_path):
    folder = tmp_path / "bundles" / "run-1"
    folder.mkdir(parents=True)
    Reporter(folder, "run-1", lambda _: None, lambda: 0.0).stage("train", 1, "tokens")
    write(folder, [point(1)])
    assert record.read_now(tmp_path, "run-1").curve == (point(1),)
    with pytest.raises(NotFound, match=r"no run '\.\./run-1'"):
        record.read_now(tmp_path, "../run-1")
