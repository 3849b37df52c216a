"""The addresses that read evidence: models, runs, SAEs, features, heads, searches, comparisons."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import FileResponse, Response

from app.http.answer import FRESH, VERSION, OfBoth, OfEvidence
from app.http.document import answers
from app.http.errors import JSON
from app.http.parameters import LARGEST, from_query, link
from atlas import head_types, study_types, types, wire
from atlas.api import Atlas
from atlas.ids import FeatureId, Id, parse_feature
from atlas.note_types import NotesOn
from atlas.progress import Progress, read_all
from atlas.record import Record, read_now

router = APIRouter()
ABOUT = "A database-backed atlas of attention heads and of the SAE features on their outputs."


@dataclass(frozen=True, slots=True)
class Home:
    """What this server is."""

    about: str
    version: str
    snapshot: types.Snapshot
    refused: tuple[str, ...]
    """Why newer snapshots than this one are not served; normally nothing."""
    holds: types.Stats
    links: dict[str, str]
    """Where to go on."""


@dataclass(frozen=True, slots=True)
class FeaturePage:
    """Everything that is known of a feature: what was measured and what people wrote."""

    feature: types.Feature
    notes: NotesOn


@dataclass(frozen=True, slots=True)
class HeadPage:
    """Everything that is known of a head: what was measured and what people wrote."""

    head: types.Head
    notes: NotesOn


@dataclass(frozen=True, slots=True)
class LinkedPage(types.Page):
    """One page of search results with the address of the next."""

    next: str | None = None
    """None on the last page; it stays on the same snapshot."""


@dataclass(frozen=True, slots=True)
class LinkedPairPage(types.PairPage):
    """One page of a pair search with the address of the next."""

    next: str | None = None
    """None on the last page; it stays on the same snapshot."""


Search = Annotated[types.Query, Depends(from_query(types.Query))]
Pairs = Annotated[types.PairQuery, Depends(from_query(types.PairQuery))]
_LINKS = (
    *("models", "runs", "saes", "studies", "search", "prompt", "random"),
    *("cookbook", "schema", "progress", "docs"),
)


@router.get("/", responses=answers(Home))
def home(asked: OfEvidence) -> Response:
    """What this server is and how much it holds."""
    atlas = asked.atlas
    links = {name.replace("/", " "): f"/{name}" for name in (*_LINKS, "openapi.json")}
    return asked.answer(Home(ABOUT, VERSION, atlas.snapshot, atlas.refused, atlas.stats(), links))


@router.get("/snapshot", responses=answers(types.Snapshot))
def snapshot(asked: OfEvidence) -> Response:
    """The snapshot that answers."""
    return asked.answer(asked.atlas.snapshot)


@router.get("/snapshots", responses=answers(tuple[str, ...]))
def snapshots(request: Request) -> Response:
    """Names of the snapshots that are kept, newest first."""
    return Response(wire.dumps(request.app.state.atlas.snapshots()), 200, FRESH, JSON)


@router.get("/stats", responses=answers(types.Stats))
def stats(asked: OfEvidence) -> Response:
    """How much the atlas holds."""
    return asked.answer(asked.atlas.stats())


@router.get("/models", responses=answers(tuple[types.Model, ...]))
def models(asked: OfEvidence) -> Response:
    """All models."""
    return asked.answer(asked.atlas.models())


@router.get("/models/{model}", responses=answers(types.Model))
def model(model: str, asked: OfEvidence) -> Response:
    """One model."""
    return asked.answer(asked.atlas.model(model))


@router.get("/models/{model}/vocab", responses=answers(tuple[str, ...]))
def vocab(model: str, asked: OfEvidence) -> Response:
    """Text of every token id of a model."""
    return asked.answer(asked.atlas.vocab(model))


@router.get("/models/{model}/head-metrics",
            responses=answers(dict[str, tuple[types.HeadMetric, ...]]))  # fmt: skip
def head_metrics(model: str, asked: OfEvidence) -> Response:
    """The metrics of all heads of a model that have any, by head."""
    found = asked.atlas.head_metrics(model)
    return asked.answer({str(head): metrics for head, metrics in found.items()})


@router.get("/models/{model}/head-roles", responses=answers(dict[str, tuple[str, ...]]))
def roles_of_heads(model: str, asked: OfEvidence) -> Response:
    """The roles that a study claims for each head of a model, by head."""
    found = asked.atlas.roles_of_heads(model)
    return asked.answer({str(head): roles for head, roles in found.items()})


@router.get("/runs", responses=answers(tuple[types.Run, ...]))
def runs(asked: OfEvidence) -> Response:
    """All runs, newest first."""
    return asked.answer(asked.atlas.runs())


@router.get("/runs/{run}", responses=answers(types.Run))
def run(run: str, asked: OfEvidence) -> Response:
    """One run with its whole configuration."""
    return asked.answer(asked.atlas.run(run))


@router.get("/runs/{run}/record", responses=answers(Record))
def record(run: str, asked: OfEvidence) -> Response:
    """How a run went: the curve of its training and its log."""
    return asked.answer(asked.atlas.record(run))


@router.get("/saes", responses=answers(tuple[types.Sae, ...]))
def saes(asked: OfEvidence) -> Response:
    """All SAEs."""
    return asked.answer(asked.atlas.saes())


@router.get("/saes/{model}/{sae}", responses=answers(types.Sae))
def sae(model: str, sae: str, asked: OfEvidence) -> Response:
    """One SAE with its evaluation."""
    return asked.answer(asked.atlas.sae(f"{model}/{sae}"))


@router.get("/saes/{model}/{sae}/densities", responses=answers(types.Bins))
def densities(model: str, sae: str, asked: OfEvidence) -> Response:
    """Histogram of an SAE's feature densities."""
    return asked.answer(asked.atlas.densities(f"{model}/{sae}"))


