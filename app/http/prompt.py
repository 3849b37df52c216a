"""The addresses that explore a prompt: what fires, what made it fire, and what edits do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.http.answer import FRESH, OfEvidence
from app.http.body import body_of
from app.http.document import GIVEN, answers, taken
from app.http.errors import JSON, Refused
from app.http.explorers import Explorers
from app.http.settings import Settings
from atlas import prompt_types as types
from atlas import wire
from atlas.api import Atlas
from atlas.errors import QueryError
from atlas.ids import FeatureId

if TYPE_CHECKING:
    from atlas.prompt import Explorer

T = TypeVar("T")
Text = str | tuple[int, ...]
router = APIRouter(prefix="/prompt")
MOST_LISTED = 100
MOST_EDITS = 16


@dataclass(frozen=True, slots=True)
class Prompts:
    """Whether this server runs prompts, and within which limits."""

    enabled: bool
    models: tuple[str, ...]
    """Models that have SAEs here; whether one can be loaded shows when it is asked."""
    loaded: str | None
    """The model in memory; another one takes its place when it is asked for."""
    seconds: float
    """How long a prompt may take, waiting included."""
    waiting: int
    """Prompts that may wait; more are answered 503."""


@dataclass(frozen=True, slots=True)
class OfPrompt:
    """What fires on a prompt."""

    prompt: Text
    """A text, run after the model's start token; or token ids, run as they are."""
    model: str | None = None
    """Needed where the atlas has SAEs of several models."""
    set: str | None = None
    """Name of the SAE set to prefer where a layer has several."""
    top: int = 10
    """Firings to list per layer and position, 1 to 100."""


@dataclass(frozen=True, slots=True)
class OfSearch:
    """Which features fire most on a text."""

    prompt: Text
    model: str | None = None
    by: types.RankBy = "relative"
    limit: int = 25
    """Features to list, 1 to 100."""


@dataclass(frozen=True, slots=True)
class OfTrace:
    """A feature's pre-activation by head and by source."""

    prompt: Text
    feature: FeatureId
    pos: int | None = None
    """The destination; by default where the feature is strongest, position 0 left out."""


@dataclass(frozen=True, slots=True)
class OfStep:
    """What wrote a source position, as a feature reads it."""

    prompt: Text
    feature: FeatureId
    pos: int
    src: int
    top: int = 20


@dataclass(frozen=True, slots=True)
class OfGraph:
    """A feature explained by what lies before it, step by step."""

    prompt: Text
    feature: FeatureId
    pos: int | None = None
    depth: int = 2
    """How often to expand, 0 to 4."""
    top: int = 8
    """Features to expand each time and pieces to show of each, 1 to 25."""
    skip_start: bool = False
    """Whether pieces at the first position are left as they are and never expanded."""


@dataclass(frozen=True, slots=True)
class OfScore:
    """Why a head looked from one position at another."""

    prompt: Text
    layer: int
    head: int
    dst: int
    src: int
    model: str | None = None
    set: str | None = None
    top: int = 20


@dataclass(frozen=True, slots=True)
class OfLogit:
    """What each piece gives directly to one token's logit."""

    prompt: Text
    pos: int | None = None
    """The position that predicts; the last one by default."""
    token: int | None = None
    """The token predicted; the most likely one by default."""
    model: str | None = None
    set: str | None = None
    top: int = 20


@dataclass(frozen=True, slots=True)
class OfAblation:
    """What edits of features and heads do."""

    prompt: Text
    edits: tuple[types.Edit, ...]
    """One to sixteen, of one model."""
    pos: int | None = None
    """Where to look at the next token; the last position by default."""
    top: int = 20


@dataclass(frozen=True, slots=True)
class OfComparison:
    """What tells two prompts apart."""

    a: Text
    b: Text
    model: str | None = None
    set: str | None = None
    top: int = 50


def takes(kind: type[T]) -> dict[str, Any]:
    """How a route with this body is declared."""
    return taken(GIVEN.of(kind))


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that may run a prompt."""

    explorers: Explorers
    atlas: Atlas
    headers: dict[str, str]

    def answer(self, model: str | None, ask: Callable[["Explorer"], Any]) -> Response:
        """The answer of a model's explorer."""
        found = self.explorers.run(self.atlas, model, ask)
        return Response(wire.dumps(found), 200, self.headers | FRESH, JSON)


def turn(request: Request, asked: OfEvidence) -> Turn:
    """A request that may run a prompt. Raises Refused where this server runs none."""
    settings: Settings = request.app.state.settings
    if not settings.prompts:
        raise Refused(
            403, "NoPrompts", "this server runs no prompts", "start it with atlas serve --prompts"
        )
    headers = {name: value for name, value in asked.headers.items() if name != "ETag"}
    return Turn(request.app.state.explorers, asked.atlas, headers)


ATurn = Annotated[Turn, Depends(turn)]


