"""What travels between the parts: frozen, without tensors, tables or open handles."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from atlas.ids import FeatureId, HeadId, Id, SaeId

HISTOGRAM_BINS = 64
"""Bins of an activation histogram; bin b starts at `histogram_edge(b)`."""


def histogram_edge(b: int) -> float:
    """Lower edge of histogram bin `b` (0..64): four bins per octave from 2^-8 to 2^8."""
    return float(2.0 ** (-8 + b / 4))


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One published state of the evidence."""

    number: int
    path: Path
    schema_version: int
    published_at: datetime

    @property
    def name(self) -> str:
        """The folder's name, such as `000008`; it stands in every permalink."""
        return f"{self.number:06d}"


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the atlas."""

    id: str
    name: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    vocab_size: int
    bos_token: int | None
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class JointEvaluation:
    """What replacing z of all of a run's layers at once costs on held-out text, nats per token."""

    layers: tuple[int, ...]
    ce_clean: float
    ce_sae: float
    ce_zero: float
    ce_mean: float
    sae_cost: Interval
    """95 % interval over contexts of ce_sae - ce_clean."""
    zero_cost: Interval
    mean_cost: Interval
    recovered_zero: float | None
    """None where zeroing costs no more than its own noise."""
    recovered_mean: float | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Run:
    """One ingest job whose bundle is published."""

    id: str
    kind: str
    model: str
    created_at: datetime
    seconds: float
    config: dict[str, Any]
    versions: dict[str, str]
    device: str
    bos: str
    positions: str
    corpus: str
    corpus_sha256: str
    context_length: int
    train_tokens: int
    mine_tokens: int
    bundle_sha256: str
    counts: dict[str, int]
    joint: JointEvaluation | None = None
    """None for a run with one SAE or none."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well an SAE rebuilds z on held-out text. Losses in nats per token."""

    l0: float
    fvu: float
    ce_clean: float
    ce_sae: float
    ce_zero: float
    ce_mean: float
    sae_cost: Interval
    """95 % interval over contexts of ce_sae - ce_clean."""
    zero_cost: Interval
    mean_cost: Interval
    recovered_zero: float | None
    """None where zeroing z costs no more than its own noise."""
    recovered_mean: float | None
    tokens: int
    dead_share: float
    dead_window: int


@dataclass(frozen=True, slots=True)
class Sae:
    """One SAE of the atlas."""

    id: SaeId
    number: int
    """Its small number in this snapshot, which SQL tables use."""
    hook: str
    architecture: str
    d_in: int
    d_sae: int
    run: str
    evaluation: Evaluation | None
    """None for an SAE that was imported and not evaluated."""
    sink_norm: float | None
    """Length of z beyond which positions were left out; None where none were."""
    alive: int
    """Features that fired at least once while mining."""
    weights: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One feature as lists and search results show it."""

    id: FeatureId
    title: str | None
    title_method: str | None
    """tokens, llm, or the author's name when a person wrote it."""
    title_support: float | None
    density: float
    firings: int
    max_act: float
    mean_act: float
    weight_head: int
    weight_share: float
    dfa_head: int | None
    dfa_share: float | None
    disagree: bool
    family: str | None
    title_score: float | None = None
    """Mean balanced accuracy of the title's label; None where it was not scored."""


@dataclass(frozen=True, slots=True)
class HeadShare:
    """What one head contributes to one feature."""

    head: int
    weight_share: float
    dfa_mean: float | None
    dfa_share: float | None
    won: float | None


@dataclass(frozen=True, slots=True)
class LogitEffect:
    """A token and what a feature's direction does to its logit, per unit of activation."""

    token: int
    text: str
    value: float


@dataclass(frozen=True, slots=True)
class Source:
    """A source position of an example and what it gave."""

    pos: int
    dfa: float
    head: int


ExampleKind = Literal["top", "interval", "random", "decile", "near_miss"]
EXAMPLE_KINDS: tuple[ExampleKind, ...] = get_args(ExampleKind)


@dataclass(frozen=True, slots=True)
class Example:
    """One firing, or near miss, in its context."""

    feature: FeatureId
    kind: ExampleKind
    band: int | None
    """Number of the interval or decile, from 0; None for the other kinds."""
    rank: int
    ctx: int
    pos: int
    act: float
    tokens: tuple[str, ...]
    """Text of every token of the context."""
    acts: tuple[tuple[int, float], ...]
    """(position, activation) wherever the feature fires in the context."""
    head_dfa: tuple[float, ...]
    sources: tuple[Source, ...]
    """Strongest sources first."""
    src_rest: float
    """DFA of all sources that are not listed."""
    bias: float
    residual: float
    doc: str
    source: str
    """Collection the document belongs to."""
    start: int = 0
    """Tokens of the document before the context."""


