"""The pieces of a residual stream add up to it, on every family."""

import torch

from atlas.lens.pieces import ATTENTION, BIAS, EMBEDDING, ERROR, FEATURE, MLP, POSITION, vectors
from tests.lens.conftest import a_prompt, close


def test_the_vectors_at_a_position_sum_to_the_residual_stream(prompt):
    for below in range(4):
        _, found = vectors(prompt.internals, prompt.layers, prompt.lenses, 7, below)
        assert close(found.sum(0), prompt.internals.residual(below)[7])


def test_each_piece_gives_a_reader_its_vector_times_what_is_read(prompt):
    reads = torch.randn(2, 12, 32, generator=torch.Generator().manual_seed(1))
    for below in (0, 2, 3):
        given = prompt.give(reads, below)
        assert given.shape == (2, len(prompt.pieces.kind))
        for pos in (0, 11):
            rows, found = vectors(prompt.internals, prompt.layers, prompt.lenses, pos, below)
            assert (prompt.pieces.pos[rows] == pos).all()
            assert close(given[:, rows], (found @ reads[:, pos].T).T)
        assert not given[:, prompt.pieces.layer >= below].any()
        total = torch.einsum("pd,rpd->r", prompt.internals.residual(below), reads)
        assert close(given.sum(1), total, given.abs().sum(1))


def test_the_table_says_what_each_row_is():
    prompt = a_prompt("gpt2")
    kinds = prompt.pieces.kind.bincount(minlength=7).tolist()
    assert kinds[EMBEDDING] == kinds[POSITION] == 12
    assert kinds[MLP] == kinds[BIAS] == 36
    assert kinds[ERROR] == 24
    assert kinds[ATTENTION] == 12
    assert kinds[FEATURE] == len(prompt.lenses[0].pos) + 12 * 6
    features = prompt.pieces.kind == FEATURE
    assert (prompt.pieces.act[features] > 0).all()
    assert (prompt.pieces.feature[~features] == -1).all()
    assert set(prompt.pieces.layer[features].tolist()) == {0, 2}


def test_learned_positions_are_a_piece_of_their_own_and_absent_under_rotary():
    assert a_prompt("gpt2").internals.position.abs().max() > 0.1
    assert not a_prompt("llama").internals.position.any()
