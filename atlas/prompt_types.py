"""What the exploration of a prompt gives back: plain, frozen, without tensors."""

from dataclasses import dataclass
from typing import Literal

from atlas.ids import FeatureId, HeadId, SaeId
from atlas.types import FeatureRow

Kind = Literal["embedding", "position", "mlp", "attention", "error", "bias", "feature", "rest"]
"""What a piece of the residual stream is.

`attention` is a whole layer without SAE, `error` what an SAE leaves out, `bias` the biases of an
attention layer and its SAE, `rest` everything that a list leaves out.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The tokens that were run."""

    model: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    """Text of each token."""
    bos: bool
    """Whether the first token is a start token that the text did not contain."""


@dataclass(frozen=True, slots=True)
class Firing:
    """A feature firing at one position."""

    feature: FeatureId
    pos: int
    act: float


@dataclass(frozen=True, slots=True)
class LayerFeatures:
    """What fires in one layer."""

    sae: SaeId
    l0: tuple[int, ...]
    """Features firing at each position."""
    fvu: float | None
    """Share of z's variance over the prompt that the SAE leaves out; None for a single token."""
    firings: tuple[Firing, ...]
    """The strongest at each position, by position, strongest first."""


@dataclass(frozen=True, slots=True)
class Features:
    """What fires on a prompt."""

    prompt: Prompt
    layers: tuple[LayerFeatures, ...]
    missing: tuple[str, ...]
    """SAEs that could not be loaded on this machine, each with the reason."""


RankBy = Literal["relative", "activation"]
"""Order of a prompt search: activation over the largest one mined, or activation itself."""


@dataclass(frozen=True, slots=True)
class PromptHit:
    """A feature that fires on a prompt, where it is strongest."""

    row: FeatureRow
    pos: int
    act: float
    relative: float | None
    """`act` over the largest activation that mining saw; None for a feature that never fired."""


@dataclass(frozen=True, slots=True)
class PromptSearch:
    """The features that fire most on a prompt; what fires on a start token alone is left out."""

    prompt: Prompt
    hits: tuple[PromptHit, ...]
    fired: int
    """How many features fire, listed or not."""
    missing: tuple[str, ...]
    """SAEs that could not be loaded on this machine, each with the reason."""


@dataclass(frozen=True, slots=True)
class SourceShare:
    """What one source position gave, in all and by head."""

    pos: int
    dfa: float
    heads: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """A feature's pre-activation at one position by head and by source (DFA).

    pre = bias + sum of `heads` = bias + sum of `sources`, within `residual`.
    """

    prompt: Prompt
    feature: FeatureId
    pos: int
    act: float
    """0 where the feature does not fire."""
    pre: float
    bias: float
    heads: tuple[float, ...]
    sources: tuple[SourceShare, ...]
    """Every position up to `pos`, in order."""
    residual: float
    frozen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where a head looks on a prompt."""

    prompt: Prompt
    head: HeadId
    rows: tuple[tuple[float, ...], ...]
    """By position that looks: what it gives to each position up to its own; a row sums to 1."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Something written into the residual stream and what it gives to the number explained."""

    kind: Kind
    layer: int | None
    pos: int | None
    feature: FeatureId | None
    act: float | None
    value: float