LabelSide = Literal["title", "when", "fetches", "says"]


@dataclass(frozen=True, slots=True)
class Label:
    """A machine label."""

    side: LabelSide
    method: str
    model: str | None
    prompt: str | None
    text: str
    support: float | None
    interval: Interval | None
    n: int | None
    rule: str | None = None
    """The rule as JSON, where the label says what one says."""


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well a label predicts firing."""

    method: str
    model: str | None
    prompt: str | None
    scorer: str
    """detection, fuzzing or simulation."""
    score: float
    """Balanced accuracy, or for simulation the correlation."""
    interval: Interval | None
    n: int
    deciles: tuple[float | None, ...] = ()
    """Share of the firings recognised per tenth of the activations, weak to strong."""
    decile_n: tuple[int, ...] = ()
    scored_by: str | None = None
    """Who judged: prompt version and model, or rule."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A feature that writes in nearly the same direction, or fires at the same places."""

    row: FeatureRow
    cosine: float
    """Of what the two write; across layers, into the residual stream."""
    jaccard: float | None
    """Places where both fire over places where either does; None where it was not counted."""
    rank: int | None
    """Order by cosine within its SAE, from 0; None where it is here for firing together."""
    fire_rank: int | None
    """Order by jaccard within its SAE, from 0; None where it is here for its direction."""


@dataclass(frozen=True, slots=True)
class Feature:
    """Everything about one feature."""

    row: FeatureRow
    sae: Sae
    run: Run
    tokens: int
    density_interval: Interval
    std_act: float
    histogram: tuple[int, ...]
    top_logits: tuple[LogitEffect, ...]
    bottom_logits: tuple[LogitEffect, ...]
    bias: float
    heads: tuple[HeadShare, ...]
    weight_entropy: float
    dfa_entropy: float | None
    disagreement: float | None
    residual: float | None
    family_score: float | None
    labels: tuple[Label, ...]
    scores: tuple[LabelScore, ...]
    examples: tuple[Example, ...]
    neighbours: tuple[Neighbour, ...]

    @property
    def id(self) -> FeatureId:
        return self.row.id

    @property
    def is_dead(self) -> bool:
        """Whether it never fired on the mined text."""
        return self.row.firings == 0


@dataclass(frozen=True, slots=True)
class HeadMetric:
    """One measured behaviour of a head."""

    metric: str
    condition: str
    value: float
    interval: Interval | None
    n: int


@dataclass(frozen=True, slots=True)
class HeadRow:
    """One head as lists show it."""

    id: HeadId
    kv_head: int
    features: int
    """Live features whose largest measured share is this head's."""
    weight_features: int
    """Live features whose largest weight share is this head's."""


@dataclass(frozen=True, slots=True)
class HeadFeature:
    """A feature of a head with that head's part in it."""

    row: FeatureRow
    share: HeadShare


@dataclass(frozen=True, slots=True)
class Head:
    """Everything about one head."""

    row: HeadRow
    metrics: tuple[HeadMetric, ...]
    features: tuple[HeadFeature, ...]
    """Live features, largest share first, measured unless it was asked for by weights."""

    @property
    def id(self) -> HeadId:
        return self.row.id


HeadBy = Literal["measured", "weights"]
SearchBy = Literal["both", "words", "meaning"]
Sort = Literal[
    "relevance",
    "density",
    "max_act",
    "mean_act",
    "head_share",
    "support",
    "score",
    "disagreement",
    "id",
]