def given(kind: type[T]) -> Callable[..., T]:
    """A dependency that gives the body as a `kind`, its lists within bounds."""

    def bounded(body: Annotated[Any, Depends(body_of(kind, QueryError))]) -> T:
        for name in ("top", "limit"):
            value = getattr(body, name, 1)
            if not 1 <= value <= MOST_LISTED:
                raise QueryError(f"{name} is {value}", f"it may be 1 to {MOST_LISTED}")
        if len(getattr(body, "edits", ())) > MOST_EDITS:
            raise QueryError(f"{len(body.edits)} edits are too many", f"give at most {MOST_EDITS}")
        checked: T = body
        return checked

    return bounded


@router.get("", responses=answers(Prompts))
def prompts(request: Request, asked: OfEvidence) -> Response:
    """Whether this server runs prompts, and within which limits."""
    settings, explorers = request.app.state.settings, request.app.state.explorers
    models = tuple(sorted({sae.id.model for sae in asked.atlas.saes()}))
    found = Prompts(
        bool(settings.prompts), models, explorers.loaded, explorers.seconds, explorers.waiting
    )
    return Response(wire.dumps(found), 200, FRESH, JSON)


@router.post("", responses=answers(types.Features), openapi_extra=takes(OfPrompt))
def prompt(turn: ATurn, body: Annotated[OfPrompt, Depends(given(OfPrompt))]) -> Response:
    """What fires on a prompt, by layer and position."""
    return turn.answer(body.model, lambda at: at.features(body.prompt, set=body.set, top=body.top))


@router.post("/search", responses=answers(types.PromptSearch), openapi_extra=takes(OfSearch))
def prompt_search(turn: ATurn, body: Annotated[OfSearch, Depends(given(OfSearch))]) -> Response:
    """The features that fire most on a text, each where it is strongest."""

    def ask(at: "Explorer") -> types.PromptSearch:
        return turn.atlas.ranked(at.all_firings(body.prompt), body.limit, body.by)

    return turn.answer(body.model, ask)


@router.post("/trace", responses=answers(types.Trace), openapi_extra=takes(OfTrace))
def trace(turn: ATurn, body: Annotated[OfTrace, Depends(given(OfTrace))]) -> Response:
    """A feature's pre-activation by head and by source position."""
    return turn.answer(
        body.feature.sae.model, lambda at: at.trace(body.prompt, body.feature, body.pos)
    )


@router.post("/step", responses=answers(types.Step), openapi_extra=takes(OfStep))
def step(turn: ATurn, body: Annotated[OfStep, Depends(given(OfStep))]) -> Response:
    """What wrote a source position, as one feature reads it from another position."""
    return turn.answer(
        body.feature.sae.model,
        lambda at: at.step(body.prompt, body.feature, body.pos, body.src, body.top),
    )


@router.post("/graph", responses=answers(types.Graph), openapi_extra=takes(OfGraph))
def graph(turn: ATurn, body: Annotated[OfGraph, Depends(given(OfGraph))]) -> Response:
    """A feature explained by upstream pieces, the strongest features expanded in turn."""

    def ask(at: "Explorer") -> types.Graph:
        return at.graph(
            body.prompt, body.feature, body.pos, body.depth, body.top, skip_start=body.skip_start
        )

    return turn.answer(body.feature.sae.model, ask)


@router.post("/qk", responses=answers(types.Score), openapi_extra=takes(OfScore))
def qk(turn: ATurn, body: Annotated[OfScore, Depends(given(OfScore))]) -> Response:
    """Why a head looked from one position at another: its score by pairs of pieces."""

    def ask(at: "Explorer") -> types.Score:
        where = (body.layer, body.head, body.dst, body.src)
        return at.qk(body.prompt, *where, set=body.set, top=body.top)

    return turn.answer(body.model, ask)


@router.post("/logit", responses=answers(types.Logit), openapi_extra=takes(OfLogit))
def logit(turn: ATurn, body: Annotated[OfLogit, Depends(given(OfLogit))]) -> Response:
    """What each piece gives directly to one token's logit."""

    def ask(at: "Explorer") -> types.Logit:
        return at.logit(body.prompt, body.pos, body.token, set=body.set, top=body.top)

    return turn.answer(body.model, ask)


@router.post("/ablate", responses=answers(types.Ablation), openapi_extra=takes(OfAblation))
def ablate(turn: ATurn, body: Annotated[OfAblation, Depends(given(OfAblation))]) -> Response:
    """What editing features and heads does to predictions, loss and later features."""
    targets = [edit.target for edit in body.edits]
    models = [one.sae.model if isinstance(one, FeatureId) else one.model for one in targets]

    def ask(at: "Explorer") -> types.Ablation:
        return at.ablate(body.prompt, body.edits, body.pos, body.top)

    return turn.answer(models[0] if models else None, ask)


@router.post("/compare", responses=answers(types.Comparison), openapi_extra=takes(OfComparison))
def compare_prompts(
    turn: ATurn, body: Annotated[OfComparison, Depends(given(OfComparison))]
) -> Response:
    """Features and next tokens of two prompts side by side."""
    return turn.answer(
        body.model, lambda at: at.compare(body.a, body.b, set=body.set, top=body.top)
    )
