"""Every setting of a job, declared once. Presets and job files hold only what differs."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from atlas.errors import ConfigError
from atlas.ids import is_name

PRESETS = Path(__file__).parent / "jobs"

MOST_FEATURES = 2**20
"""Features that an SAE may have: mining packs a feature's number into 20 bits."""
PASS_TOKENS = {"cpu": 2048, "cuda": 8192}
"""Tokens of a forward pass by default: so few that memory is no matter, and, on a GPU, what should
be enough to keep it from waiting for its host (a guess)."""
Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelPart(_Part):
    """Which model, and how it runs."""

    name: str = "smollm2-135m"
    """Hub name, local folder, or the name of a packaged model."""
    id: str | None = None
    """The model's name in every id of the atlas; by default the last part of `name`."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto for CUDA when present."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass while training and counting; kept examples are always
    attributed in float32."""
    batch_contexts: Count | None = None
    """Contexts per forward pass; by default as many as have 2,048 tokens on a CPU, 8,192 on a
    GPU."""


class CorpusPart(_Part):
    """Which text, and how it is cut."""

    name: str = "builtin"
    """`builtin`, a local .txt/.md/.jsonl/.parquet file or folder of them, or a hub dataset."""
    subset: str | None = None
    """Configuration of a hub dataset."""
    split: str = "train"
    """Split of a hub dataset."""
    text: str = "text"
    """Column that holds the text."""
    source: str | None = None
    """Column that names the collection a document belongs to."""
    context_length: Annotated[int, Field(ge=4)] = 128
    """Tokens per context, the start token included."""
    bos: Literal["model", "none"] = "model"
    """What starts a context: the model's own start token, or nothing."""
    pack: bool = False
    """Whether a context may run over the end of a document into the next one."""
    min_tokens: Count = 16
    """Shorter leftovers of a document are dropped."""
    seed: int = 0
    """Order of the documents."""


class PositionsPart(_Part):
    """Which positions are left out of training and mining."""

    skip_first: Annotated[int, Field(ge=0)] = 1
    """Leading positions of each context: the attention sink sits there."""
    sink_norm: Annotated[float, Field(gt=1)] | None = 10.0
    """Positions whose z is longer than this many medians in any trained layer; inf for none."""

    @field_validator("sink_norm", mode="after")
    @classmethod
    def _no_limit(cls, value: float | None) -> float | None:
        return None if value is None or math.isinf(value) else value


_ONLY_FOR = {
    "prefixes": "batchtopk",
    "l1": "relu",
    "l0_weight": "jumprelu",
    "bandwidth": "jumprelu",
}
"""Settings of an SAE that a single objective reads; elsewhere they would do nothing."""


def _default(part: type[_Part], name: str) -> Any:
    return part.model_fields[name].default


class SaePart(_Part):
    """The SAEs: one per layer, all trained together."""

    set: str = "att"
    """Name of this set of SAEs; part of every id."""
    layers: tuple[int, ...] = ()
    """Layers to train on, counted from 0."""
    source: str | None = None
    """Published SAEs to take instead of training: a folder, or owner/repository of the hub, in
    SAELens' layout or that of Kissane et al."""
    value_bias: Literal["auto", "kept", "folded"] = "auto"
    """Whether those SAEs were trained on z as models give it (kept) or on z of weights that
    TransformerLens had processed (folded); auto goes by the layout and what its files say."""
    objective: Literal["batchtopk", "topk", "jumprelu", "relu"] = "batchtopk"
    """batchtopk, topk, jumprelu, or relu with an L1 penalty and resampling as in the paper."""
    d_sae: Annotated[int, Field(gt=0, le=MOST_FEATURES)] = 4608
    """Features per SAE."""
    k: Count = 32
    """Features that fire per token: exactly (topk), on average (batchtopk), as a target
    (jumprelu); relu has none."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka (batchtopk): these first features alone must rebuild z too: [512, 2048]."""
    l1: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the L1 penalty (relu), in raw units of z as in the paper."""
    l0_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of (L0 / k - 1)^2 beside the share of variance left (jumprelu)."""
    bandwidth: Annotated[float, Field(gt=0)] = 0.1
    """Width around a threshold within which pre-activations move it (jumprelu); their standard
    deviation is about 1."""

    @model_validator(mode="after")
    def _check(self) -> "SaePart":
        if self.k > self.d_sae:
            raise ValueError(f"k = {self.k} is larger than d_sae = {self.d_sae}")
        if len(set(self.layers)) != len(self.layers):
            raise ValueError(f"layers {list(self.layers)} name a layer twice")
        if self.source is not None:
            for name in ("objective", "d_sae", "k", *_ONLY_FOR):
                if getattr(self, name) != _default(type(self), name):
                    raise ValueError(f"{name} has no effect with source: nothing is trained")
        elif self.value_bias != "auto":
            raise ValueError("value_bias has no effect without source")
        for name, kind in _ONLY_FOR.items():
            if self.objective != kind and getattr(self, name) != _default(type(self), name):
                raise ValueError(f"{name} has no effect with objective {self.objective!r}")
        edges = (0, *self.prefixes, self.d_sae)
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError(f"prefixes {list(self.prefixes)} do not rise from 1 to d_sae")
        if not is_name(self.set):
            raise ValueError(f"set {self.set!r} is no name (letters, digits, '.', '_', '-')")
        return self


