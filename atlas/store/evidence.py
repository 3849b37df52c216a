"""Reading one snapshot: models, runs, SAEs, features and their examples.

Nothing here changes after a snapshot is opened, so one `Evidence` serves any number of threads:
every query runs on a cursor of its own.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from atlas.errors import NotFound, StoreError
from atlas.ids import FeatureId, Id, ModelId, SaeId, parse_feature, parse_sae
from atlas.store import rows, snapshots
from atlas.store import vocab as vocabulary
from atlas.store.search import Index
from atlas.types import (
    Bins,
    Context,
    Example,
    Feature,
    FeatureRow,
    HeadShare,
    Model,
    Neighbour,
    Run,
    Sae,
    Snapshot,
    Stats,
)

Key = tuple[int, int]
"""SAE number in this snapshot and feature index."""

_CARD = """
  f.sae, f.feature, t.text AS title, t.method AS title_method, t.support AS title_support,
  f.density, f.firings, f.max_act, f.mean_act, f.weight_head, f.weight_share, f.dfa_head,
  f.dfa_share, f.disagree, f.family
"""
_GOOD_FIRINGS = 20
_GOOD_SUPPORT = 0.5


class Evidence:
    """The evidence of one snapshot."""

    def __init__(
        self,
        store: Path,
        snapshot: Snapshot,
        con: duckdb.DuckDBPyConnection,
        refused: Sequence[snapshots.Refused] = (),
    ) -> None:
        self.store = store
        self.snapshot = snapshot
        self.refused = tuple(refused)
        """Newer snapshots that are on disk and cannot be served."""
        self._con = con
        self._vocabs: dict[str, vocabulary.Vocab] = {}

    def query(
        self, sql: str, tables: dict[str, Any] | None = None, **values: Any
    ) -> list[dict[str, Any]]:
        """Rows of a query by column name.

        Args:
            sql: static text with named parameters.
            tables: Arrow tables that the query names.
            values: its parameters.

        Raises:
            StoreError: the snapshot's file is damaged, or memory ran out.
        """
        with closing(self._con.cursor()) as cursor:
            try:
                for name, table in (tables or {}).items():
                    cursor.register(name, table)
                cursor.execute(sql, values)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            except (
                duckdb.IOException,
                duckdb.OutOfMemoryException,
                duckdb.FatalException,
            ) as error:
                raise StoreError(
                    f"snapshot {self.snapshot.name} cannot be read: {str(error).splitlines()[0]}",
                    "remove it, or restore it from a backup; older snapshots are still there",
                ) from error

    @cached_property
    def index(self) -> Index:
        """The search index of this snapshot."""
        return Index(self.snapshot.path / snapshots.SEARCH)

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """All models by id."""
        return tuple(Model(**row) for row in self.query("SELECT * FROM model ORDER BY id"))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, newest first."""
        return tuple(
            rows.run(row) for row in self.query("SELECT * FROM run ORDER BY created_at DESC, id")
        )

    @cached_property
    def saes(self) -> tuple[Sae, ...]:
        """All SAEs by model, layer and set."""
        found = self.query(
            """
            SELECT s.*, (SELECT count(*) FROM feature f
                         WHERE f.sae = s.sae AND f.firings > 0) AS alive
            FROM sae s ORDER BY model, layer, set_name
            """
        )
        return tuple(rows.sae(row) for row in found)

    def model(self, name: str) -> Model:
        """One model. Raises NotFound, naming those that exist."""
        found = {model.id: model for model in self.models}
        if name not in found:
            raise NotFound(f"no model {name!r}", f"models: {', '.join(found)}")
        return found[name]

    def run(self, name: str) -> Run:
        """One run. Raises NotFound, naming those that exist."""
        found = {run.id: run for run in self.runs}
        if name not in found:
            raise NotFound(f"no run {name!r}", f"runs: {', '.join(found)}")
        return found[name]

    def sae(self, name: str | SaeId) -> Sae:
        """One SAE by id. Raises NotFound, naming those that exist."""
        wanted = parse_sae(name) if isinstance(name, str) else name
        for sae in self.saes:
            if sae.id == wanted:
                return sae
        known = [str(sae.id) for sae in self.saes]
        some = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        raise NotFound(f"no SAE {wanted}", f"SAEs: {some}")

    def numbered(self, number: int) -> Sae:
        """The SAE with this small number."""
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, Sae]:
        return {sae.number: sae for sae in self.saes}

    def vocab(self, model: str) -> vocabulary.Vocab:
        """Token texts of a model."""
        if model not in self._vocabs:
            found = self.query("SELECT token, text FROM vocab WHERE model = $model", model=model)
            texts = ((row["token"], row["text"]) for row in found)
            self._vocabs[model] = vocabulary.of(model, texts)
        return self._vocabs[model]

    def weights(self, sae: Sae) -> Path:
        """Where the weights of an SAE are. Raises StoreError when the file is gone."""
        path = self.store / "weights" / sae.weights
        if not path.is_file():
            raise StoreError(
                f"the weights of {sae.id} are not at {path}", "publish its bundle again"
            )
        return path

    def key(self, name: str | FeatureId) -> Key:
        """SAE number and index of a feature.

        Raises:
            NotFound: no such SAE or feature; names the range that exists.
        """
        wanted = parse_feature(name) if isinstance(name, str) else name
        sae = self.sae(wanted.sae)
        if not 0 <= wanted.index < sae.d_sae:
            raise NotFound(f"no feature {wanted}", f"{sae.id} has features 0 to {sae.d_sae - 1}")
        return sae.number, wanted.index

    def has(self, name: Id) -> bool:
        """Whether a model, head, SAE or feature of this id exists."""
        if isinstance(name, SaeId | FeatureId):
            sae = name if isinstance(name, SaeId) else name.sae
            sizes = {one.id: one.d_sae for one in self.saes}
            return sae in sizes and (isinstance(name, SaeId) or name.index < sizes[sae])
        models = {one.id: (one.n_layers, one.n_heads) for one in self.models}
        if isinstance(name, ModelId):
            return name.name in models
        layers, heads = models.get(name.model, (0, 0))
        return name.layer < layers and name.head < heads

    def rows_of(self, keys: Iterable[Key]) -> tuple[FeatureRow, ...]:
        """The rows of features in the order of `keys`; every key must exist."""
        keys = list(keys)
        found = self.query(
            f"""
            SELECT {_CARD} FROM feature f LEFT JOIN title t USING (sae, feature)
            WHERE f.sae IN (SELECT unnest($saes)) AND f.feature IN (SELECT unnest($features))
            """,
            saes=sorted({sae for sae, _ in keys}),
            features=sorted({feature for _, feature in keys}),
        )
        by_key = {(row["sae"], row["feature"]): row for row in found}
        return tuple(rows.feature_row(by_key[key], self.numbered(key[0]).id) for key in keys)

    def feature(self, name: str | FeatureId) -> Feature:
        """Everything about one feature. Raises NotFound."""
        sae, feature = key = self.key(name)
        of = self.numbered(sae)
        (row,) = self.query(
            f"""
            SELECT f.*, {_CARD} FROM feature f LEFT JOIN title t USING (sae, feature)
            WHERE f.sae = $sae AND f.feature = $feature
            """,
            sae=sae,
            feature=feature,
        )
        labels = self.query(_LABELS, sae=sae, feature=feature)
        scores = self.query(_SCORES, sae=sae, feature=feature)
        return rows.feature(
            row,
            head=rows.feature_row(row, of.id),
            of=of,
            by=self.run(of.run),
            vocab=self.vocab(of.id.model),
            heads=self.head_shares(key),
            labels=[rows.label(one) for one in labels],
            scores=[rows.label_score(one) for one in scores],
            examples=self._examples(key, row["bias"]),
            neighbours=self._neighbours(key),
        )

    def head_shares(self, key: Key) -> tuple[HeadShare, ...]:
        """What each head gives to one feature, by head."""
        found = self.query(
            "SELECT * FROM feature_head WHERE sae = $sae AND feature = $feature ORDER BY head",
            sae=key[0],
            feature=key[1],
        )
        return tuple(rows.head_share(row) for row in found)

    def _examples(self, key: Key, bias: float) -> tuple[Example, ...]:
        found = self.query(_EXAMPLES, sae=key[0], feature=key[1])
        of = self.numbered(key[0]).id
        vocab = self.vocab(of.model)
        return tuple(rows.example(row, FeatureId(of, key[1]), bias, vocab) for row in found)

    def _neighbours(self, key: Key) -> tuple[Neighbour, ...]:
        found = self.query(
            """
            SELECT other_sae, other_feature, cosine, jaccard FROM neighbour
            WHERE sae = $sae AND feature = $feature
            ORDER BY abs(cosine) DESC, other_sae, other_feature
            """,
            sae=key[0],
            feature=key[1],
        )
        cards = self.rows_of((row["other_sae"], row["other_feature"]) for row in found)
        return tuple(
            Neighbour(card, row["cosine"], row["jaccard"])
            for card, row in zip(cards, found, strict=True)
        )

    def random_feature(self, seed: int) -> FeatureId:
        """A feature worth looking at: it fired often enough, and its title holds, where one does.

        Raises:
            NotFound: no feature fired at all.
        """
        found = self.query(
            """
            SELECT f.sae, f.feature FROM feature f LEFT JOIN title t USING (sae, feature)
            WHERE f.firings > 0
            ORDER BY f.firings >= $firings AND coalesce(t.support, 0) >= $support DESC,
              hash(f.sae, f.feature, $seed::BIGINT)
            LIMIT 1
            """,
            firings=_GOOD_FIRINGS,
            support=_GOOD_SUPPORT,
            seed=seed,
        )
        if not found:
            raise NotFound("no feature of this atlas ever fired", "mine more text")
        return FeatureId(self.numbered(found[0]["sae"]).id, found[0]["feature"])

    def contexts(self, numbers: Iterable[int]) -> tuple[Context, ...]:
        """Text windows by number, in the order asked for. Raises NotFound for one that is not."""
        wanted = list(numbers)
        found = self.query(
            """
            SELECT c.*, r.model FROM context c JOIN run r ON r.id = c.run
            WHERE ctx IN (SELECT unnest($wanted::INTEGER[]))
            """,
            wanted=wanted,
        )
        by_number = {row["ctx"]: self._context(row) for row in found}
        for number in wanted:
            if number not in by_number:
                raise NotFound(f"no context {number} in snapshot {self.snapshot.name}")
        return tuple(by_number[number] for number in wanted)

    def _context(self, row: dict[str, Any]) -> Context:
        ids = tuple(row["tokens"])
        tokens = self.vocab(row["model"]).decode(ids)
        return Context(row["ctx"], row["run"], row["doc"], row["source"], row["start"], ids, tokens)

    def densities(self, name: str | SaeId) -> Bins:
        """How many live features of an SAE have which density, four bins a decade from 1e-7 to 1.

        Raises:
            NotFound: no such SAE.
        """
        found = self.query(
            """
            SELECT least(27, greatest(0, floor(4 * (7 + log10(density)))))::INTEGER AS bin,
              count(*) AS features
            FROM feature WHERE sae = $sae AND firings > 0 GROUP BY bin
            """,
            sae=self.sae(name).number,
        )
        counts = {row["bin"]: row["features"] for row in found}
        edges = tuple(10.0 ** (-7 + b / 4) for b in range(29))
        return Bins(edges, tuple(counts.get(b, 0) for b in range(28)))

    def stats(self) -> Stats:
        """How much this snapshot holds."""
        (row,) = self.query(
            """
            SELECT (SELECT count(*) FROM model) AS models, (SELECT count(*) FROM sae) AS saes,
              (SELECT count(*) FROM feature) AS features,
              (SELECT count(*) FROM feature WHERE firings > 0) AS alive,
              (SELECT count(*) FROM title) AS titled, (SELECT count(*) FROM head) AS heads,
              (SELECT count(*) FROM example) AS examples,
              (SELECT count(*) FROM context) AS contexts, (SELECT count(*) FROM run) AS runs
            """
        )
        return Stats(**row)


