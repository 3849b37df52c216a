"""The loaded model: what it takes from the attention, what edits of z do, what it refuses."""

import pytest
import torch

from atlas.errors import ModelError
from atlas.model import load
from tests.models import BOS, FAMILIES, VOCAB, a_folder, a_model, some_tokens


@pytest.fixture(params=sorted(FAMILIES))
def family(request) -> str:
    return request.param


def transformers_logits(model, tokens):
    with torch.inference_mode():
        return model.bridge.original_model(tokens).logits


def test_z_is_the_pattern_times_the_values(family):
    model, tokens = a_model(family), some_tokens()
    for taken in model.attention(tokens, [0, 1, 2]).values():
        v = taken.v[:, :, model.kv_head]
        z = torch.einsum("bhds,bshe->bdhe", taken.pattern, v)
        assert torch.allclose(z, taken.z, atol=1e-5)
        assert torch.allclose(taken.pattern.sum(-1), torch.ones(()), atol=1e-5)
        assert taken.z.shape == (2, 12, model.info.n_heads, model.info.d_head)


def test_losses_are_those_of_transformers(family):
    model, tokens = a_model(family), some_tokens()
    plain = transformers_logits(model, tokens)[:, :-1].log_softmax(-1)
    plain = -plain.gather(-1, tokens[:, 1:, None])[..., 0]
    assert torch.allclose(model.losses(tokens), plain, atol=1e-4)


def test_handing_z_back_unchanged_changes_nothing_and_zeroing_it_does(family):
    model, tokens = a_model(family), some_tokens()
    clean = model.losses(tokens)
    assert torch.equal(model.losses(tokens, {1: lambda z: z.clone()}), clean)
    assert (model.losses(tokens, {1: torch.zeros_like}) - clean).abs().max() > 1e-3


def test_z_of_a_layer_does_not_depend_on_which_others_are_asked_for(family):
    model, tokens = a_model(family), some_tokens()
    every = model.z(tokens, [0, 1, 2])
    assert sorted(every) == [0, 1, 2]
    assert torch.equal(model.z(tokens, [1])[1], every[1])


def test_the_forward_pass_ends_with_the_last_layer_asked_for():
    model, seen = a_model("llama"), []
    handle = model.bridge.original_model.model.layers[2].register_forward_hook(
        lambda *_: seen.append(2)
    )
    model.z(some_tokens(), [0, 1])
    handle.remove()
    assert seen == []


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_out_of_range_is_refused_with_the_range(layer):
    model, tokens = a_model("llama"), some_tokens()
    for call in (
        lambda: model.check_layers([0, layer]),
        lambda: model.z(tokens, [0, layer]),
        lambda: model.attention(tokens, [layer]),
        lambda: model.losses(tokens, {layer: torch.zeros_like}),
        lambda: model.losses_each(tokens, [{}, {layer: torch.zeros_like}]),
        lambda: model.layer(layer),
    ):
        with pytest.raises(ModelError, match=rf"no layer {layer}.*0 to 2"):
            call()


def test_tokens_carry_no_start_token_and_the_vocabulary_gives_their_text():
    model = a_model("llama")
    tokens = model.tokenise("the cat é\n")
    assert BOS not in tokens
    assert model.info.bos_token == BOS
    vocabulary = model.vocabulary()
    assert len(vocabulary) == VOCAB
    assert model.bridge.tokenizer.decode(tokens) == "the cat é\n"
    assert vocabulary[model.tokenise("the")[0]] == "the"


def test_the_fingerprint_is_of_the_weights_not_of_the_dtype(tmp_path):
    folder = str(a_folder(tmp_path / "tiny"))
    single = load(folder, device="cpu", dtype="float32")
    half = load(folder, device="cpu", dtype="bfloat16")
    other = load(str(a_folder(tmp_path / "other", seed=1)), device="cpu", dtype="float32")
    assert single.info.weights_sha256 == half.info.weights_sha256
    assert single.info.weights_sha256 != other.info.weights_sha256
    assert single.info.id == "tiny"


def test_a_missing_or_broken_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="no folder"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="holds no model"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(tmp_path))


def test_an_architecture_that_transformer_lens_does_not_know_is_refused_in_one_line(tmp_path):
    folder = a_folder(tmp_path / "neox", "gpt_neox", attention_bias=False)
    with pytest.raises(ModelError, match="cannot be loaded: AssertionError"):
        load(str(folder))


def test_bad_ids_devices_and_dtypes_are_refused(tmp_path):
    folder = str(a_folder(tmp_path / "tiny"))
    with pytest.raises(ModelError, match="is no name"):
        load(folder, id="a/b")
    with pytest.raises(ModelError, match="float64.*not supported"):
        load(folder, dtype="float64")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no CUDA device"):
            load(folder, device="cuda")


def test_several_edits_at_once_give_the_losses_of_each_by_itself(family):
    model, tokens = a_model(family), some_tokens()
    edits = [{}, {2: torch.zeros_like}, {1: lambda z: z * 0.5, 2: torch.zeros_like}, {0: torch.cos}]
    together = model.losses_each(tokens, edits)
    for edit, losses in zip(edits, together, strict=True):
        assert torch.allclose(losses, model.losses(tokens, edit), atol=1e-5)


def test_a_decomposable_model_is_taken(family):
    a_model(family).check_attributable()


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("bitnet", "not pattern times values"),
        ("granite", "not a linear map of their z"),
        ("deepseek_v2", "parts cannot be read"),
        ("mamba", "no attention"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_attention_that_does_not_decompose_is_refused_with_the_reason(family, reason):
    with pytest.raises(ModelError, match=reason):
        a_model(family).check_attributable()


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma", "gemma2", "olmo2", "phi"])
def test_logit_effects_are_the_slope_of_the_logits_while_the_final_scale_stands_still(family):
    model = a_model(family)
    norm, unembed = model.bridge.ln_final.original_component, model.bridge.W_U
    x, d = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    x, d = x - x.mean(), d - d.mean()  # so that LayerNorm and RMSNorm have the same scale
    d -= x * (x @ d) / (x @ x)  # so that both ends of the step have the same scale
    with torch.no_grad():
        slope = ((norm(x + d) - norm(x - d)) / 2) @ unembed
    scale = (x + d).pow(2).mean().sqrt()
    if not model.bridge.cfg.uses_rms_norm:
        d = d + 3  # which LayerNorm takes away
    assert torch.allclose(model.logit_effects(d[None])[0] / scale, slope, atol=1e-4)


def test_an_unreachable_hub_is_said_at_once(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelError, match="not on this machine and http://127.0.0.1:1 cannot"):
        load("some-owner/some-model")
    with pytest.raises(ModelError, match="no hub name"):
        load("what is this?")


def test_a_model_in_the_hubs_local_cache_needs_no_hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--some-owner--tiny"
    a_folder(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    model = load("some-owner/tiny", device="cpu", dtype="float32")
    assert (model.info.id, model.info.name) == ("tiny", "some-owner/tiny")


def test_a_model_without_tokenizer_says_so(monkeypatch):
    model = a_model("llama")
    monkeypatch.setattr(model.bridge, "tokenizer", None)
    with pytest.raises(ModelError, match="has no tokenizer"):
        model.tokenise("the cat")