class ResamplePart(_Part):
    """When and how dead features are replaced (relu only); the defaults are the paper's."""

    every: Count = 25_000
    """Steps between replacements."""
    times: Annotated[int, Field(ge=0)] = 4
    """Replacements at most."""
    window: Count = 12_500
    """Steps before a replacement over which firings are counted."""
    cutoff: Annotated[float, Field(ge=0)] = 1e-6
    """A feature that fired on no more than this share of tokens is replaced."""
    batches: Count = 100
    """Batches whose inputs may take a dead feature's place; they are not trained on."""

    @model_validator(mode="after")
    def _check(self) -> "ResamplePart":
        if self.window > self.every:
            raise ValueError(f"window = {self.window} is longer than every = {self.every}")
        return self


class TrainPart(_Part):
    """How long and how the SAEs are trained."""

    tokens: Count = 100_000_000
    """Activations to train on, repeats counted."""
    repeats: Count = 1
    """Times each buffer of activations is used before the next one is made."""
    buffer_tokens: Count = 262_144
    """Activations held in memory and mixed."""
    batch: Count = 2048
    """Activations per step and layer."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate; by default 2e-4 / sqrt(d_sae / 16384), where there are fewer than 10,000
    steps times (10,000 / steps)^0.75, at most 4 (docs/training.md); for relu 1.2e-3."""
    warmup: Share = 0.05
    """Share of the steps with a rising learning rate."""
    decay: Share = 0.2
    """Share of the steps at the end over which the learning rate falls to 0."""
    anneal: Share | None = None
    """Share of the steps over which k falls from 4 k to k; by default a tenth, 0 where there are
    fewer than 4,000 steps, which it does no good (docs/training.md)."""
    aux: Annotated[float, Field(ge=0)] = 1 / 32
    """Weight of the loss that revives dead features."""
    dead_tokens: Count = 2_000_000
    """A feature that has not fired for this many tokens counts as dead."""
    resample: ResamplePart = ResamplePart()
    step: Literal["auto", "layered", "dense", "sparse"] = "auto"
    """How a step is computed: layered (layer by layer), dense (all layers at once, in fixed
    shapes), sparse (that by Triton kernels over the firings alone); auto is layered on a CPU and
    dense on a GPU. See docs/gpu.md."""
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Time between checkpoints."""
    seed: int = 0


class EvaluatePart(_Part):
    """The held-out evaluation."""

    tokens: Count = 200_000
    """Held-out tokens."""


class MinePart(_Part):
    """What is kept of every feature."""

    tokens: Count = 10_000_000
    """Tokens to mine; documents that were trained on are not among them."""
    top: Count = 20
    """Strongest examples per feature, one per context."""
    bands: Count = 5
    """Equal-width activation intervals between 0 and the maximum."""
    per_band: Count = 3
    """Examples drawn from each interval; labels are judged on them and on every other top one."""
    random: Count = 10
    """Examples drawn from all firings."""
    per_decile: Count = 1
    """Examples drawn from each tenth of the firings, by activation."""
    near_misses: Count = 5
    """Places per feature that nearly fire, one per context."""
    sources: Count = 12
    """Source positions kept per example."""
    logits: Count = 12
    """Promoted and suppressed tokens kept per feature."""
    neighbours: Count = 8
    """Nearest decoder directions kept per feature."""
    shard_contexts: Count = 4096
    """Contexts per unit of work; a stopped job goes on with the next unit."""


class EnginePart(_Part):
    """Who trains and mines. What comes out does not depend on it."""

    kind: Literal["local", "dask"] = "local"
    """local, one after the other in this process, or dask."""
    scheduler: str | None = None
    """Address of a running Dask scheduler; by default a cluster of processes on this machine."""
    workers: Count = 2
    """Processes of that cluster."""
    train_groups: Count = 1
    """Groups of neighbouring layers that are trained apart: each by a worker of its own, or one
    after the other where memory holds no more. Every group reads the text for itself."""

    @model_validator(mode="after")
    def _check(self) -> "EnginePart":
        if self.scheduler is not None and self.kind != "dask":
            raise ValueError("a scheduler is of use to kind = 'dask' alone")
        return self


class StudyPart(_Part):
    """What every study is set by; each adds its own settings to these."""

    device: str = "auto"
    """cpu, cuda, cuda:N, or auto for CUDA when present."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of the forward pass."""
    batch_contexts: Count = 16
    """Contexts per forward pass."""
    corpus: CorpusPart = CorpusPart()
    """The text; by default what the SAEs' run kept from training."""
    tokens: Count = 40_000
    """Tokens of held-out text to read."""
    seed: int = 0
    """Of everything that is drawn."""


