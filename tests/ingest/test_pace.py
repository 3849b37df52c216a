"""Time left of a training that reads and steps by turns."""

import pytest

from ingest.pace import Pace


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_reading_alone_gives_a_rate_and_a_lower_bound():
    clock = Clock()
    pace = Pace(1000, 4000, clock)
    assert pace.left is None
    clock.now = 2.0
    pace.read(100)
    assert pace.read_rate == 50
    assert not pace.sees_steps
    assert pace.left == pytest.approx(900 / 50)


def test_both_kinds_of_work_are_counted_at_their_own_rate():
    clock = Clock()
    pace = Pace(1000, 4000, clock)
    clock.now = 10.0
    pace.read(500)
    clock.now = 11.0
    pace.stepped(400, 400)
    assert pace.left == pytest.approx(500 / 50 + 3600 / 400)


def test_a_resumed_training_only_counts_what_it_has_left():
    clock = Clock()
    pace = Pace(1000, 4000, clock)
    clock.now = 10.0
    pace.read(500)
    clock.now = 11.0
    pace.stepped(400, 2400)  # 2,000 were done before
    assert pace.left == pytest.approx(0 / 50 + 1600 / 400)
