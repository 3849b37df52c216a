"""SAEs of SAELens and of the paper's release: every form gives what its own formula gives."""

import json
import os
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas.errors import ConfigError
from atlas.lens.exchange import paper, saelens, source
from atlas.lens.sae import Sae, decode, encode, shifted
from atlas.model import load as load_model
from tests.models import a_folder, some_tokens

D, F, N = 8, 20, 30
G = torch.Generator().manual_seed(0)
X = torch.randn(N, D, generator=G)
W_ENC, B_ENC = torch.randn(D, F, generator=G), torch.randn(F, generator=G) / 5
W_DEC, B_DEC = torch.randn(F, D, generator=G), torch.randn(D, generator=G) / 5
PLAIN = {"W_enc": W_ENC, "b_enc": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}
THRESHOLD = torch.rand(F, generator=G)


def a_sae(folder, weights=None, old=False, layer=5, **config):
    """A folder in SAELens' layout."""
    folder.mkdir(parents=True, exist_ok=True)
    hook = {"hook_name": f"blocks.{layer}.attn.hook_z"}
    content = {"d_in": D, "d_sae": F, "apply_b_dec_to_input": True, **config}
    content |= hook if old else {"metadata": hook}
    (folder / "cfg.json").write_text(json.dumps(content))
    save_file(
        {k: v.contiguous() for k, v in {**PLAIN, **(weights or {})}.items()},
        folder / "sae_weights.safetensors",
    )
    return folder


def gives(folder, acts, z_hat):
    sae = saelens.read(folder).sae
    assert torch.allclose(encode(sae, X), acts, atol=1e-5)
    assert torch.allclose(decode(sae, encode(sae, X)), z_hat, atol=1e-4)


def test_standard(tmp_path):
    acts = ((X - B_DEC) @ W_ENC + B_ENC).relu()
    gives(a_sae(tmp_path / "a", architecture="standard"), acts, acts @ W_DEC + B_DEC)


def test_standard_whose_bias_stays_out_of_the_input(tmp_path):
    acts = (X @ W_ENC + B_ENC).relu()
    folder = a_sae(tmp_path / "a", architecture="standard", apply_b_dec_to_input=False)
    gives(folder, acts, acts @ W_DEC + B_DEC)


def test_a_scaled_input_is_folded_into_the_weights(tmp_path):
    acts = ((X * 3 - B_DEC) @ W_ENC + B_ENC).relu()
    folder = a_sae(
        tmp_path / "a", architecture="standard", normalize_activations="expected_average_only_in"
    )
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 3.0}')
    gives(folder, acts, (acts @ W_DEC + B_DEC) / 3)


def test_version_5_with_a_finetuned_scale(tmp_path):
    scale = torch.rand(F) + 0.5
    folder = a_sae(
        tmp_path / "a",
        {"scaling_factor": scale},
        old=True,
        activation_fn_str="relu",
        finetuning_scaling_factor=True,
    )
    acts = ((X - B_DEC) @ W_ENC + B_ENC).relu()
    gives(folder, acts, acts * scale @ W_DEC + B_DEC)


def test_topk_of_activations_times_decoder_norm(tmp_path):
    folder = a_sae(tmp_path / "a", architecture="topk", k=4, rescale_acts_by_decoder_norm=True)
    norm = W_DEC.norm(dim=-1)
    pre = ((X - B_DEC) @ W_ENC + B_ENC) * norm
    top = pre.topk(4)
    acts = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
    gives(folder, acts, acts / norm @ W_DEC + B_DEC)


def test_topk_of_version_5(tmp_path):
    folder = a_sae(
        tmp_path / "a", old=True, activation_fn_str="topk", activation_fn_kwargs={"k": 3}
    )
    assert saelens.read(folder).sae.k == 3


def test_jumprelu(tmp_path):
    folder = a_sae(tmp_path / "a", {"threshold": THRESHOLD}, architecture="jumprelu")
    pre = (X - B_DEC) @ W_ENC + B_ENC
    acts = pre.relu() * (pre > THRESHOLD)
    gives(folder, acts, acts @ W_DEC + B_DEC)


