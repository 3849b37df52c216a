"""The language model behind an atlas; the only package that knows transformer_lens."""

from atlas.model.fetch import PACKAGED
from atlas.model.language import Attention, LanguageModel
from atlas.model.load import default_id, fingerprint, load, pick_device, pick_dtype
from atlas.model.passes import Edits, Replace

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
