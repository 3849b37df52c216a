"""Attribution of kept firings: each row as computed alone, whatever is computed together."""

import numpy as np
import pytest
import torch

from atlas.lens.dfa import source_dfa
from atlas.lens.sae import Sae, encode
from atlas.model import Attention
from ingest.mine import attribute as attributes
from ingest.mine.attribute import Attributed, Places, attribute

CONTEXTS, POS, HEADS, KV, D_HEAD, FEATURES = 5, 7, 4, 2, 3, 9
FIRST = 100
"""Number of the first context."""
KV_HEAD = torch.arange(HEADS) // (HEADS // KV)


def some_attention(generator):
    pattern = torch.rand(CONTEXTS, HEADS, POS, POS, generator=generator).tril()
    pattern /= pattern.sum(-1, keepdim=True)
    v = torch.randn(CONTEXTS, POS, KV, D_HEAD, generator=generator)
    z = torch.einsum("chds,cshe->cdhe", pattern, v[:, :, KV_HEAD])
    return Attention(z, v, pattern)


def an_sae(generator, k):
    w = torch.randn(FEATURES, HEADS * D_HEAD, generator=generator)
    bias, threshold = torch.randn(2, FEATURES, generator=generator)
    return Sae(w, bias, w, torch.zeros(HEADS * D_HEAD), threshold.abs(), k)


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("block", [1, 6, 10**6])
def test_every_row_is_what_it_is_alone(monkeypatch, block, k):
    """Contexts have different numbers of kept firings, one has none."""
    monkeypatch.setitem(attributes.BLOCK, "cpu", block)
    generator = torch.Generator().manual_seed(0)
    attention, sae = some_attention(generator), an_sae(generator, k)
    ctx = np.repeat([0, 1, 3, 4], [2, 5, 1, 4]).astype(np.int32)
    feature = np.arange(len(ctx), dtype=np.int32) % FEATURES
    pos = (np.arange(len(ctx), dtype=np.int32) * 3) % (POS - 1) + 1
    places = Places(np.r_[feature, 0], np.r_[ctx, 7] + FIRST, np.r_[pos, 1])  # one of other text
    valid = torch.ones(CONTEXTS, POS, dtype=torch.bool)
    valid[:, 0] = False
    found = attribute({2: attention}, KV_HEAD, {2: sae}, FIRST, {2: places}, 3, valid)
    rows, given = found[2]
    assert rows.tolist() == list(range(len(ctx)))
    for row, one in enumerate(zip(*given, strict=True)):
        check(Attributed(*one), attention, sae, int(ctx[row]), int(pos[row]), int(feature[row]))


def check(given, attention, sae, ctx, pos, feature):
    w = sae.w_enc[feature]
    dfa = source_dfa(attention.pattern[ctx, :, pos][None], attention.v[ctx][None], w[None], KV_HEAD)
    by_source = dfa[0].sum(0)
    z = attention.z[ctx].flatten(1)
    acts = encode(sae, z)[:, feature]
    acts[0] = 0
    assert np.allclose(given.context_acts, acts, atol=1e-5)
    assert given.act == pytest.approx(float(acts[pos]), abs=1e-5)
    assert given.pre == pytest.approx(float(z[pos] @ w + sae.b_enc[feature]), abs=1e-5)
    assert np.allclose(given.head_dfa, dfa[0].sum(1), atol=1e-5)
    assert np.allclose(given.src_dfa, by_source[given.src_pos.astype(int)], atol=1e-5)
    kept = np.abs(given.src_dfa)
    assert (kept[:-1] >= kept[1:]).all()
    assert float(by_source.abs().topk(3).values[-1]) == pytest.approx(float(kept[-1]), abs=1e-5)
    for place, head in zip(given.src_pos, given.src_head, strict=True):
        assert int(dfa[0, :, int(place)].abs().argmax()) == head
    assert given.src_rest == pytest.approx(float(by_source.sum()) - given.src_dfa.sum(), abs=1e-5)
    assert abs(given.residual) < 1e-5


def test_text_without_kept_firings_gives_nothing():
    generator = torch.Generator().manual_seed(0)
    none = np.zeros(0, np.int32)
    valid = torch.ones(CONTEXTS, POS, dtype=torch.bool)
    places = {2: Places(none, none, none)}
    saes = {2: an_sae(generator, 0)}
    assert attribute({2: some_attention(generator)}, KV_HEAD, saes, 0, places, 3, valid) == {}