@dataclass(frozen=True, slots=True)
class Query:
    """A search: words and filters, each None when not asked for."""

    text: str = ""
    """Words over labels, tokens, logits and notes; empty lists everything."""
    by: SearchBy = "both"
    """Whether words are looked for as they are written, for what they mean, or both, merged by
    rank. Meaning needs an embedding model; without one the search is by words alone."""
    model: str | None = None
    sae: str | None = None
    layer: int | None = None
    head: int | None = None
    """Needs head_by and head_min: features to which this head gives at least that share."""
    head_by: HeadBy = "measured"
    head_min: float = 0.25
    family: str | None = None
    role: str | None = None
    """Role that people claim for the feature's top head, such as induction."""
    tag: str | None = None
    """Tag that somebody put on the feature."""
    method: str | None = None
    """Who wrote the title: tokens (by rule), llm, or human."""
    density_min: float | None = None
    density_max: float | None = None
    support_min: float | None = None
    """Least support of the title by held-out examples."""
    score_min: float | None = None
    """Least score of the title, the mean over its scorers."""
    disagree: bool | None = None
    """Whether weights and measurement name different top heads and differ by more than 0.25."""
    disagreement_min: float | None = None
    """Least distance between the head shares by weights and by measurement, 0 to 1."""
    dead: bool = False
    """Whether features that never fired are listed too."""
    sort: Sort = "relevance"
    descending: bool = True
    limit: int = 25
    after: str = ""
    """Opaque mark of the last row of the page before."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A found feature and why."""

    row: FeatureRow
    score: float
    reasons: tuple[str, ...]
    """What matched, such as `title: "board" is next` with the match in «»; empty without words."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of search results."""

    hits: tuple[Hit, ...]
    total: int
    """Matches in all."""
    after: str
    """Mark to ask for the next page; empty on the last one."""
    snapshot: str
    searched: tuple[str, ...] = ()
    """Which searches took part: words, meaning, or both; none where no words were given."""
    unsearched: str = ""
    """Why the search by meaning took no part, where it was asked for."""
    facets: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """Facet to (value, count), most frequent first: model, layer, sae, head (the top one), family,
    role, tag and method, each a filter of `Query`, and score (of titles, in tenths from 0.5)."""


@dataclass(frozen=True, slots=True)
class SqlResult:
    """Rows of one SELECT with what is needed to cite it."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    """Whether rows were left out at the row limit."""
    seconds: float
    snapshot: str
    query: str
    arrow: bytes = field(default=b"", repr=False)
    """The same rows as an Arrow stream, which keeps their types."""


@dataclass(frozen=True, slots=True)
class Jump:
    """What a jump box may mean: one id, several, or none."""

    text: str
    found: tuple[Id, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """A text window of the mined corpus."""

    ctx: int
    run: str
    doc: str
    source: str
    start: int
    """Tokens of the document before it."""
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bins:
    """A histogram: bin b counts what lies from edges[b] up to edges[b + 1]."""

    edges: tuple[float, ...]
    """One more than counts."""
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """How much a snapshot holds."""

    models: int
    saes: int
    features: int
    alive: int
    """Features that fired at least once while mining."""
    titled: int
    """Features with a machine-written title."""
    heads: int
    examples: int
    contexts: int
    runs: int


@dataclass(frozen=True, slots=True)
class PairQuery:
    """A search for features by a token pair; each filter None when not asked for."""

    dst: str | None = None
    """Text of the token a feature fires on, exact; `▁the` also means ` the`."""
    src: str | None = None
    """Text of the token that gave most to the feature there, exact."""
    distance_min: int | None = None
    """Positions from source to destination; 0 where a token attends to itself."""
    distance_max: int | None = None
    model: str | None = None
    sae: str | None = None
    layer: int | None = None
    head: int | None = None
    """Head that carries the largest part of what that source gave."""
    family: str | None = None
    limit: int = 25
    after: str = ""


@dataclass(frozen=True, slots=True)
class PairHit:
    """A feature with kept top examples of the pair."""

    row: FeatureRow
    example: Example
    """The strongest of them."""
    matches: int
    """How many of its kept top examples have the pair."""
    kept: int
    """How many kept top examples it has."""


@dataclass(frozen=True, slots=True)
class PairPage:
    """One page of a pair search, features with the most matches first."""

    hits: tuple[PairHit, ...]
    total: int
    after: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class FeatureComparison:
    """Two features side by side."""

    a: Feature
    b: Feature
    cosine: float | None
    """Of their decoder directions; None when they are not among each other's stored neighbours."""
    jaccard: float | None
    """Positions where both fire over positions where either does; None when not counted."""
    shared: tuple[tuple[Example, Example], ...]
    """Kept examples of a and b in the same context, one pair a context."""
    measured_distance: float | None
    """Total variation of the measured head shares, 0 to 1; None across layers or models."""
    weight_distance: float | None
    """The same of the weight shares."""


@dataclass(frozen=True, slots=True)
class SharedFeature:
    """A feature with the part that each of two heads has in it."""

    row: FeatureRow
    a: HeadShare
    b: HeadShare


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """Two heads side by side."""

    a: Head
    b: Head
    shared: tuple[SharedFeature, ...]
    """Features to which both give much, largest smaller share first; empty across layers."""
    correlation: float | None
    """Pearson correlation of their measured shares over the layer's live features."""
    features: int
    """How many features the correlation is over."""
