"""Two features or two heads side by side."""

import pytest

from atlas.api import Atlas
from atlas.compare import total_variation
from atlas.errors import NotFound
from atlas.store.publish import publish


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    from tests.builders import a_bundle

    folder = tmp_path_factory.mktemp("compare")
    publish(folder / "store", [a_bundle(folder / "bundle").path])
    return Atlas.open(folder / "store")


def test_total_variation_is_half_the_l1_distance():
    assert total_variation([0.9, 0.1, 0.0], [0.2, 0.3, 0.5]) == pytest.approx(0.7)
    assert total_variation([1.0, 0.0], [0.0, 1.0]) == 1.0
    assert total_variation([None, None], [0.5, 0.5]) is None


def test_two_features_of_a_layer(atlas):
    found = atlas.compare("toy/1-t/3", "toy/1-t/0")
    assert (found.a.id.index, found.b.id.index) == (3, 0)
    assert found.cosine == pytest.approx(0.8)
    assert found.jaccard == pytest.approx(0.1)
    assert found.measured_distance == pytest.approx(0.15)
    assert found.weight_distance == pytest.approx(0.8)
    assert [pair[0].ctx for pair in found.shared] == [0, 1, 2]
    assert all(one.ctx == other.ctx for one, other in found.shared)


def test_features_of_different_layers_have_no_common_heads(atlas):
    found = atlas.compare("toy/0-t/0", "toy/1-t/0")
    assert (found.measured_distance, found.weight_distance, found.cosine) == (None, None, None)
    assert len(found.shared) == 3


def test_a_dead_feature_has_a_weight_profile_only(atlas):
    found = atlas.compare("toy/1-t/0", "toy/1-t/5")
    assert found.measured_distance is None
    assert found.weight_distance == pytest.approx(0.2)
    assert found.shared == ()


def test_two_heads_of_a_layer_share_features_and_split_them(atlas):
    found = atlas.compare_heads("toy/L1H0", "toy/L1H1")
    assert [one.row.id.index for one in found.shared] == [4, 2, 3, 1, 0]
    assert (found.shared[0].a.dfa_share, found.shared[0].b.dfa_share) == (0.5, 0.5)
    assert found.correlation == pytest.approx(-1.0)  # two heads: what one gains the other loses
    assert found.features == 5


def test_heads_of_different_layers_share_no_features(atlas):
    found = atlas.compare_heads("toy/L0H0", "toy/L1H0")
    assert (found.shared, found.correlation, found.features) == ((), None, 0)
    assert str(found.b.id) == "toy/L1H0"


def test_what_is_not_there_cannot_be_compared(atlas):
    with pytest.raises(NotFound, match="features 0 to 5"):
        atlas.compare("toy/1-t/0", "toy/1-t/9")
