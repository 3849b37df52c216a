"""Tiny random models of many families with a real tokenizer, built offline from configs.

`a_model("llama")` is a loaded LanguageModel; `a_folder(path, "llama")` writes the same model as a
folder that `atlas.model.load` or a job's configuration can name.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch

from atlas.model import LanguageModel, load

VOCAB = 320
BOS, EOS = 0, 1
TEXT = (
    "the cat sat on the mat and the dog sat on the log. when mary and john went to the store, "
    "john gave a drink to mary. one two three four five six seven, the board members of the board. "
)
_GQA = {"num_key_value_heads": 2}
_HF = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": None,
}
_GPT = {
    "vocab_size": VOCAB,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", _GPT),
    "gpt_neox": ("GPTNeoXForCausalLM", {**_HF, "rotary_pct": 0.5}),
    "gptj": ("GPTJForCausalLM", {**_GPT, "rotary_dim": 4}),
    "llama": ("LlamaForCausalLM", {**_HF, **_GQA}),
    "mistral": ("MistralForCausalLM", {**_HF, **_GQA, "sliding_window": 4}),
    "qwen2": ("Qwen2ForCausalLM", {**_HF, **_GQA}),
    "qwen3": ("Qwen3ForCausalLM", {**_HF, **_GQA, "head_dim": 8}),
    "gemma": ("GemmaForCausalLM", {**_HF, **_GQA, "head_dim": 16}),
    "gemma2": (
        "Gemma2ForCausalLM",
        {**_HF, **_GQA, "head_dim": 16, "query_pre_attn_scalar": 12, "sliding_window": 4},
    ),
    "gemma3_text": ("Gemma3ForCausalLM", {**_HF, **_GQA, "head_dim": 16, "sliding_window": 4}),
    "olmo2": ("Olmo2ForCausalLM", {**_HF, **_GQA}),
    "phi": ("PhiForCausalLM", {**_HF, "partial_rotary_factor": 0.5}),
    "stablelm": (
        "StableLmForCausalLM",
        {**_HF, "num_key_value_heads": 4, "partial_rotary_factor": 0.5},
    ),
    "opt": (
        "OPTForCausalLM",
        {
            **_HF,
            "ffn_dim": 48,
            "word_embed_proj_dim": 32,
            "pad_token_id": 2,
        },
    ),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        {
            **_HF,
            "num_layers": 3,
            "num_heads": 4,
            "attention_types": [[["global", "local", "global"], 1]],
            "window_size": 4,
        },
    ),
    "bloom": ("BloomForCausalLM", {**_GPT, "hidden_size": 32}),
    "falcon": (
        "FalconForCausalLM",
        {**_HF, "multi_query": True, "new_decoder_architecture": False},
    ),
}
"""Family to (transformers class, config)."""
ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "bitnet": ("BitNetForCausalLM", {**_HF, **_GQA}),
    "granite": ("GraniteForCausalLM", {**_HF, **_GQA, "residual_multiplier": 0.5}),
    "mamba": ("MambaForCausalLM", {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2}),
    "deepseek_v2": (
        "DeepseekV2ForCausalLM",
        {**_HF, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4}
        | {"v_head_dim": 8, "first_k_dense_replace": 3},
    ),
}
"""Likewise, families whose attention is not pattern times values times W_O."""


def a_tokenizer(folder: Path) -> Any:
    """Save a byte-level tokenizer of VOCAB tokens to `folder`; any text round-trips."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator([TEXT], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    # One that was never saved lacks `name_or_path`, which transformer_lens asks for.
    return AutoTokenizer.from_pretrained(folder)


def a_folder(folder: Path, family: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """Write a random model of `family` and its tokenizer to `folder`, float32.

    Biases and norm weights are random too, as large as in trained models, so that a test notices
    when one is left out.
    """
    import transformers

    name, settings = (FAMILIES | ODD)[family]
    kind = getattr(transformers, name)
    config = kind.config_class(**{**settings, **changes})
    config.architectures = [kind.__name__]
    torch.manual_seed(seed)
    model = kind(config)
    _make_lively(model, torch.Generator().manual_seed(seed))
    model.save_pretrained(folder)
    a_tokenizer(folder)
    return folder


@torch.no_grad()
def _make_lively(model: torch.nn.Module, generator: torch.Generator) -> None:
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim > 1:
            scale = 1.0 if "emb" in name or "wte" in name or "wpe" in name else 0.25
            value.copy_(noise * scale)
        elif name.endswith("bias"):
            value.copy_(noise * 0.2)
        else:
            value.add_(noise * 0.2)


@functools.cache
def a_model(family: str = "llama", seed: int = 0, **changes: Any) -> LanguageModel:
    """A loaded random model of `family`, three layers of four heads, float32 on the CPU.

    The same arguments give the same object: leave it unchanged.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = a_folder(Path(folder) / family.replace("_", "-"), family, seed, **changes)
        return load(str(path), id=f"tiny-{family}", device="cpu", dtype="float32")


def some_tokens(batch: int = 2, pos: int = 12, seed: int = 0) -> torch.Tensor:
    """`[batch, pos]` random token ids after BOS."""
    tokens = torch.randint(2, VOCAB, (batch, pos), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0] = BOS
    return tokens
