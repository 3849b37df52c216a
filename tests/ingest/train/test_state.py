"""Checkpoints: a copy written in the background, whole or not at all, and what it gives back."""

import time

import pytest
import torch
from safetensors import SafetensorError

from ingest.train.params import unscaled
from ingest.train.state import Checkpoints, State, clear_drafts, read_checkpoint, steps_done
from ingest.train.stream import Place
from tests.ingest.train.test_step import D, some_params

BETAS = (0.9, 0.99)
LIMITS = torch.ones(1)


def a_state():
    state = State(some_params(), unscaled(torch.zeros(1, 1, D)), BETAS)
    for part in state.gradients:
        part.normal_()
    for group in state.optimiser.param_groups:
        group["lr"] = 0.01
    state.optimiser.step()
    state.step, state.place, state.dropped, state.resampled = 1, Place(3, 4), 1, 2
    return state


def test_what_is_written_is_the_state_of_that_moment(tmp_path):
    state = a_state()
    before = {name: part.clone() for name, part in state.tensors().items()}
    with Checkpoints(tmp_path / "c", 0.0, time.monotonic) as checkpoints:
        checkpoints.save(state, LIMITS)
        for part in state.tensors().values():
            part.fill_(7)
        state.step = 99
    again, limits = read_checkpoint(tmp_path / "c", "cpu", BETAS)
    assert again.numbers() == {**a_state().numbers()}
    assert torch.equal(limits, LIMITS)
    for name, part in again.tensors().items():
        assert torch.equal(part, before[name]), name


def test_a_restored_optimiser_takes_the_same_step(tmp_path):
    state = a_state()
    with Checkpoints(tmp_path / "c", 0.0, time.monotonic) as checkpoints:
        checkpoints.save(state, LIMITS)
    again, _ = read_checkpoint(tmp_path / "c", "cpu", BETAS)
    for one in (state, again):
        for part in one.gradients:
            part.fill_(0.5)
        for group in one.optimiser.param_groups:
            group["lr"] = 0.01
        one.optimiser.step()
    for ours, theirs in zip(state.params, again.params, strict=True):
        assert torch.equal(ours, theirs)


def test_a_half_written_file_is_no_checkpoint(tmp_path):
    (tmp_path / "c.12.partial").mkdir()
    (tmp_path / "c.12.partial" / "c").write_bytes(b"half")
    assert read_checkpoint(tmp_path / "c", "cpu", BETAS) is None
    assert steps_done(tmp_path / "c") == 0
    clear_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_trainings_of_the_same_leave_one_whole_checkpoint_and_nothing_else(tmp_path):
    one, other = (Checkpoints(tmp_path / "c", 0.0, time.monotonic) for _ in range(2))
    with one, other:
        one.save(a_state(), LIMITS)
        other.save(a_state(), LIMITS)
    assert steps_done(tmp_path / "c") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_is_due_when_its_time_has_come(tmp_path):
    now = [0.0]
    with Checkpoints(tmp_path / "c", 60.0, lambda: now[0]) as checkpoints:
        assert not checkpoints.is_due
        now[0] = 61.0
        assert checkpoints.is_due
        checkpoints.save(a_state(), LIMITS)
        assert not checkpoints.is_due


def test_a_disk_that_cannot_be_written_stops_the_training(tmp_path):
    with (
        pytest.raises((OSError, SafetensorError), match="No such file"),
        Checkpoints(tmp_path / "nowhere" / "c", 0.0, time.monotonic) as checkpoints,
    ):
        checkpoints.save(a_state(), LIMITS)
