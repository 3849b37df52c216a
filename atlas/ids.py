"""The one id scheme of URLs, API, command line, database and prose; `parse` inverts `str`.

model `gpt2`, head `gpt2/L5H1`, SAE `gpt2/5-att-kk`, feature `gpt2/5-att-kk/123`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from atlas.errors import NotFound

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NUMBER = r"[0-9]{1,9}"
_MODEL = re.compile(rf"(?P<model>{_NAME})")
_HEAD = re.compile(rf"(?P<model>{_NAME})/L(?P<layer>{_NUMBER})H(?P<head>{_NUMBER})")
_SAE = re.compile(rf"(?P<model>{_NAME})/(?P<layer>{_NUMBER})-(?P<set>{_NAME})")
_FEATURE = re.compile(rf"(?P<sae>{_NAME}/{_NUMBER}-{_NAME})/(?P<index>{_NUMBER})")
_FORMS = "known forms: gpt2, gpt2/L5H1, gpt2/5-att-kk, gpt2/5-att-kk/123"


@dataclass(frozen=True, slots=True, order=True)
class ModelId:
    """A model, such as `gpt2`."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class HeadId:
    """An attention head, such as `gpt2/L5H1`; layer and head count from 0."""

    model: str
    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.model}/L{self.layer}H{self.head}"

    @property
    def short(self) -> str:
        """The field's short form, such as `5.1`."""
        return f"{self.layer}.{self.head}"


@dataclass(frozen=True, slots=True, order=True)
class SaeId:
    """An SAE on one layer's attention output, such as `gpt2/5-att-kk`."""

    model: str
    layer: int
    set: str

    def __str__(self) -> str:
        return f"{self.model}/{self.layer}-{self.set}"


@dataclass(frozen=True, slots=True, order=True)
class FeatureId:
    """One SAE feature, such as `gpt2/5-att-kk/123`; the index counts from 0."""

    sae: SaeId
    index: int

    def __str__(self) -> str:
        return f"{self.sae}/{self.index}"


Id = ModelId | HeadId | SaeId | FeatureId


def parse(text: str) -> Id:
    """The id that `text` spells in full.

    Raises:
        NotFound: `text` has none of the four forms.
    """
    text = text.strip()
    if found := _FEATURE.fullmatch(text):
        return FeatureId(parse_sae(found["sae"]), int(found["index"]))
    if found := _HEAD.fullmatch(text):
        return HeadId(found["model"], int(found["layer"]), int(found["head"]))
    if found := _SAE.fullmatch(text):
        return SaeId(found["model"], int(found["layer"]), found["set"])
    if found := _MODEL.fullmatch(text):
        return ModelId(found["model"])
    raise NotFound(f"not an id: {text[:80]!r}", _FORMS)


def parse_sae(text: str) -> SaeId:
    """The SAE that `text` names in full. Raises NotFound when it names something else."""
    found = _SAE.fullmatch(text.strip())
    if not found:
        raise NotFound(f"not an SAE id: {text[:80]!r}", "an SAE id looks like gpt2/5-att-kk")
    return SaeId(found["model"], int(found["layer"]), found["set"])


def parse_feature(text: str) -> FeatureId:
    """The feature that `text` names in full. Raises NotFound when it names something else."""
    found = parse(text)
    if not isinstance(found, FeatureId):
        raise NotFound(f"not a feature id: {text[:80]!r}", "it looks like gpt2/5-att-kk/123")
    return found


def parse_head(text: str) -> HeadId:
    """The head that `text` names in full. Raises NotFound when it names something else."""
    found = parse(text)
    if not isinstance(found, HeadId):
        raise NotFound(f"not a head id: {text[:80]!r}", "a head id looks like gpt2/L5H1")
    return found


def is_name(text: str) -> bool:
    """Whether `text` may serve as a model id or an SAE set name."""
    return bool(_MODEL.fullmatch(text))


def candidates(text: str, models: Iterable[str], saes: Iterable[SaeId]) -> tuple[Id, ...]:
    """Every id that a jump box may mean by `text`, among the models and SAEs of an atlas.

    Full forms give themselves. Short forms (`5.1`, `L5H1`, `5-att-kk`, `5-att-kk/123`) give one
    id per model that could have it. Whether the head or feature exists is not looked up.
    """
    text = text.strip()
    models, saes = sorted(models), sorted(saes)
    if found := re.fullmatch(rf"(?:[Ll]({_NUMBER})[Hh]({_NUMBER})|({_NUMBER})\.({_NUMBER}))", text):
        layer, head = (int(part) for part in found.groups() if part is not None)
        return tuple(HeadId(model, layer, head) for model in models)
    if found := re.fullmatch(rf"({_NUMBER})-({_NAME})(?:/({_NUMBER}))?", text):
        layer, index = int(found[1]), found[3]
        owners = [sae for sae in saes if sae.layer == layer and sae.set == found[2]]
        return tuple(owners if index is None else (FeatureId(s, int(index)) for s in owners))
    try:
        return (parse(text),)
    except NotFound:
        return ()
