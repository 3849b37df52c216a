"""Edits move what they name, keep the SAE's error, and reach the logits."""

import pytest
import torch

from atlas.lens.intervene import changed, move_feature, move_head
from atlas.lens.sae import decode, encode
from tests.lens.conftest import a_prompt, a_sae


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("zero", [0, 0]),
        ("mean", [3, 3]),
        ("resample", [1, 2]),
        ("set", [0.5, 0.5]),
        ("scale", [2, 4]),
    ],
)
def test_each_way_to_change_an_activation(how, expected):
    old, reference = torch.tensor([4.0, 8.0]), torch.tensor([1.0, 2.0, 6.0])
    assert changed(old, how, 0.5, reference).tolist() == expected


def test_a_moved_feature_takes_its_value_and_the_error_stays():
    sae, z = a_sae(32, d_sae=8), torch.randn(5, 32, generator=torch.Generator().manual_seed(3))
    before = encode(sae, z)
    pos = torch.tensor([1, 3])
    moved = move_feature(z, sae, 2, pos, torch.tensor([0.0, 7.0]))
    target = before.clone()
    target[pos, 2] = torch.tensor([0.0, 7.0])
    error = z - decode(sae, before)
    assert torch.allclose(moved, decode(sae, target) + error, atol=1e-5)
    assert torch.equal(moved[[0, 2, 4]], z[[0, 2, 4]])


def test_moving_a_feature_to_where_it_is_changes_nothing():
    sae, z = a_sae(32), torch.randn(5, 32, generator=torch.Generator().manual_seed(3))
    pos = torch.arange(5)
    assert torch.equal(move_feature(z, sae, 2, pos, encode(sae, z)[:, 2]), z)


def test_a_moved_head_leaves_the_others():
    z = torch.ones(4, 3, 2)
    moved = move_head(z, 1, torch.tensor([0, 3]), torch.zeros(2, 2))
    assert moved[[0, 3], 1].sum() == 0
    assert moved.sum() == z.sum() - 4


def test_zeroing_a_feature_takes_its_part_out_of_what_the_layer_writes():
    prompt = a_prompt("gpt2")
    layer, taken = prompt.layers[2], prompt.internals
    z, sae = taken.z[2].flatten(1), prompt.saes[2]
    feature = int(prompt.lenses[2].feature[0])
    acts = encode(sae, z)[:, feature]
    moved = move_feature(z, sae, feature, torch.arange(12), torch.zeros(12))
    w_o = layer.w_o.flatten(0, 1)
    part = acts[:, None] * (sae.w_dec[feature] @ w_o)
    assert torch.allclose(z @ w_o - moved @ w_o, part, atol=1e-5)
