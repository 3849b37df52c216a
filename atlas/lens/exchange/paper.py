"""The release of Kissane et al.: `NAME.pt` beside `NAME_cfg.json` (PAPER.md sections 3.1 to 3.4).

acts = ReLU((x - b_dec) @ W_enc + b_enc) on z of TransformerLens' processed weights (trap 1).
"""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from atlas.errors import ConfigError
from atlas.lens.exchange.published import Published, folded, layer_of

CONFIG = "_cfg.json"


def weights_of(config: Path) -> Path:
    """The file of weights that a configuration `NAME_cfg.json` stands beside."""
    return config.with_name(config.name.removesuffix(CONFIG) + ".pt")


def version_of(config: Path) -> tuple[str, int]:
    """What `NAME_v9_cfg.json` is a checkpoint of, and which one: (NAME, 9)."""
    found = re.fullmatch(rf"(.*)_v(\d+){CONFIG}", config.name)
    return (found[1], int(found[2])) if found else (config.name, 0)


def is_later(config: Path, other: Path) -> bool:
    """Whether `config` is a later checkpoint of the same training as `other`."""
    (name, version), (other_name, earlier) = version_of(config), version_of(other)
    return name == other_name and version > earlier


def read_config(config: Path) -> dict[str, Any]:
    """The configuration, with `hook_name` as SAELens calls it.

    Raises:
        ConfigError: it is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(config.read_text())
        return {**content, "hook_name": content["act_name"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{config} cannot be read: {error!r}") from error


def read(config: Path) -> Published:
    """The SAE that a configuration describes.

    Raises:
        ConfigError: a file is missing or damaged; the message names it.
    """
    layer = layer_of(read_config(config)["hook_name"], config)
    path = weights_of(config)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        parts = [state[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec")]
        sae = folded(*parts, tied=True)
    except (OSError, KeyError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{path} cannot be used: {str(error)[:200]}") from error
    return Published(sae, layer, "standard", folded=True)
