"""Which steps of a training are kept."""

import pytest

from ingest.curve import POINTS, kept_steps


def test_a_short_training_keeps_every_step():
    assert kept_steps(5) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("steps", [201, 390, 48_828])
def test_a_long_one_keeps_a_bounded_number_from_the_first_step_to_the_last(steps):
    kept = sorted(kept_steps(steps))
    assert (kept[0], kept[-1]) == (1, steps)
    assert POINTS // 2 <= len(kept) <= POINTS
    assert max(b - a for a, b in zip(kept, kept[1:], strict=False)) <= steps / (POINTS // 2) + 1


def test_steps_lie_closest_in_the_beginning():
    kept = kept_steps(48_828)
    assert {1, 2, 3, 5, 8} <= kept
    assert sum(step <= 4_883 for step in kept) > POINTS / 3