S = TypeVar("S", bound=StudyPart)


class Job(_Part):
    """One ingest job."""

    name: str = "atlas"
    """First part of the run's name."""
    model: ModelPart = ModelPart()
    corpus: CorpusPart = CorpusPart()
    positions: PositionsPart = PositionsPart()
    sae: SaePart = SaePart()
    train: TrainPart = TrainPart()
    evaluate: EvaluatePart = EvaluatePart()
    mine: MinePart = MinePart()
    engine: EnginePart = EnginePart()

    @property
    def batch_contexts(self) -> int:
        """Contexts per forward pass."""
        return self.model.batch_contexts or self._of_default_size("cpu")

    def on(self, device: str) -> "Job":
        """The same job with what depends on the device settled, for all who work on it."""
        size = self.model.batch_contexts or self._of_default_size(device)
        return self.model_copy(
            update={"model": self.model.model_copy(update={"batch_contexts": size})}
        )

    def _of_default_size(self, device: str) -> int:
        tokens = PASS_TOKENS["cpu" if device == "cpu" else "cuda"]
        return max(1, tokens // self.corpus.context_length)

    @model_validator(mode="after")
    def _check(self) -> "Job":
        if not is_name(self.name):
            raise ValueError(f"name {self.name!r} is no name (letters, digits, '.', '_', '-')")
        if not self.sae.layers:
            raise ValueError("sae.layers names no layer; try sae.layers = [5]")
        if self.positions.skip_first >= self.corpus.context_length - 1:
            raise ValueError(
                f"positions.skip_first = {self.positions.skip_first} leaves nothing of "
                f"contexts of corpus.context_length = {self.corpus.context_length}"
            )
        if self.sae.source is None:
            relu = self.sae.objective == "relu"
            for name in ("aux", "anneal") if relu else ("resample",):
                if getattr(self.train, name) != _default(TrainPart, name):
                    raise ValueError(
                        f"train.{name} has no effect with objective {self.sae.objective!r}"
                    )
        if self.train.tokens < self.train.batch:
            raise ValueError(
                f"train.tokens = {self.train.tokens} is less than train.batch = {self.train.batch}"
            )
        return self


def load_job(source: str, changes: Sequence[str] = ()) -> Job:
    """A job from a TOML file or a preset's name, with `a.b=value` changes on top.

    Raises:
        ConfigError: no such file, not TOML, or a setting that is unknown, of the wrong type or out
            of range; the message names it.
    """
    content = _read(source)
    for change in changes:
        _apply(content, change)
    return make_job(content)


def make_job(content: Mapping[str, Any]) -> Job:
    """A job from nested settings. Raises ConfigError as `load_job`."""
    try:
        return Job.model_validate(_tuples(content))
    except ValidationError as error:
        raise _first_error(error) from error


def make_study(kind: type[S], content: Mapping[str, Any], changes: Sequence[str] = ()) -> S:
    """Settings of a study from nested values, with `a.b=value` changes on top.

    Raises:
        ConfigError: as `load_job`.
    """
    changed: dict[str, Any] = dict(content)
    for change in changes:
        _apply(changed, change)
    try:
        return kind.model_validate(_tuples(changed))
    except ValidationError as error:
        raise _first_error(error, kind) from error


def presets() -> list[str]:
    """Names of the packaged job files."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def _read(source: str) -> dict[str, Any]:
    path = PRESETS / f"{source}.toml" if source in presets() else Path(source)
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"no job file {source}", f"give a .toml file or a preset: {', '.join(presets())}"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"job file {source} cannot be read: {error}") from error


def _apply(content: dict[str, Any], change: str) -> None:
    key, found, text = change.partition("=")
    if not found or not key.strip():
        raise ConfigError(f"--set {change!r} has no '='", "write --set sae.k=48")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    part = content
    for parent in parents:
        inner = part.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"unknown setting {key.strip()}: {parent} is a value")
        part = inner
    part[last] = value


def _tuples(value: Any) -> Any:
    """TOML gives lists; strict fields want tuples."""
    if isinstance(value, Mapping):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _first_error(error: ValidationError, root: type[_Part] | None = None) -> ConfigError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ConfigError(
            f"unknown setting {name}", f"known there: {_known(first['loc'], root or Job)}"
        )
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return ConfigError(f"{name}: {reason}" if name else reason)
    return ConfigError(f"{name} = {first['input']!r}: {reason[0].lower()}{reason[1:]}")


def _known(location: tuple[int | str, ...], root: type[_Part]) -> str:
    part: Any = root
    for step in location[:-1]:
        part = part.model_fields[str(step)].annotation
    return ", ".join(part.model_fields)
