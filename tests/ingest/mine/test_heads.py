"""Head metrics of hand-made patterns."""

import numpy as np
import pytest
import torch

from ingest.mine.heads import METRICS, context_means, metric_table

TOKENS = torch.tensor([[9, 5, 6, 7, 5, 6]])  # ^ a b c a b: position 4 repeats 1, 5 repeats 2
ALL = torch.tensor([[False, True, True, True, True, True]])


def attending(source_of):
    """One head that puts all attention of position d on source_of(d)."""
    pattern = torch.zeros(1, 1, 6, 6)
    for dst in range(6):
        pattern[0, 0, dst, source_of(dst)] = 1
    return pattern


def metrics(pattern, valid=ALL):
    return dict(zip(METRICS, context_means(pattern, TOKENS, valid)[0, 0].tolist(), strict=True))


def test_a_previous_token_head_is_seen_as_one():
    found = metrics(attending(lambda dst: max(dst - 1, 0)))
    assert (found["previous_token"], found["self"], found["distance"]) == (1, 0, 1)
    assert found["first_token"] == pytest.approx(1 / 5)


def test_a_duplicate_token_head_is_seen_as_one():
    found = metrics(attending(lambda dst: dst - 3 if dst > 3 else dst))
    assert found["duplicate_token"] == pytest.approx(2 / 5)
    assert found["self"] == pytest.approx(3 / 5)
    assert found["induction"] == 0


def test_an_induction_head_attends_to_what_followed_the_earlier_copy():
    found = metrics(attending(lambda dst: dst - 2 if dst > 3 else 0))
    assert found["induction"] == pytest.approx(2 / 5)
    assert found["duplicate_token"] == 0


def test_entropy_is_in_bits():
    uniform = torch.tril(torch.ones(6, 6)) / torch.arange(1, 7)[:, None]
    found = metrics(uniform[None, None])
    assert found["entropy"] == pytest.approx(np.log2([2, 3, 4, 5, 6]).mean())


def test_only_scored_positions_count():
    last = torch.tensor([[False] * 5 + [True]])
    assert metrics(attending(lambda dst: dst - 1 if dst == 5 else dst), last)["previous_token"] == 1


def test_the_table_gives_means_with_intervals_over_contexts():
    means = {3: np.array([[[0.2] * 7], [[0.4] * 7], [[np.nan] * 7]], np.float32)}
    table = metric_table("m", means, "run-1")
    assert table["layer"] == [3] * 7
    assert table["n"] == [2] * 7
    assert table["value"][0] == pytest.approx(0.3)
    half = 1.96 * np.std([0.2, 0.4], ddof=1) / np.sqrt(2)
    assert (table["low"][0], table["high"][0]) == pytest.approx((0.3 - half, 0.3 + half))
