"""Progress: a rate of the last while, a file that anybody can read, dead processes seen as such."""

import json
import subprocess
import sys

import pytest

from atlas import progress
from atlas.progress import Reporter


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def a_reporter(folder, told, clock):
    folder.mkdir(parents=True, exist_ok=True)
    return Reporter(folder, "run-1", told.append, clock)


def test_the_rate_is_that_of_the_last_half_minute(tmp_path):
    clock, told = Clock(), []
    reporter = a_reporter(tmp_path, told, clock)
    reporter.stage("train", 1000, "tokens")
    for _ in range(40):  # slow at first
        clock.now += 1
        reporter.advance(1)
    for _ in range(40):
        clock.now += 1
        reporter.advance(10)
    assert told[-1].rate == pytest.approx(10)
    assert told[-1].left == pytest.approx((1000 - 440) / 10)


def test_what_an_earlier_run_did_is_done_but_not_quick(tmp_path):
    clock, told = Clock(), []
    reporter = a_reporter(tmp_path, told, clock)
    reporter.stage("train", 1000, "tokens")
    clock.now += 10
    reporter.advance(0, 30.0, read=5, reading=0.5)
    assert (told[-1].left, told[-1].figures) == (30.0, {"read": 5, "reading": 0.5})
    reporter.resume(900)
    clock.now += 10
    reporter.advance(20, read=6, reading=None)
    assert (told[-1].done, told[-1].rate) == (920, 1.0)
    assert told[-1].figures == {"read": 6}


def test_figures_alone_change_no_count(tmp_path):
    clock, told = Clock(), []
    reporter = a_reporter(tmp_path, told, clock)
    reporter.stage("train", 10, "tokens")
    clock.now += 1
    reporter.advance(0, read=5)
    assert (told[-1].done, told[-1].left, told[-1].figures) == (0, None, {"read": 5})


def test_the_file_says_what_the_listener_was_told(tmp_path):
    told = []
    reporter = a_reporter(tmp_path / "bundles" / "run-1", told, Clock())
    reporter.stage("train", 10, "tokens")
    reporter.end("done")
    assert progress.read_all(tmp_path) == (told[-1],)
    assert told[-1].state == "done"


def test_a_run_whose_process_is_gone_is_stopped(tmp_path):
    a_reporter(tmp_path, [], Clock()).stage("train", 10, "tokens")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    content = json.loads((tmp_path / progress.FILE).read_text())
    (tmp_path / progress.FILE).write_text(json.dumps({**content, "pid": gone.pid}))
    assert progress.read(tmp_path).state == "stopped"


@pytest.mark.parametrize("content", ["", "{}", "[1]", "null", '{"run": 1}'])
def test_a_damaged_file_is_no_run(tmp_path, content):
    (tmp_path / progress.FILE).write_text(content)
    assert progress.read(tmp_path) is None
