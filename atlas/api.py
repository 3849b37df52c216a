"""Class Atlas: the one object that pages, notebooks, the command line and the HTTP API hold."""

import random
from copy import copy
from functools import cached_property
from pathlib import Path

from atlas import compare
from atlas.ids import FeatureId, HeadId, Id, SaeId, candidates
from atlas.store import find, heads, pairs, snapshots
from atlas.store.evidence import Evidence, Reader, Still, open_store
from atlas.store.heads import FEATURES
from atlas.store.notes import Notes
from atlas.types import (
    Bins,
    Context,
    Feature,
    FeatureComparison,
    Head,
    HeadComparison,
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
    Stats,
)


class Atlas:
    """An opened atlas. Every method reads the newest snapshot, unless one was asked for by name.

    Methods raise NotFound for ids that name nothing, QueryError for queries that make no sense,
    and StoreError when the store cannot be read.
    """

    def __init__(self, reader: Reader, notes: Path | str) -> None:
        self._reader = reader
        self._notes = notes

    @classmethod
    def open(
        cls, store: Path | str, snapshot: str | None = None, notes: str | None = None
    ) -> "Atlas":
        """Open a store: its newest snapshot and those that follow, or one by name (`000003`).

        Args:
            store: the store's folder.
            snapshot: name of the one snapshot to serve; None for the newest.
            notes: URL of the notes' database; by default `notes.sqlite` in the store.

        Raises:
            StoreError: there is no atlas, or no such snapshot, or it cannot be served.
        """
        return cls(open_store(Path(store), snapshot), notes or Path(store) / "notes.sqlite")

    @cached_property
    def notes(self) -> Notes:
        """What people wrote: tags, role claims, labels, comments, votes, collections, queries."""
        return Notes.open(self._notes)

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

    @property
    def refused(self) -> tuple[str, ...]:
        """Why newer snapshots than this one are not served; normally nothing."""
        return tuple(str(one.error) for one in self.evidence.refused)

    def stats(self) -> Stats:
        """How much the atlas holds."""
        return self.evidence.stats()

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
        return self.evidence.densities(name)

    def feature(self, name: str | FeatureId) -> Feature:
        """Everything about one feature."""
        return self.evidence.feature(name)

    def random_feature(self, seed: int | None = None) -> FeatureId:
        """A feature worth looking at; another one each time unless a seed is given."""
        return self.evidence.random_feature(random.getrandbits(32) if seed is None else seed)

    def heads(self, model: str) -> tuple[HeadRow, ...]:
        """All heads of a model."""
        return heads.heads(self.evidence, model)

    def head(self, name: str | HeadId, limit: int = FEATURES) -> Head:
        """Everything about one head, with its `limit` strongest features."""
        return heads.head(self.evidence, name, limit)

    def context(self, number: int) -> Context:
        """One text window of the mined corpus."""
        return self.evidence.contexts([number])[0]

    def vocab(self, model: str) -> tuple[str, ...]:
        """Text of every token id of a model."""
        return self.evidence.vocab(self.evidence.model(model).id).texts

    def search(self, query: Query) -> Page:
        """One page of the features that meet a query."""
        return find.find(self.evidence, query)

    def pairs(self, query: PairQuery) -> PairPage:
        """One page of the features that have a token pair."""
        return pairs.find_pairs(self.evidence, query)

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