@pytest.mark.parametrize("kind", ["batchtopk", "matryoshka_batchtopk"])
def test_a_training_checkpoint_of_batchtopk(tmp_path, kind):
    cut = {"topk_threshold": torch.tensor(0.7, dtype=torch.float64)}
    folder = a_sae(tmp_path / "a", cut, architecture=kind, k=4.0)
    pre = (X - B_DEC) @ W_ENC + B_ENC
    acts = pre * (pre > 0.7)
    gives(folder, acts, acts @ W_DEC + B_DEC)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "gated"}, "is of architecture gated.*known: standard, topk"),
        ({"normalize_activations": "layer_norm"}, r"normalises every token by itself \(layer_norm"),
        ({"normalize_activations": "expected_average_only_in"}, "factor that is not in its folder"),
        ({"activation_fn": "tanh-relu"}, "has activation tanh-relu"),
        ({"architecture": "jumprelu"}, "cannot be used.*threshold"),
        ({"architecture": "topk", "layer": "x"}, r"reads blocks\.x\.attn\.hook_z"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, config, message):
    folder = a_sae(tmp_path / "a", **config)
    with pytest.raises(ConfigError, match=message):
        saelens.read(folder)


def test_a_damaged_file_is_named(tmp_path):
    folder = a_sae(tmp_path / "a")
    (folder / "sae_weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"sae_weights\.safetensors cannot be used"):
        saelens.read(folder)


NAME = "gpt2-small_L{layer}_Hcat_z_lr1.20e-03_l11.80e+00_ds20_bs4096_v{version}"


def a_release(folder, layer, version=9):
    """Two files in the paper's layout."""
    folder.mkdir(exist_ok=True)
    name = NAME.format(layer=layer, version=version)
    cfg = {"act_name": f"blocks.{layer}.attn.hook_z", "act_size": D, "dict_size": F}
    (folder / f"{name}_cfg.json").write_text(json.dumps(cfg))
    torch.save({part: value + layer for part, value in PLAIN.items()}, folder / f"{name}.pt")
    return folder / f"{name}_cfg.json"


def test_the_papers_release(tmp_path):
    one = paper.read(a_release(tmp_path, 0))
    acts = ((X - B_DEC) @ W_ENC + B_ENC).relu()
    assert torch.allclose(encode(one.sae, X), acts, atol=1e-5)
    assert torch.allclose(decode(one.sae, acts), acts @ W_DEC + B_DEC, atol=1e-5)
    assert (one.layer, one.folded) == (0, True)


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    config = a_release(tmp_path, 0)
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    torch.save({"W_enc": Evil()}, paper.weights_of(config))
    with pytest.raises(ConfigError, match="cannot be used"):
        paper.read(config)
    assert not ran.exists()


def test_a_source_gives_the_layers_asked_for_in_either_layout(tmp_path):
    a_release(tmp_path / "all", 0)
    a_release(tmp_path / "all", 3)
    a_sae(tmp_path / "all" / "blocks.5")
    found = source.read(str(tmp_path / "all"), (3, 5))
    assert [(n, one.layer, one.folded) for n, one in found.items()] == [(3, 3, True), (5, 5, False)]


def test_of_several_checkpoints_the_last_is_taken(tmp_path):
    for version in (9, 10, 8):
        a_release(tmp_path, 0, version)
        path = paper.weights_of(tmp_path / f"{NAME.format(layer=0, version=version)}_cfg.json")
        state = torch.load(path, weights_only=True)
        torch.save({**state, "b_dec": torch.full((D,), float(version))}, path)
    assert source.read(str(tmp_path), (0,))[0].sae.b_dec[0] == 10


def test_a_source_says_what_it_lacks_or_has_twice(tmp_path):
    a_release(tmp_path / "all", 0)
    with pytest.raises(ConfigError, match=r"no SAE on z of layer 4\. it has: 0"):
        source.read(str(tmp_path / "all"), (4,))
    a_sae(tmp_path / "all" / "other", layer=0)
    with pytest.raises(ConfigError, match="layer 0 has two SAEs"):
        source.read(str(tmp_path / "all"), (0,))
    with pytest.raises(ConfigError, match="no folder ./nowhere"):
        source.read("./nowhere", (0,))


def test_a_hub_that_cannot_be_reached_is_said_in_a_line(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"someone/saes.*http://127\.0\.0\.1:9 cannot be reached"):
        source.read("someone/saes", (0,))


@pytest.mark.parametrize(("family", "zero"), [("gpt2", False), ("qwen2", False), ("llama", True)])
def test_z_less_the_value_bias_is_z_of_processed_weights(tmp_path, family, zero):
    folder = str(a_folder(tmp_path / family, family))
    raw, processed = (load_model(folder, device="cpu", dtype="float32") for _ in range(2))
    processed.bridge.enable_compatibility_mode()
    tokens = some_tokens()
    for layer in (0, 2):
        offset = raw.value_bias(layer)
        ours = raw.z(tokens, [layer])[layer].flatten(2) - offset
        theirs = processed.z(tokens, [layer])[layer].flatten(2)
        assert torch.allclose(ours, theirs, atol=1e-4)
        assert zero == (float(offset.abs().max()) == 0)


def test_shifting_an_sae_keeps_activations_and_moves_what_it_rebuilds():
    sae = Sae(W_ENC.T, B_ENC, W_DEC, B_DEC, THRESHOLD)
    offset = torch.randn(D)
    moved = shifted(sae, offset)
    assert torch.allclose(encode(moved, X + offset), encode(sae, X), atol=1e-5)
    acts = encode(sae, X)
    assert torch.allclose(decode(moved, acts), decode(sae, acts) + offset, atol=1e-5)


@pytest.mark.parametrize("k", [0, 4])
def test_what_is_written_reads_back(tmp_path, k):
    sae = Sae(W_ENC.T.contiguous(), B_ENC, W_DEC, B_DEC, THRESHOLD * (k == 0), k)
    folder = saelens.write(sae, tmp_path / "out", {"hook_name": "blocks.2.attn.hook_z"})
    again = saelens.read(folder)
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(sae[:5], again.sae[:5], strict=True)
    )
    assert (again.sae.k, again.layer) == (k, 2)
    with pytest.raises(ConfigError, match="is there already"):
        saelens.write(sae, folder, {})


