"""SAE arithmetic against hand-computed values; files give back what was saved."""

import pytest
import torch

from atlas.errors import BundleError
from atlas.lens.sae import Sae, decode, encode, fire, fires, head_shares, load, save


def a_sae(k: int = 0) -> Sae:
    w = torch.tensor([[1.0, 0, 0, 0], [0, 3, 0, 4], [0, 0, 0, 2]])
    return Sae(
        w, torch.tensor([0.0, -1, 0]), w, torch.tensor([0.0, 0, 0, 1]), torch.tensor([0.5, 0, 0]), k
    )


def test_a_feature_fires_only_above_its_threshold():
    acts = encode(a_sae(), torch.tensor([[0.5, 0, 0, 1], [0.75, 0, 0, -1]]))
    assert acts.tolist() == [[0, 3, 2], [0.75, 0, 0]]


def test_topk_keeps_the_k_largest_and_nothing_negative():
    acts = encode(a_sae(k=2), torch.tensor([[0.25, 0, 0, 1], [0.75, 0, 0, -1]]))
    assert acts.tolist() == [[0, 3, 2], [0.75, 0, 0]]


@pytest.mark.parametrize("k", [0, 2])
def test_features_that_fire_are_those_with_an_activation(k):
    pre = torch.tensor([[0.5, 0.75, -1], [0.5000001, 0, 2], [-1, -2, -3]])
    assert torch.equal(fires(a_sae(k), pre), fire(a_sae(k), pre) > 0)


def test_decode_adds_the_decoder_bias():
    assert decode(a_sae(), torch.tensor([[2.0, 0, 1]])).tolist() == [[2, 0, 0, 3]]


def test_encoding_does_not_depend_on_the_batch():
    z = torch.randn(64, 4)
    together = encode(a_sae(), z)
    alone = torch.cat([encode(a_sae(), row[None]) for row in z])
    assert torch.allclose(together, alone, atol=1e-6)


def test_head_shares_are_ratios_of_norms_not_of_squares():
    shares = head_shares(torch.tensor([[3.0, 0, 0, 4], [0, 0, 0, 0], [0, 0, 0, 2]]), 2)
    assert torch.allclose(shares, torch.tensor([[3 / 7, 4 / 7], [0, 0], [0, 1]]))


def test_a_file_gives_back_each_sae_by_its_id(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(path, {"m/0-a": a_sae(), "m/1-a": a_sae(k=2)})
    again = load(path, "m/1-a")
    assert again.k == 2
    assert all(torch.equal(x, y) for x, y in zip(again[:5], a_sae()[:5], strict=True))


def test_an_unknown_sae_or_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(path, {"m/0-a": a_sae()})
    with pytest.raises(BundleError, match=r"no SAE m/7-a.*it has m/0-a"):
        load(path, "m/7-a")
    path.write_bytes(b"not weights")
    with pytest.raises(BundleError, match="cannot be read"):
        load(path, "m/0-a")
