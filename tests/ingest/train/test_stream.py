"""The activation stream: one forward pass for all layers, the same from any place on."""

import itertools

import pytest
import torch

from atlas.errors import CorpusError
from ingest.config import TrainPart
from ingest.train.stream import (
    Place,
    activations_per_buffer,
    sink_limits,
    valid_positions,
    without_sinks,
)
from tests.ingest.train.planted import PlantedModel, a_stream


def take(stream, count, start=Place(0, 0)):  # noqa: B008 (immutable)
    return list(itertools.islice(stream.batches(start), count))


def test_resuming_anywhere_gives_the_same_batches():
    whole = take(a_stream(), 40)
    for done in (1, 13, 29):
        again = take(a_stream(), 40 - done, start=whole[done - 1][0])
        for (_, expected), (_, batch) in zip(whole[done:], again, strict=True):
            assert torch.equal(batch, expected)


def test_a_buffer_serves_all_its_repeats_from_one_forward_pass_per_group():
    model = PlantedModel()
    take(a_stream(model), 14)  # 32 contexts of 15 positions, 7 batches of 64, twice
    assert model.passes == 4  # 32 contexts, 8 at a time


def test_repeats_use_each_activation_once_each_in_another_order():
    batches = [batch for _, batch in take(a_stream(batch=480), 2)]
    first, second = (batch[0][batch[0][:, 0].argsort()] for batch in batches)
    assert not torch.equal(batches[0], batches[1])
    assert torch.equal(first, second)


def test_every_round_takes_each_context_once_in_another_order():
    stream = a_stream(buffer=24)  # of 64 contexts: a buffer may reach into the next round
    found = torch.cat([stream._contexts_of(number) for number in range(8)])
    rounds = found.view(3, 64)
    for one in rounds:
        assert sorted(one.tolist()) == list(range(64))
    assert not torch.equal(rounds[0], rounds[1])
    assert torch.equal(a_stream(buffer=24)._contexts_of(5), stream._contexts_of(5))


def test_another_seed_gives_another_order():
    assert not torch.equal(take(a_stream(seed=0), 1)[0][1], take(a_stream(seed=1), 1)[0][1])


def test_positions_past_the_end_and_the_first_ones_are_left_out():
    valid = valid_positions(torch.tensor([4, 2]), width=5, skip_first=1)
    assert valid.tolist() == [[False, True, True, True, False], [False, True, False, False, False]]


def test_a_position_far_longer_than_the_median_is_a_sink():
    z = torch.ones(1, 5, 1, 4)
    z[0, 3] = 50.0
    valid = torch.ones(1, 5, dtype=torch.bool)
    limits = sink_limits(z, valid, 10.0)
    assert without_sinks(z, valid, limits).tolist() == [[True, True, True, False, True]]
    assert without_sinks(z, valid, sink_limits(z, valid, None)).all()


def test_a_buffer_smaller_than_a_batch_is_refused():
    with pytest.raises(CorpusError, match=r"480 activations, fewer than train\.batch = 10000"):
        take(a_stream(batch=10_000), 1)


@pytest.mark.parametrize(
    ("tokens", "repeats", "buffer", "wanted"),
    [
        (10_000, 1, 10_000, 10_200),  # one buffer, with room for sinks
        (10_400, 1, 10_000, 10_608),  # still one
        (12_000, 1, 10_000, 6_120),  # two of one size, not a whole one and a rest
        (40_000, 4, 10_000, 10_200),  # each is used four times
        (1_000, 1, 10_000, 1_020),  # no more than there is need for
    ],
)
def test_buffers_are_cut_so_that_the_last_is_needed_whole(tokens, repeats, buffer, wanted):
    part = TrainPart(tokens=tokens, repeats=repeats, buffer_tokens=buffer, batch=100)
    assert activations_per_buffer(part) == pytest.approx(wanted + 100)