@router.get(
    "/saes/{model}/{sae}/weights", responses=answers("application/vnd.safetensors"),
)  # fmt: skip
def weights(model: str, sae: str, asked: OfEvidence) -> Response:
    """The safetensors file with the weights of an SAE."""
    path = asked.atlas.weights(f"{model}/{sae}")
    headers = asked.headers | {"Content-Encoding": "identity"}
    return FileResponse(path, 200, headers, "application/vnd.safetensors", filename=path.name)


@router.get("/features/{model}/{sae}/{index}", responses=answers(FeaturePage))
def feature(model: str, sae: str, index: str, asked: OfBoth) -> Response:
    """Everything about one feature: what was measured and what people wrote."""
    found = asked.atlas.feature(f"{model}/{sae}/{index}")
    return asked.answer(FeaturePage(found, _notes_on(asked.atlas, found.id)))


Several = Annotated[list[str], Query(max_length=100, description="May be repeated.")]


@router.get("/histograms", responses=answers(dict[str, tuple[int, ...]]))
def histograms(asked: OfEvidence, feature: Several) -> Response:
    """How the activations of several features are spread, by id; four bins an octave from 2^-8."""
    found = asked.atlas.histograms(parse_feature(name) for name in feature)
    return asked.answer({str(name): counts for name, counts in found.items()})


@router.get("/strongest", responses=answers(dict[str, types.Example]))
def strongest(asked: OfEvidence, feature: Several) -> Response:
    """The strongest example of several features by id; one that never fired has none."""
    found = asked.atlas.strongest(parse_feature(name) for name in feature)
    return asked.answer({str(name): example for name, example in found.items()})


@router.get("/heads/{model}", responses=answers(tuple[types.HeadRow, ...]))
def heads(model: str, asked: OfEvidence) -> Response:
    """All heads of a model."""
    return asked.answer(asked.atlas.heads(model))


@router.get("/heads/{model}/{head}", responses=answers(HeadPage))
def head(
    model: str,
    head: Annotated[str, Path(description="Layer and head, such as L5H1.")],
    asked: OfBoth,
    limit: Annotated[int, Query(ge=0, le=1000, description="Features that come with it.")] = 100,
    by: Annotated[types.HeadBy, Query(description="Which share its features go by.")] = "measured",
) -> Response:
    """Everything about one head: metrics, its strongest features, and what people wrote."""
    found = asked.atlas.head(f"{model}/{head}", limit, by)
    return asked.answer(HeadPage(found, _notes_on(asked.atlas, found.id)))


@router.get("/features/{model}/{sae}/{index}/families",
            responses=answers(tuple[study_types.FamilyClaim, ...]))  # fmt: skip
def families(model: str, sae: str, index: str, asked: OfEvidence) -> Response:
    """Families whose rule holds for a feature, with the evidence; its own first."""
    return asked.answer(asked.atlas.families(f"{model}/{sae}/{index}"))


@router.get("/heads/{model}/{head}/studies", responses=answers(study_types.HeadStudies))
def head_studies(
    model: str,
    head: Annotated[str, Path(description="Layer and head, such as L5H1.")],
    asked: OfEvidence,
) -> Response:
    """What studies left about one head: where it looks, its partners, effects."""
    return asked.answer(asked.atlas.head_studies(f"{model}/{head}"))


