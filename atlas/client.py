"""An atlas that is served elsewhere: the same methods and types as Atlas, over HTTP."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from atlas import wire
from atlas.client_notes import NotesClient
from atlas.client_prompt import PromptClient
from atlas.client_server import Parameters, Server, encoded
from atlas.errors import NotFound
from atlas.head_types import HeadComposition, HeadRoles
from atlas.hypothesis_types import Trial
from atlas.ids import FeatureId, HeadId, Id, SaeId, is_name, parse_feature, parse_head, parse_sae
from atlas.label_types import (
    JudgedScore,
    LabelFailure,
    LabelMethod,
    ReviewItem,
    ReviewReason,
)
from atlas.progress import Progress
from atlas.prompt_types import Features, PromptSearch, RankBy
from atlas.record import Record
from atlas.store.describe import TablePage
from atlas.store.export import Table
from atlas.store.recipes import Recipe
from atlas.store.sql import Parameters as SqlParameters
from atlas.store.sql_formats import from_arrow
from atlas.study_types import FamilyClaim, HeadStudies, StudyPage, StudyRow
from atlas.types import (
    Bins,
    Context,
    Example,
    Feature,
    FeatureComparison,
    Head,
    HeadBy,
    HeadComparison,
    HeadMetric,
    HeadRow,
    Jump,
    Model,
    Page,
    PairPage,
    PairQuery,
    Query,
    Run,
    Sae,
    Snapshot,
    SqlResult,
    Stats,
)

T = TypeVar("T")
URL = "http://127.0.0.1:8502"
FEATURES = 100
"""Features that come with a head."""


class Client:
    """A served atlas. Every method raises the errors of the same method of Atlas.

    Besides, StoreError where nothing answers. It may be shared between threads.
    """

    def __init__(
        self,
        url: str = URL,
        token: str | None = None,
        snapshot: str | None = None,
        seconds: float = 60.0,
    ) -> None:
        """Speak to a server; nothing is asked yet.

        Args:
            url: where `atlas serve` says that its query API is.
            token: needed to write, where the server has tokens.
            snapshot: name of the one snapshot to ask; None for the newest each time.
            seconds: how long an answer may take.
        """
        self._server = Server(url, token, seconds)
        self._snapshot = snapshot

    def _get(self, kind: type[T], path: str, parameters: Parameters = ()) -> T:
        return self._server.get(kind, path, [*parameters, *self._held])

    @property
    def _held(self) -> Parameters:
        return _given(snapshot=self._snapshot)

    def at(self, snapshot: str | None = None) -> "Client":
        """This atlas held at one snapshot: the one that answers now, or another by name."""
        held = Client.__new__(Client)
        held._server = self._server
        held._snapshot = self.snapshot.name if snapshot is None else snapshot
        return held

    @cached_property
    def notes(self) -> NotesClient:
        """What people wrote."""
        return NotesClient(self._server)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that answers now; its path is not told."""
        return self._get(Snapshot, "/snapshot")

    def snapshots(self) -> tuple[str, ...]:
        """Names of the snapshots that are kept, newest first."""
        return self._server.get(tuple[str, ...], "/snapshots")

    @property
    def refused(self) -> tuple[str, ...]:
        """Why newer snapshots than this one are not served; normally nothing."""
        home = self._get(dict[str, Any], "/")
        return tuple(home["refused"])

    def stats(self) -> Stats:
        """How much the atlas holds."""
        return self._get(Stats, "/stats")

    def models(self) -> tuple[Model, ...]:
        """All models by id."""
        return self._get(tuple[Model, ...], "/models")

    def model(self, name: str) -> Model:
        """One model."""
        return self._get(Model, f"/models/{_segment(name)}")

    def runs(self) -> tuple[Run, ...]:
        """All runs, newest first."""
        return self._get(tuple[Run, ...], "/runs")

    def run(self, name: str) -> Run:
        """One run."""
        return self._get(Run, f"/runs/{_segment(name)}")

    def record(self, run: str) -> Record:
        """How a run went: the curve of its training and its log."""
        return self._get(Record, f"/runs/{_segment(run)}/record")

    def record_now(self, run: str) -> Record:
        """What a run has written so far, published or not."""
        return self._server.get(Record, f"/progress/{_segment(run)}")

    def progress(self) -> tuple[Progress, ...]:
        """How far every run of the store is, latest change first."""
        return self._server.get(tuple[Progress, ...], "/progress")

    def saes(self) -> tuple[Sae, ...]:
        """All SAEs by model, layer and set."""
        return self._get(tuple[Sae, ...], "/saes")

    def sae(self, name: str | SaeId) -> Sae:
        """One SAE."""
        return self._get(Sae, f"/saes/{_sae(name)}")

    def weights(self, name: str | SaeId, target: Path) -> Path:
        """Fetch the safetensors file with the weights of an SAE into a new file."""
        with target.open("xb") as file:
            self._server.fetch(f"/saes/{_sae(name)}/weights", self._held, file)
        return target

    def export(self, name: str | SaeId, table: Table, target: Path) -> Path:
        """Fetch one table of an SAE, whole, into a new Parquet file."""
        with target.open("xb") as file:
            self._server.fetch(f"/saes/{_sae(name)}/export/{table}", self._held, file)
        return target

    def export_neuronpedia(self, name: str | SaeId, target: Path) -> Path:
        """Fetch an SAE in the layout of Neuronpedia's exports into a new tar file."""
        with target.open("xb") as file:
            self._server.fetch(f"/saes/{_sae(name)}/export/neuronpedia", self._held, file)
        return target

    def densities(self, name: str | SaeId) -> Bins:
        """Histogram of an SAE's feature densities."""
        return self._get(Bins, f"/saes/{_sae(name)}/densities")

    def feature(self, name: str | FeatureId) -> Feature:
        """Everything about one feature."""
        wanted = parse_feature(name) if isinstance(name, str) else name
        page = self._get(dict[str, Any], f"/features/{wanted}")
        return self._server.made(Feature, page["feature"])

    def strongest(self, names: Iterable[FeatureId]) -> dict[FeatureId, Example]:
        """The strongest example of several features; one that never fired has none."""
        return self._of_each(dict[str, Example], "/strongest", names)

    def histograms(self, names: Iterable[FeatureId]) -> dict[FeatureId, tuple[int, ...]]:
        """How the activations of several features are spread, in bins of `histogram_edge`."""
        return self._of_each(dict[str, tuple[int, ...]], "/histograms", names)

    def _of_each(
        self, kind: type[dict[str, T]], path: str, names: Iterable[FeatureId]
    ) -> dict[FeatureId, T]:
        """What an address tells of several features, asked for so many at a time."""
        found: dict[FeatureId, T] = {}
        wanted = [("feature", name) for name in names]
        for first in range(0, len(wanted), FEATURES):
            part = self._get(kind, path, wanted[first : first + FEATURES])
            found |= {parse_feature(name): one for name, one in part.items()}
        return found

    def random_feature(self, seed: int | None = None) -> FeatureId:
        """A feature worth looking at; another one each time unless a seed is given."""
        return self._get(FeatureId, "/random", _given(seed=seed))

    def label_methods(self) -> tuple[LabelMethod, ...]:
        """Ways of labelling compared: one per method and scorer, best mean first."""
        return self._get(tuple[LabelMethod, ...], "/labels/methods")

    def judged(self, name: str | FeatureId) -> tuple[JudgedScore, ...]:
        """Every single judgement behind the scores of a feature's labels."""
        return self._get(tuple[JudgedScore, ...], f"/features/{_feature(name)}/judgements")

    def label_failures(self, name: str | FeatureId) -> tuple[LabelFailure, ...]:
        """What labellers could not do for a feature."""
        return self._get(tuple[LabelFailure, ...], f"/features/{_feature(name)}/label-failures")

    def review_queue(
        self,
        limit: int = 25,
        sae: str | SaeId | None = None,
        reason: ReviewReason | None = None,
    ) -> tuple[ReviewItem, ...]:
        """Features whose label, weights and measurement call for a person."""
        wanted = _given(limit=limit, sae=sae, reason=reason)
        return self._get(tuple[ReviewItem, ...], "/review", wanted)

    def heads(self, model: str) -> tuple[HeadRow, ...]:
        """All heads of a model."""
        return self._get(tuple[HeadRow, ...], f"/heads/{_segment(model)}")

    def head_metrics(self, model: str) -> dict[HeadId, tuple[HeadMetric, ...]]:
        """The metrics of all heads of a model that have any."""
        found = self._get(
            dict[str, tuple[HeadMetric, ...]], f"/models/{_segment(model)}/head-metrics"
        )
        return {parse_head(name): metrics for name, metrics in found.items()}

    def roles_of_heads(self, model: str) -> dict[HeadId, tuple[str, ...]]:
        """The roles that a study claims for each head of a model."""
        found = self._get(dict[str, tuple[str, ...]], f"/models/{_segment(model)}/head-roles")
        return {parse_head(name): roles for name, roles in found.items()}

    def head(self, name: str | HeadId, limit: int = FEATURES, by: HeadBy = "measured") -> Head:
        """Everything about one head, with its `limit` strongest features."""
        wanted = parse_head(name) if isinstance(name, str) else name
        page = self._get(dict[str, Any], f"/heads/{wanted}", _given(limit=limit, by=by))
        return self._server.made(Head, page["head"])

    def head_studies(self, name: str | HeadId) -> HeadStudies:
        """What studies left about one head: where it looks, its partners, effects."""
        return self._get(HeadStudies, f"/heads/{_head(name)}/studies")

    def families(self, name: str | FeatureId) -> tuple[FamilyClaim, ...]:
        """Families whose rule holds for a feature, with the evidence; its own first."""
        wanted = parse_feature(name) if isinstance(name, str) else name
        return self._get(tuple[FamilyClaim, ...], f"/features/{wanted}/families")

    def machine_roles(self, name: str | HeadId) -> HeadRoles:
        """What machines claim a head does, by its features, and whether that is one thing."""
        return self._get(HeadRoles, f"/heads/{_head(name)}/roles")

    def composition(self, name: str | HeadId, limit: int = 5) -> HeadComposition:
        """The `limit` heads of each kind that compose most with a head, before and after it."""
        return self._get(HeadComposition, f"/heads/{_head(name)}/composition", _given(limit=limit))

    def studies(self) -> tuple[StudyRow, ...]:
        """Every run of a study, newest first."""
        return self._get(tuple[StudyRow, ...], "/studies")

    def study(self, name: str, model: str | None = None, limit: int = 50) -> StudyPage:
        """A run of a study, or a study's newest run, with `limit` rows of each of its tables."""
        return self._get(StudyPage, f"/studies/{_segment(name)}", _given(model=model, limit=limit))

    def context(self, number: int) -> Context:
        """One text window of the mined corpus."""
        return self._get(Context, f"/contexts/{number}")

    def vocab(self, model: str) -> tuple[str, ...]:
        """Text of every token id of a model."""
        return self._get(tuple[str, ...], f"/models/{_segment(model)}/vocab")

    def search(self, query: Query) -> Page:
        """One page of the features that meet a query."""
        return self._get(Page, "/search", _given(**asdict(query)))

    def pairs(self, query: PairQuery) -> PairPage:
        """One page of the features that have a token pair."""
        return self._get(PairPage, "/pairs", _given(**asdict(query)))

    def test(self, hypothesis: str, target: str | Id, seed: int = 0) -> Trial:
        """Test a hypothesis against the kept firings of a feature, a head or an SAE."""
        given = _given(hypothesis=hypothesis, target=str(target), seed=seed)
        return self._get(Trial, "/test", given)

    def test_saved(self, note: str) -> Trial:
        """Test a hypothesis that somebody saved, given by the note's id."""
        return self._get(Trial, f"/notes/{_segment(note)}/test")

    def compare(self, a: str | FeatureId, b: str | FeatureId) -> FeatureComparison:
        """Two features side by side."""
        return self._get(FeatureComparison, "/compare", _given(a=a, b=b))

    def compare_heads(self, a: str | HeadId, b: str | HeadId) -> HeadComparison:
        """Two heads side by side."""
        return self._get(HeadComparison, "/compare/heads", _given(a=a, b=b))

    def jump(self, text: str) -> Jump:
        """What a jump box means by `text`: every id it may spell that exists."""
        return self._get(Jump, "/jump", _given(text=text))

    def has(self, name: Id) -> bool:
        """Whether the atlas has this model, head, SAE or feature."""
        return name in self.jump(str(name)).found

    def sql(
        self,
        query: str,
        parameters: SqlParameters = (),
        *,
        limit: int = 1000,
        seconds: float | None = None,
    ) -> SqlResult:
        """Run one SELECT over evidence and notes, with the values of its parameters."""
        values = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
        body = {"query": query, "parameters": values, "limit": limit, "seconds": seconds}
        wanted = [("format", "arrow"), *self._held]
        return from_arrow(self._server.ask("POST", "/sql", wanted, encoded(wire.dumps(body))))

    def explorer(self, model: str | None = None) -> PromptClient:
        """Runs prompts through a model on the server, which loads it when first asked."""
        return PromptClient(self._server, self._held, model)

    def prompt(self, text: str, model: str | None = None) -> Features:
        """Which features fire on a text, by layer and position."""
        return self.explorer(model).features(text)

    def fires_on(
        self, text: str, model: str | None = None, limit: int = 25, by: RankBy = "relative"
    ) -> PromptSearch:
        """The features that fire most on a text, each where it is strongest."""
        return self.explorer(model).search(text, limit, by)

    def schema(self) -> tuple[TablePage, ...]:
        """Every table that SQL sees, with a sentence per column."""
        return self._get(tuple[TablePage, ...], "/schema")

    def cookbook(self) -> dict[str, Recipe]:
        """Saved queries that answer research questions, by name."""
        return self._get(dict[str, Recipe], "/cookbook")


def _given(**parameters: Any) -> Parameters:
    """Query parameters; None is not asked for."""
    return [(name, value) for name, value in parameters.items() if value is not None]


def _feature(name: str | FeatureId) -> FeatureId:
    return parse_feature(name) if isinstance(name, str) else name


def _sae(name: str | SaeId) -> SaeId:
    return parse_sae(name) if isinstance(name, str) else name


def _head(name: str | HeadId) -> HeadId:
    return parse_head(name) if isinstance(name, str) else name


def _segment(name: str) -> str:
    """One part of a path. Raises NotFound for what is no name."""
    if not is_name(name):
        raise NotFound(f"not a name: {name[:80]!r}", "it has letters, digits, dots and dashes")
    return name