@dataclass(frozen=True, slots=True)
class Step:
    """What wrote one source position, as one feature reads it.

    total = const + sum of `pieces` (the last one is the rest), within `residual`.
    """

    prompt: Prompt
    feature: FeatureId
    pos: int
    src: int
    total: float
    """The DFA of the source."""
    const: float
    """Part of it that biases of the value path make."""
    pieces: tuple[Piece, ...]
    share_error: float
    """Of the absolute contributions, the part that SAE errors make."""
    residual: float
    frozen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A piece in a graph; its value is its flow to the target."""

    id: str
    piece: Piece
    expanded: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """What one piece gives to another."""

    src: str
    dst: str
    value: float
    """To the pre-activation of `dst`."""
    flow: float
    """To the target, by this way."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A feature explained by upstream pieces, features expanded in turn.

    value = rest + sum over nodes that are not expanded, plus what is not shown, within `residual`.
    """

    prompt: Prompt
    feature: FeatureId
    pos: int
    value: float
    """The pre-activation."""
    nodes: tuple[Node, ...]
    """The target first."""
    edges: tuple[Edge, ...]
    by_kind: tuple[tuple[Kind, float], ...]
    """Flow of everything that was not expanded, shown or not; `rest` are biases on the way."""
    share_shown: float
    """Of the absolute flow, the part in nodes shown."""
    share_error: float
    """Of the absolute flow, the part that SAE errors make."""
    cancellation: float
    """Absolute flow as a multiple of the value's size: how much cancels."""
    residual: float
    frozen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """What a query-side and a key-side piece give to a score together."""

    query: Piece
    key: Piece
    value: float


@dataclass(frozen=True, slots=True)
class Score:
    """One attention score taken apart."""

    prompt: Prompt
    head: HeadId
    dst: int
    src: int
    score: float
    """Before softmax, and before the cap where a model has one."""
    pattern: float
    contrast: float
    """The score less the average that the pattern makes over all sources."""
    pairs: tuple[Pair, ...]
    """Largest first; pieces of kind bias with no layer are the head's own biases."""
    query: tuple[Piece, ...]
    """Query-side pieces with what each gives to the score; the last one is the rest."""
    key: tuple[Piece, ...]
    standing_out: tuple[Piece, ...]
    """Query-side pieces with what each gives to the contrast; the last one is the rest."""
    from_features: float
    """What pairs of two features give to the score, of which they may be more or the opposite."""
    share_features: float
    """Coverage: of the absolute contributions, the part that pairs of two features make."""
    residual: float
    frozen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Logit:
    """What each piece gives to one token's logit (direct logit attribution).

    value = const + sum of `pieces` (the last one is the rest), within `residual`.
    """

    prompt: Prompt
    pos: int
    token: int
    text: str
    value: float
    """The logit, before the cap where a model has one."""
    const: float
    pieces: tuple[Piece, ...]
    share_error: float
    residual: float
    frozen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """An intervention on a feature or a head."""

    target: FeatureId | HeadId
    how: Literal["zero", "mean", "resample", "set", "scale"]
    value: float = 0.0
    """What to set to (features only), or the factor to scale by."""
    positions: tuple[int, ...] | None = None
    """Where; everywhere when None."""
    reference: str | None = None
    """Text whose activations are put in place or, without the first token's, give the mean; the
    mean's default is the prompt itself."""


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A next token and its probability before and after."""

    token: int
    text: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """A feature's activation before and after."""

    feature: FeatureId
    pos: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Ablation:
    """What edits did. SAE errors are kept."""

    prompt: Prompt
    edits: tuple[Edit, ...]
    pos: int
    """Where the next token was predicted."""
    tokens: tuple[TokenChange, ...]
    """Tokens most likely before or after."""
    kl: float
    """Nats from the prediction before to the one after."""
    loss_before: tuple[float, ...]
    """Loss of predicting token p + 1, by p, nats."""
    loss_after: tuple[float, ...]
    downstream: tuple[FeatureChange, ...]
    """Largest changes in later layers."""


@dataclass(frozen=True, slots=True)
class FeatureDifference:
    """A feature that fires differently on two prompts: its strongest firing on each."""

    feature: FeatureId
    a: float
    a_pos: int | None
    b: float
    b_pos: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two prompts side by side."""

    a: Prompt
    b: Prompt
    features: tuple[FeatureDifference, ...]
    """Largest difference first; start tokens are left out."""
    tokens: tuple[TokenChange, ...]
    """Next tokens most likely after either; `before` is after a, `after` after b."""
