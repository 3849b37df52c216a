"""One opened snapshot: its models, runs, SAEs, vocabularies, contexts and rows of features.

Nothing here changes after a snapshot is opened, so one `Evidence` serves any number of threads:
every query runs on a cursor of its own.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from atlas.errors import NotFound, StoreError
from atlas.ids import FeatureId, Id, ModelId, SaeId, parse_feature, parse_sae
from atlas.record import Record
from atlas.store import bests, lists, rows, snapshots, texts
from atlas.store import vocab as vocabulary
from atlas.store.bests import Bests
from atlas.store.describe import TablePage, describe
from atlas.store.lists import Lists
from atlas.store.search import Index
from atlas.store.texts import Texts
from atlas.types import Context, FeatureRow, Model, Run, Sae, Snapshot, Stats

T = TypeVar("T")
Key = tuple[int, int]
"""SAE number in this snapshot and feature index."""

_CARD = (
    "firings", "density", "max_act", "mean_act", "weight_head", "weight_share", "dfa_head",
    "dfa_share", "disagree", "support", "score", "family", "method",
)  # fmt: skip
_TOP_EXAMPLE = """
SELECT * FROM example
WHERE sae = $sae AND feature = $feature AND kind = 'top' AND rank = $rank
"""
_CURVE = "SELECT * EXCLUDE (run) FROM training_curve WHERE run = $run ORDER BY layer, step"
_LOG = "SELECT * EXCLUDE (run, rank) FROM run_log WHERE run = $run ORDER BY rank"


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
        self.damage: StoreError | None = None
        """What was found damaged while reading; then this snapshot is to be left."""
        self._con = con
        self._kept: dict[str, Any] = {}
        self._keeping = threading.Lock()
        self._vocabs: dict[str, vocabulary.Vocab] = {}
        self.index = Index(snapshot.path / snapshots.SEARCH)
        self.texts = Texts(snapshot.path / texts.FOLDER)
        self.lists = Lists(snapshot.path / lists.FOLDER)
        self._bests = Bests(snapshot.path / bests.FOLDER, self.lists)

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
        with closing(self._con.cursor()) as cursor, self._readable():
            for name, table in (tables or {}).items():
                cursor.register(name, table)
            cursor.execute(sql, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def query_each(self, sql: str, values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of a query that is asked several times, one after the other. Raises as `query`.

        Where each asks for a few rows of a sorted table, this reads far less than one query that
        joins with the list of what is wanted.
        """
        found = []
        with closing(self._con.cursor()) as cursor, self._readable():
            for one in values:
                cursor.execute(sql, one)
                names = [column[0] for column in cursor.description or ()]
                found += [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return found

    def top_examples(self, ranks: Mapping[Key, int]) -> dict[Key, dict[str, Any]]:
        """Of every feature the top example of a rank, where it has one, with context and bias."""
        kept = {key: rank for key, rank in ranks.items() if rank < bests.RANKS}
        best = {key: self._bests.best(*key, rank) for key, rank in kept.items()}
        found = {key: row for key, row in best.items() if row is not None}
        others = [
            {"sae": key[0], "feature": key[1], "rank": rank}
            for key, rank in ranks.items()
            if key not in kept
        ]
        found |= {
            (row["sae"], row["feature"]): row for row in self.query_each(_TOP_EXAMPLE, others)
        }
        whole = zip(found, self.with_contexts(found.values()), strict=True)
        return {key: row | {"bias": self._bests.bias(*key)} for key, row in whole}

    def with_contexts(self, examples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of examples with tokens, document and source of their context."""
        return [row | self.texts.of(row["ctx"]) for row in examples]

    def batches(self, sql: str, rows: int, **values: Any) -> Iterator[pa.RecordBatch]:
        """Rows of a query, so many at a time, read as they are taken. Raises as `query`."""
        with closing(self._con.cursor()) as cursor, self._readable():
            yield from cursor.execute(sql, values).to_arrow_reader(rows)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn what DuckDB raises for a damaged file into what a user can act on."""
        try:
            yield
        except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException) as error:
            told = StoreError(
                f"snapshot {self.snapshot.name} cannot be read: {str(error).splitlines()[0]}",
                "remove it, or restore it from a backup; older snapshots are still there",
            )
            if not isinstance(error, duckdb.OutOfMemoryException):
                self.damage = told
            raise told from error

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once for this snapshot and then kept in memory."""
        with self._keeping:
            if name not in self._kept:
                self._kept[name] = make()
            found: T = self._kept[name]
            return found

    def describe(self) -> tuple[TablePage, ...]:
        """Every table that SQL sees, evidence and notes, with a sentence per column."""
        return describe(self._con)

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """All models by id."""
        return tuple(Model(**row) for row in self.query("SELECT * FROM model ORDER BY id"))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, newest first."""
        joint = {row["run"]: row for row in self.query("SELECT * FROM joint_evaluation")}
        return tuple(
            rows.run(row, joint.get(row["id"]))
            for row in self.query("SELECT * FROM run ORDER BY created_at DESC, id")
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

    def record(self, name: str) -> Record:
        """How a run went. Raises NotFound as `run`."""
        run = self.run(name).id
        return rows.record(self.query(_CURVE, run=run), self.query(_LOG, run=run))

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
        return tuple(self._row(*key) for key in keys)

    def _row(self, sae: int, feature: int) -> FeatureRow:
        held = self.lists
        row = int(held.rows(sae, feature))
        card = {**held.values(row, _CARD), "feature": feature, "title": held.title(row)}
        return rows.feature_row(card, self.numbered(sae).id, held.families, held.methods)

    def arrow(self, sql: str, **values: Any) -> pa.Table:
        """All rows of a query as one table. Raises as `query`."""
        with closing(self._con.cursor()) as cursor, self._readable():
            return cursor.execute(sql, values).to_arrow_reader(1_000_000).read_all()

    def contexts(self, numbers: Iterable[int]) -> tuple[Context, ...]:
        """Text windows by number, in the order asked for. Raises NotFound for one that is not."""
        wanted = list(numbers)
        found = self.query(
            """
            SELECT c.*, r.model FROM context c JOIN run r ON r.id = c.run
            WHERE ctx IN (SELECT unnest($wanted::INTEGER[]))
            """,
            wanted=[number for number in wanted if 0 <= number < 2**31],
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

    @cached_property
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
