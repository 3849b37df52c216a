"""Load a model by name: pick device and dtype, boot it, describe it."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch

from atlas import ids, types
from atlas.errors import ModelError
from atlas.model.fetch import PACKAGED, locate, quiet
from atlas.model.language import LanguageModel

# What transformers and transformer_lens were seen to raise on files they cannot read and on
# architectures they do not know.
_UNREADABLE = (
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
    bridge = _boot(locate(name), device, kind)
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


def _boot(source: str | Path, device: str, dtype: torch.dtype) -> Any:
    from transformer_lens.model_bridge import TransformerBridge  # noqa: PLC0415 (takes seconds)

    try:
        with quiet():
            bridge = TransformerBridge.boot_transformers(str(source), device=device, dtype=dtype)
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
        raise ModelError(
            f"model {str(source)!r} cannot be loaded: {reason}",
            "give a hub name that this machine reaches, a local folder, or "
            f"{' or '.join(PACKAGED)} with the extra 'demo'",
        ) from error
    bridge.eval()
    return bridge


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
