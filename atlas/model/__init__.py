"""The language model behind an atlas; the only package that knows transformer_lens."""

from atlas.model.fetch import PACKAGED
from atlas.model.language import Attention, Edits, LanguageModel, Replace
from atlas.model.load import default_id, fingerprint, load, pick_device, pick_dtype

__all__ = [
    "PACKAGED",
    "Attention",
    "Edits",
    "LanguageModel",
    "Replace",
    "default_id",
    "fingerprint",
    "load",
    "pick_device",
    "pick_dtype",
]