_LABELS = """
SELECT * FROM label WHERE sae = $sae AND feature = $feature
ORDER BY method = 'llm' DESC, support DESC NULLS LAST, method, model, prompt,
  list_position(['title', 'when', 'fetches', 'says'], side)
"""
_SCORES = """
SELECT * FROM label_score WHERE sae = $sae AND feature = $feature
ORDER BY method, model, prompt, scorer
"""
_EXAMPLES = """
SELECT e.*, c.tokens, c.doc, c.source FROM example e JOIN context c USING (ctx)
WHERE e.sae = $sae AND e.feature = $feature
ORDER BY list_position(['top', 'interval', 'random', 'near_miss'], e.kind), e.band DESC, e.rank
"""


class Reader:
    """A store that is being read: gives the newest snapshot, or always the one it was opened with.

    Whoever got an `Evidence` keeps it as long as needed; the next call may give a newer one.
    """

    def __init__(self, store: Path, pinned: str | None = None) -> None:
        self.store = store
        self._pinned = pinned is not None
        self._lock = threading.Lock()
        if pinned is None:
            snapshot, con, refused = snapshots.open_newest(store)
        else:
            (snapshot, con), refused = snapshots.open_named(store, pinned), ()
        self._evidence = Evidence(store, snapshot, con, refused)
        self._seen = max(snapshots.numbers(store), default=snapshot.number)

    def now(self) -> Evidence:
        """The evidence to answer one request from.

        Raises:
            StoreError: no snapshot of the store can be served any more.
        """
        newest = max(snapshots.numbers(self.store), default=self._seen)
        if self._pinned or newest == self._seen:
            return self._evidence
        with self._lock:
            if newest != self._seen:
                self._evidence = self._newest()
                self._seen = newest
        return self._evidence

    def _newest(self) -> Evidence:
        snapshot, con, refused = snapshots.open_newest(self.store)
        if snapshot.number == self._evidence.snapshot.number:
            con.close()
            self._evidence.refused = refused
            return self._evidence
        return Evidence(self.store, snapshot, con, refused)


class Still(Reader):
    """Evidence that somebody holds: the same answer however many snapshots follow."""

    def __init__(self, evidence: Evidence) -> None:
        self.store = evidence.store
        self._evidence = evidence

    def now(self) -> Evidence:
        """The evidence that is held."""
        return self._evidence


def open_store(store: Path, snapshot: str | None = None) -> Reader:
    """Open a store for reading: its newest snapshot that can be served, or one by name.

    Raises:
        StoreError: there is no such store or snapshot, or it cannot be served.
    """
    return Reader(Path(store), snapshot)