SAELENS = "FEATURE_ATLAS_SAELENS"
READ = """
import sys
from sae_lens import SAE
from safetensors.torch import load_file, save_file
sae = SAE.load_from_disk(sys.argv[1])
x = load_file(sys.argv[2])["x"]
acts = sae.encode(x.view(len(x), 2, -1))
save_file({"acts": acts.detach(), "z_hat": sae.decode(acts).flatten(1).detach()}, sys.argv[3])
"""


@pytest.mark.skipif(SAELENS not in os.environ, reason=f"{SAELENS} names no python with sae-lens")
@pytest.mark.parametrize("k", [0, 4])
def test_saelens_itself_reads_what_is_written(tmp_path, k):
    sae = Sae(W_ENC.T.contiguous(), B_ENC, W_DEC, B_DEC, THRESHOLD * (k == 0), k)
    metadata = {"hook_name": "blocks.2.attn.hook_z", "model_name": "gpt2"}
    folder = saelens.write(sae, tmp_path / "out", metadata)
    save_file({"x": X}, tmp_path / "x.safetensors")
    files = [str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors")]
    subprocess.run([os.environ[SAELENS], "-c", READ, str(folder), *files], check=True)
    theirs = load_file(files[1])
    assert torch.allclose(theirs["acts"], encode(sae, X), atol=1e-5)
    assert torch.allclose(theirs["z_hat"], decode(sae, encode(sae, X)), atol=1e-4)