@router.get("/heads/{model}/{head}/roles", responses=answers(head_types.HeadRoles))
def head_roles(
    model: str,
    head: Annotated[str, Path(description="Layer and head, such as L5H1.")],
    asked: OfEvidence,
) -> Response:
    """What machines claim a head does, by its features, and whether that is one thing."""
    return asked.answer(asked.atlas.machine_roles(f"{model}/{head}"))


@router.get("/heads/{model}/{head}/composition", responses=answers(head_types.HeadComposition))
def composition(
    model: str,
    head: Annotated[str, Path(description="Layer and head, such as L5H1.")],
    asked: OfEvidence,
    limit: Annotated[int, Query(ge=0, le=1000, description="Heads of each kind.")] = 5,
) -> Response:
    """The heads that compose most with a head by weights, before it and after it."""
    return asked.answer(asked.atlas.composition(f"{model}/{head}", limit))


@router.get("/studies", responses=answers(tuple[study_types.StudyRow, ...]))
def studies(asked: OfEvidence) -> Response:
    """Every run of a study, newest first."""
    return asked.answer(asked.atlas.studies())


@router.get("/studies/{name}", responses=answers(study_types.StudyPage))
def study(
    name: Annotated[str, Path(description="A run, or a study for its newest run.")],
    asked: OfEvidence,
    model: Annotated[str | None, Query(description="Of a study's name: whose run.")] = None,
    limit: Annotated[int, Query(ge=0, le=10_000, description="Rows of each table.")] = 50,
) -> Response:
    """One run of a study with its settings, sample sizes and results."""
    return asked.answer(asked.atlas.study(name, model, limit))


def _notes_on(atlas: Atlas, target: Id) -> NotesOn:
    written = atlas.written
    return written.on(str(target)) if written else NotesOn(str(target), (), (), (), (), ())


@router.get("/search", responses=answers(LinkedPage))
def search(request: Request, query: Search, asked: OfBoth) -> Response:
    """Features that meet words and filters, a page at a time."""
    page = asked.atlas.search(query)
    return asked.answer(LinkedPage(**_fields(page), next=_next(request, page)))


@router.get("/pairs", responses=answers(LinkedPairPage))
def pairs(request: Request, query: Pairs, asked: OfEvidence) -> Response:
    """Features that fire on one token because of another, a page at a time."""
    page = asked.atlas.pairs(query)
    return asked.answer(LinkedPairPage(**_fields(page), next=_next(request, page)))


def _fields(page: types.Page | types.PairPage) -> dict[str, Any]:
    return {one.name: getattr(page, one.name) for one in fields(page)}


def _next(request: Request, page: types.Page | types.PairPage) -> str | None:
    return link(request, after=page.after, snapshot=page.snapshot) if page.after else None


@router.get("/compare", responses=answers(types.FeatureComparison))
def compare(a: str, b: str, asked: OfEvidence) -> Response:
    """Two features side by side."""
    return asked.answer(asked.atlas.compare(a, b))


@router.get("/compare/heads", responses=answers(types.HeadComparison))
def compare_heads(a: str, b: str, asked: OfEvidence) -> Response:
    """Two heads side by side."""
    return asked.answer(asked.atlas.compare_heads(a, b))


@router.get("/jump", responses=answers(types.Jump))
def jump(text: str, asked: OfEvidence) -> Response:
    """Every id that a short form such as 5.1 may mean."""
    return asked.answer(asked.atlas.jump(text))


@router.get("/contexts/{ctx}", responses=answers(types.Context))
def context(ctx: Annotated[int, Path(ge=0, le=LARGEST)], asked: OfEvidence) -> Response:
    """One text window of the mined corpus; its number belongs to the snapshot."""
    return asked.answer(asked.atlas.context(ctx))


@router.get("/random", responses=answers(FeatureId))
def random_feature(
    asked: OfEvidence,
    seed: Annotated[int | None, Query(ge=0, le=LARGEST, description="Always the same one.")] = None,
) -> Response:
    """Id of a feature worth looking at: another one each time, unless a seed is given."""
    found = asked.answer(asked.atlas.random_feature(seed))
    if seed is None:
        found.headers.update(FRESH)
        del found.headers["ETag"]
    return found


@router.get("/progress", responses=answers(tuple[Progress, ...]))
def progress(request: Request) -> Response:
    """How far every run of this store is, latest change first."""
    found = read_all(request.app.state.atlas.store)
    return Response(wire.dumps(found), 200, FRESH, JSON)


@router.get("/progress/{run}", responses=answers(Record))
def record_now(run: str, request: Request) -> Response:
    """What a run has written of itself so far, published or not."""
    found = read_now(request.app.state.atlas.store, run)
    return Response(wire.dumps(found), 200, FRESH, JSON)
