"""Class Atlas: the one object that pages, notebooks, the command line and the HTTP API hold."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from atlas import compare, people, prompt_search
from atlas.beside import Beside
from atlas.errors import ModelError
from atlas.head_types import HeadComposition, HeadRoles
from atlas.hypothesis import parse
from atlas.hypothesis_types import Trial
from atlas.ids import FeatureId, HeadId, Id, SaeId, candidates
from atlas.label_types import (
    JudgedScore,
    LabelFailure,
    LabelMethod,
    ReviewItem,
    ReviewReason,
    ToEmbed,
    Wanted,
)
from atlas.prompt_types import Features, PromptSearch, RankBy
from atlas.record import Record
from atlas.store import (
    export,
    features,
    find,
    head_roles,
    heads,
    labels,
    pairs,
    snapshots,
    studied,
    studies,
    trials,
)
from atlas.store.describe import TablePage
from atlas.store.evidence import Evidence
from atlas.store.head_roles import EDGES
from atlas.store.heads import FEATURES
from atlas.store.notes import Notes
from atlas.store.reader import Reader, Still, open_store
from atlas.store.recipes import Recipe, cookbook
from atlas.store.sql import Parameters
from atlas.store.studies import ROWS
from atlas.study_types import FamilyClaim, HeadStudies, StudyPage, StudyRow
from atlas.types import (
    Bins,
    Context,
    Example,
    Feature,
    FeatureComparison,
    FeatureRow,
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

if TYPE_CHECKING:
    from atlas.prompt import Explorer


class Atlas:
    """An opened atlas. Every method reads the newest snapshot, unless one was asked for by name.

    Methods raise NotFound for ids that name nothing, QueryError for queries that make no sense,
    and StoreError when the store cannot be read.
    """

    def __init__(self, reader: Reader, notes: Path | str, *, read_only: bool = False) -> None:
        self._reader = reader
        self._beside = Beside(notes, read_only=read_only)
        self._explorers: dict[str | None, Explorer] = {}

    @classmethod
    def open(
        cls,
        store: Path | str,
        snapshot: str | None = None,
        notes: str | None = None,
        *,
        read_only: bool = False,
    ) -> "Atlas":
        """Open a store: its newest snapshot and those that follow, or one by name (`000003`).

        Args:
            store: the store's folder.
            snapshot: name of the one snapshot to serve; None for the newest.
            notes: URL of the notes' database; by default `notes.sqlite` in the store.
            read_only: whether notes can only be read.

        Raises:
            StoreError: there is no atlas, or no such snapshot, or it cannot be served.
        """
        where = notes or Path(store) / "notes.sqlite"
        return cls(open_store(Path(store), snapshot), where, read_only=read_only)

    def close(self) -> None:
        """End the processes and connections that were opened; the Atlas cannot be used again."""
        self._beside.close()

    def prepare(self) -> None:
        """Begin to load what the first search by meaning would wait for; for servers."""
        self._beside.meaning.prepare()

    def __enter__(self) -> "Atlas":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def notes(self) -> Notes:
        """What people wrote: tags, role claims, labels, comments, votes, collections, queries."""
        return self._beside.notes

    @property
    def read_only(self) -> bool:
        """Whether notes can only be read here."""
        return self._beside.read_only

    @property
    def evidence(self) -> Evidence:
        """The snapshot that answers now; keep it to ask several things of one state."""
        return self._reader.now()

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self._reader.store

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that answers now."""
        return self.evidence.snapshot

    def snapshots(self) -> tuple[str, ...]:
        """Names of the snapshots that are kept, newest first, readable or not."""
        return tuple(f"{number:06d}" for number in snapshots.numbers(self.store))

    def at(self, snapshot: str | None = None) -> "Atlas":
        """This atlas held at one snapshot: the one that answers now, or another by name.

        Raises:
            StoreError: there is no such snapshot, or it cannot be served.
        """
        held, now = copy(self), self.evidence
        here = snapshot in (None, now.snapshot.name)
        held._reader = Still(now) if here else open_store(self.store, snapshot)
        return held

    def verify(self) -> None:
        """Read every byte of the snapshot that answers; where one is wrong, serve an older one.

        Raises:
            StoreError: no older snapshot can be served in its place.
        """
        self._reader.verify()

    @property
    def refused(self) -> tuple[str, ...]:
        """Why newer snapshots than this one are not served; normally nothing."""
        return tuple(str(one.error) for one in self.evidence.refused)

    @property
    def written(self) -> Notes | None:
        """The notes, or None while nobody wrote any: reading alone makes no file."""
        return self.notes if self._beside.has_notes else None

    def sql(
        self,
        query: str,
        parameters: Parameters = (),
        *,
        limit: int = 1000,
        seconds: float | None = None,
    ) -> SqlResult:
        """Run one SELECT over evidence and notes, in a process of its own.

        Args:
            query: the SELECT; evidence and notes tables go by their own names.
            parameters: values by name for `$name`, or in order for `?`.
            limit: most rows of the result.
            seconds: time limit, when less than the service's own.

        Raises:
            QueryError: it is refused, wrong, too long in time or too large, or too many wait.
        """
        return self._beside.sql.run(self.snapshot, query, parameters, limit=limit, seconds=seconds)

    def schema(self) -> tuple[TablePage, ...]:
        """Every table that SQL sees, with a sentence per column."""
        return self.evidence.describe()

    def cookbook(self) -> Mapping[str, Recipe]:
        """Saved queries that answer research questions, by name."""
        return cookbook()

    def explorer(self, model: str | None = None, device: str = "auto") -> "Explorer":
        """Load a model, ready to explore prompts through its SAEs; keep it for many prompts.

        Raises:
            NotFound: no such model, or several to choose from.
            ModelError: it cannot be loaded or does not decompose.
        """
        if find_spec("torch") is None or find_spec("transformer_lens") is None:
            raise ModelError("prompts need torch", "pip install 'feature-atlas[ingest]'")
        # Needs torch, which a host that only serves the store does without.
        from atlas.explore import open_explorer  # noqa: PLC0415

        return open_explorer(self, model, device)

    def prompt(self, text: str, model: str | None = None) -> Features:
        """Which features fire on a text, by layer and position. Loads the model the first time.

        Raises:
            QueryError: the text is empty or too long.
            NotFound, ModelError: as `explorer`.
        """
        return self._explored(model).features(text)

    def fires_on(
        self, text: str, model: str | None = None, limit: int = 25, by: RankBy = "relative"
    ) -> PromptSearch:
        """The features that fire most on a text, each where it is strongest. Raises as `prompt`."""
        return self.ranked(self._explored(model).all_firings(text), limit, by)

    def ranked(self, found: Features, limit: int = 25, by: RankBy = "relative") -> PromptSearch:
        """The strongest features of a prompt whose firings are all listed. Raises QueryError."""
        evidence, notes = self.evidence, self.written

        def rows_of(names: Sequence[FeatureId]) -> tuple[FeatureRow, ...]:
            return evidence.rows_of(evidence.key(name) for name in names)

        searched = prompt_search.rank(found, rows_of, limit, by)
        return people.titled_search(notes, searched)

    def _explored(self, model: str | None) -> "Explorer":
        if model not in self._explorers:
            self._explorers[model] = self.explorer(model)
        return self._explorers[model]

    def stats(self) -> Stats:
        """How much the atlas holds."""
        return self.evidence.stats

    def models(self) -> tuple[Model, ...]:
        """All models by id."""
        return self.evidence.models

    def model(self, name: str) -> Model:
        """One model."""
        return self.evidence.model(name)

    def runs(self) -> tuple[Run, ...]:
        """All runs, newest first."""
        return self.evidence.runs

    def run(self, name: str) -> Run:
        """One run."""
        return self.evidence.run(name)

    def record(self, run: str) -> Record:
        """How a run went: the curve of its training and its log. Both are empty for old bundles."""
        return self.evidence.record(run)

    def saes(self) -> tuple[Sae, ...]:
        """All SAEs by model, layer and set."""
        return self.evidence.saes

    def sae(self, name: str | SaeId) -> Sae:
        """One SAE."""
        return self.evidence.sae(name)

    def weights(self, name: str | SaeId) -> Path:
        """The safetensors file with the weights of an SAE."""
        evidence = self.evidence
        return evidence.weights(evidence.sae(name))

    def densities(self, name: str | SaeId) -> Bins:
        """Histogram of an SAE's feature densities."""
        return features.densities(self.evidence, name)

    def export(self, name: str | SaeId, table: export.Table) -> export.Rows:
        """All rows of one table about an SAE, read as they are taken."""
        return export.rows(self.evidence, name, table)

    def feature(self, name: str | FeatureId) -> Feature:
        """Everything about one feature."""
        return people.titled_feature(self.written, features.feature(self.evidence, name))

    def measured(self, name: str | FeatureId) -> Feature:
        """A feature as the snapshot has it: without neighbours and what people call it."""
        return features.feature(self.evidence, name, alone=True)

    def strongest(self, names: Iterable[FeatureId]) -> dict[FeatureId, Example]:
        """The strongest example of several features; one that never fired has none."""
        return features.strongest(self.evidence, names)

    def histograms(self, names: Iterable[FeatureId]) -> dict[FeatureId, tuple[int, ...]]:
        """How the activations of several features are spread, in bins of `histogram_edge`."""
        return features.histograms(self.evidence, names)

    def random_feature(self, seed: int | None = None) -> FeatureId:
        """A feature worth looking at; another one each time unless a seed is given."""
        seed = random.getrandbits(32) if seed is None else seed
        return features.random_feature(self.evidence, seed)

    def label_methods(self) -> tuple[LabelMethod, ...]:
        """Ways of labelling compared: a row per method and scorer, best mean first."""
        return labels.methods(self.evidence)

    def judged(self, name: str | FeatureId) -> tuple[JudgedScore, ...]:
        """Every single judgement behind the scores of a feature's labels."""
        return labels.judged(self.evidence, name)

    def label_failures(self, name: str | FeatureId) -> tuple[LabelFailure, ...]:
        """What labellers could not do for a feature; the next run tries again."""
        return labels.failures(self.evidence, name)

    def review_queue(
        self,
        limit: int = 25,
        sae: str | SaeId | None = None,
        reason: ReviewReason | None = None,
    ) -> tuple[ReviewItem, ...]:
        """Features whose label, weights and measurement call for a person, most urgent first.

        A feature that a person has given a title is left out until that title is disputed.
        """
        notes = self.written
        contested = people.disputed(notes)
        seen = people.titled(notes) - contested
        return labels.review(self.evidence, limit, sae, reason, seen, contested)

    def to_label(
        self,
        labeller: tuple[str, str | None, str | None],
        scorers: Sequence[str],
        saes: Sequence[SaeId] | None = None,
    ) -> Iterator[Wanted]:
        """Features that a labeller (method, model, prompt) has yet to do, most worth first."""
        noted = people.noted(self.written)
        return labels.wanted(self.evidence, labeller, scorers, saes, noted)

    def fired_nearby(self, name: FeatureId, contexts: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """(context, position) in these contexts where neighbours of a feature fire."""
        return labels.fired_nearby(self.evidence, name, tuple(contexts))

    def random_contexts(self, run: str, count: int, seed: int = 0) -> tuple[Context, ...]:
        """Text windows of a run, drawn at random."""
        return labels.random_contexts(self.evidence, run, count, seed)

    def to_embed(self, model: str) -> tuple[ToEmbed, ...]:
        """Labels without a vector by this embedding model."""
        return labels.to_embed(self.evidence, model)

    def heads(self, model: str) -> tuple[HeadRow, ...]:
        """All heads of a model."""
        return heads.heads(self.evidence, model)

    def head_metrics(self, model: str) -> dict[HeadId, tuple[HeadMetric, ...]]:
        """The metrics of all heads of a model that have any."""
        return heads.metrics(self.evidence, model)

    def head(self, name: str | HeadId, limit: int = FEATURES, by: HeadBy = "measured") -> Head:
        """Everything about one head, with its `limit` strongest features."""
        return people.titled_head(self.written, heads.head(self.evidence, name, limit, by))

    def machine_roles(self, name: str | HeadId) -> HeadRoles:
        """What machines claim a head does, by its features, and whether that is one thing."""
        return head_roles.head_roles(self.evidence, name)

    def composition(self, name: str | HeadId, limit: int = EDGES) -> HeadComposition:
        """The `limit` heads of each kind that compose most with a head, before and after it."""
        return head_roles.composition(self.evidence, name, limit)

    def head_studies(self, name: str | HeadId) -> HeadStudies:
        """What studies measured of one head: where it looks, what it does to the output."""
        return studied.head_studies(self.evidence, name)

    def roles_of_heads(self, model: str) -> dict[HeadId, tuple[str, ...]]:
        """The roles that a study claims for each head of a model."""
        return studied.roles_of_heads(self.evidence, model)

    def families(self, name: str | FeatureId) -> tuple[FamilyClaim, ...]:
        """Families whose rule holds for a feature, with the evidence; its own first."""
        return studied.families(self.evidence, name)

    def studies(self) -> tuple[StudyRow, ...]:
        """Every run of a study, newest first."""
        return studies.studies(self.evidence)

    def study(self, name: str, model: str | None = None, limit: int = ROWS) -> StudyPage:
        """A run of a study, or a study's newest run, with `limit` rows of each of its tables."""
        return studies.study(self.evidence, name, model, limit)

    def context(self, number: int) -> Context:
        """One text window of the mined corpus."""
        return self.evidence.contexts([number])[0]

    def vocab(self, model: str) -> tuple[str, ...]:
        """Text of every token id of a model."""
        evidence = self.evidence
        return evidence.vocab(evidence.model(model).id).texts

    def search(self, query: Query) -> Page:
        """One page of the features that meet a query."""
        notes = self.written
        said = people.said(notes, query, self._beside.marks())
        wanted = self._beside.meaning.of(query.text) if query.by != "words" and query.text else ""
        page = find.find(self.evidence, query, said, wanted)
        return people.titled_page(notes, page)

    def pairs(self, query: PairQuery) -> PairPage:
        """One page of the features that have a token pair."""
        return pairs.find_pairs(self.evidence, query)

    def test(self, hypothesis: str, target: str | Id, seed: int = 0) -> Trial:
        """Test a hypothesis against the kept firings of a feature, a head or an SAE.

        Args:
            hypothesis: a statement in the language of `atlas.hypothesis`.
            target: what it is about; of a head or an SAE, up to 300 features are tested.
            seed: of the features and the places without firing that are drawn.
        """
        return trials.test(self.evidence, parse(hypothesis), target, seed)

    def test_saved(self, note: str) -> Trial:
        """Test a hypothesis that somebody saved, given by the note's id, on this snapshot."""
        saved = trials.of_note(self.notes.get(note))
        return self.test(saved.hypothesis, saved.target, saved.seed)

    def compare(self, a: str | FeatureId, b: str | FeatureId) -> FeatureComparison:
        """Two features side by side."""
        return compare.compare_features(self.evidence, a, b)

    def compare_heads(self, a: str | HeadId, b: str | HeadId) -> HeadComparison:
        """Two heads side by side."""
        return compare.compare_heads(self.evidence, a, b)

    def jump(self, text: str) -> Jump:
        """What a jump box means by `text`: every id it may spell that exists."""
        evidence = self.evidence
        names = [model.id for model in evidence.models]
        found = candidates(text, names, [sae.id for sae in evidence.saes])
        return Jump(text, tuple(one for one in found if self.has(one)))

    def has(self, name: Id) -> bool:
        """Whether the atlas has this model, head, SAE or feature."""
        return self.evidence.has(name)
