"""SAELens' folders, read and written: `cfg.json` and `sae_weights.safetensors`.

Read are the architectures standard, topk, batchtopk, matryoshka_batchtopk and jumprelu, of version
5 and 6, saved for inference or while training. Written is jumprelu or topk. SAELens loads models
without folding, so its z is ours.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from atlas.errors import ConfigError
from atlas.lens.exchange.published import Published, folded, layer_of
from atlas.lens.sae import Sae

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
VERSION = "6.51.1"
"""Of SAELens, whose format this is."""
_THRESHOLDS: dict[str, Callable[[Mapping[str, Tensor]], Tensor | None]] = {
    "standard": lambda _: None,
    "topk": lambda _: None,
    "jumprelu": lambda w: w["threshold"] if "threshold" in w else w["log_threshold"].exp(),
    "batchtopk": lambda w: w["topk_threshold"].expand_as(w["b_enc"]),
    "matryoshka_batchtopk": lambda w: w["topk_threshold"].expand_as(w["b_enc"]),
}


def read_config(folder: Path) -> dict[str, Any]:
    """`cfg.json` in the shape of version 6, whatever wrote it.

    Raises:
        ConfigError: it is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        flat = {**(content.get("metadata") or {}), **content}
        k = (flat.get("activation_fn_kwargs") or {}).get("k", flat.get("k"))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{folder / CONFIG} cannot be read: {error}") from error
    hook = flat.get("hook_name") or flat.get("hook_point")
    activation = flat.get("activation_fn") or flat.get("activation_fn_str") or "relu"
    kind = "topk" if activation == "topk" else flat.get("architecture") or "standard"
    return {**flat, "hook_name": hook, "activation_fn": activation, "architecture": kind, "k": k}


def read(folder: Path) -> Published:
    """The SAE in a folder.

    Raises:
        ConfigError: a file is missing or damaged, or it is of a kind that is not linear up to
            its activation; the message names it.
    """
    config = read_config(folder)
    kind = config["architecture"]
    if kind not in _THRESHOLDS:
        raise ConfigError(
            f"the SAE in {folder} is of architecture {kind}", f"known: {', '.join(_THRESHOLDS)}"
        )
    if config["activation_fn"] not in ("relu", "topk"):
        raise ConfigError(f"the SAE in {folder} has activation {config['activation_fn']}")
    layer = layer_of(config["hook_name"], folder)
    try:
        weights = load_file(folder / WEIGHTS)
        sae = _sae(config, kind, weights, _scale(config, folder))
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ConfigError(f"{folder / WEIGHTS} cannot be used: {error}") from error
    processed = config.get("model_from_pretrained_kwargs") or {}
    return Published(sae, layer, kind, bool(processed.get("fold_value_biases")))


def _sae(config: Mapping[str, Any], kind: str, weights: Mapping[str, Tensor], scale: float) -> Sae:
    w_enc, b_enc, w_dec = (weights[name].float() for name in ("W_enc", "b_enc", "W_dec"))
    if config.get("rescale_acts_by_decoder_norm"):
        norm = w_dec.norm(dim=-1)
        w_enc, b_enc, w_dec = w_enc * norm, b_enc * norm, w_dec / norm[:, None]
    if config.get("finetuning_scaling_factor"):
        w_dec = w_dec * weights["scaling_factor"].float()[:, None]
    return folded(
        w_enc,
        b_enc,
        w_dec,
        weights["b_dec"],
        _THRESHOLDS[kind](weights),
        int(config["k"]) if kind == "topk" else 0,
        tied=bool(config.get("apply_b_dec_to_input", True)),
        scale=scale,
    )


def _scale(config: Mapping[str, Any], folder: Path) -> float:
    """What inputs are multiplied by."""
    kind = config.get("normalize_activations") or "none"
    if kind in ("none", False):
        return 1.0
    if kind not in ("expected_average_only_in", True):
        raise ConfigError(
            f"the SAE in {folder} normalises every token by itself ({kind})",
            "attribution would not be exact on it",
        )
    factor = config.get("norm_scaling_factor")
    if factor is None and (folder / SCALER).is_file():
        factor = json.loads((folder / SCALER).read_text()).get("scaling_factor")
    if factor is None:
        raise ConfigError(
            f"the SAE in {folder} scales its input by a factor that is not in its folder",
            "save it with SAELens' save_inference_model, which folds the factor into the weights",
        )
    return float(factor)


def write(sae: Sae, folder: Path, metadata: Mapping[str, Any]) -> Path:
    """Write an SAE so that SAELens' `SAE.load_from_disk` reads it; gives the folder back.

    Args:
        sae: on raw z.
        folder: made; must not be there.
        metadata: what its configuration says besides, such as model_name and hook_name.

    Raises:
        ConfigError: the folder is there already or cannot be written.
    """
    topk = {"k": sae.k, "rescale_acts_by_decoder_norm": False} if sae.k else {}
    config = {
        "architecture": sae.architecture,
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "hook_z",
        **topk,
        "metadata": {"sae_lens_version": VERSION, **metadata},
    }
    tensors = {
        "W_enc": sae.w_enc.T.contiguous(),
        "b_enc": sae.b_enc,
        "W_dec": sae.w_dec,
        "b_dec": sae.b_dec,
        **({} if sae.k else {"threshold": sae.threshold.clamp(min=0)}),
    }
    draft = folder.with_name(f".{folder.name}.partial")
    try:
        if folder.exists():
            raise ConfigError(f"{folder} is there already", "give another folder")
        draft.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: it.to("cpu", torch.float32) for name, it in tensors.items()}, draft / WEIGHTS
        )
        (draft / CONFIG).write_text(json.dumps(config, indent=1))
        draft.rename(folder)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot write {folder}: {error}") from error
    return folder
