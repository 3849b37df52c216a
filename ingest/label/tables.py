"""What a labelling run found out as a bundle's tables, laid over what the run found before."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from atlas.bundle import MANIFEST, Bundle, open_bundle, seal, write_table
from atlas.ids import FeatureId
from atlas.tables import TABLES
from ingest.label.replies import Explanation
from ingest.label.score import Judged

SIDES = ("title", "when", "fetches", "says")


class Labeller(NamedTuple):
    """Who labels: what rows of the label tables are told apart by."""

    method: str
    model: str | None
    prompt: str | None


RULES = Labeller("tokens", None, None)


class Trouble(NamedTuple):
    """A step that could not be done."""

    step: str
    reason: str


class Work(NamedTuple):
    """What one labeller got done for one feature."""

    feature: FeatureId
    labeller: Labeller
    explanation: Explanation | None
    """None for a label by rule, which is stored already, and where explaining failed."""
    scores: tuple[Judged, ...]
    failures: tuple[Trouble, ...]

    @property
    def replaces(self) -> bool:
        """Whether earlier rows of this labeller make room: a failure to explain keeps them."""
        return not any(one.step == "explain" for one in self.failures)


def write(folder: Path, run: str, done: Sequence[Work], run_row: dict[str, Any]) -> Bundle:
    """Write and seal the bundle: what it held before, with newer work in place of older."""
    old = open_bundle(folder) if (folder / MANIFEST).is_file() else None
    (folder / MANIFEST).unlink(missing_ok=True)
    made = {
        "label": _labels(done),
        "label_score": _scores(done),
        "label_failure": _failures(done),
    }
    for name, rows in made.items():
        table = pa.table(_columns(name, rows))
        if old:
            table = pa.concat_tables([table, _kept(old.read(name), name, done)])
        write_table(folder, name, table.unify_dictionaries())
    write_table(folder, "run", {name: [value] for name, value in run_row.items()})
    return seal(folder, run)


def _key(one: Work) -> dict[str, Any]:
    return {"sae": str(one.feature.sae), "feature": one.feature.index, **one.labeller._asdict()}


def _labels(done: Iterable[Work]) -> list[dict[str, Any]]:
    blank = dict.fromkeys(("support", "support_low", "support_high", "n", "rule"))
    return [
        {**_key(one), "side": side, "text": getattr(one.explanation, side), **blank}
        for one in done
        if one.explanation
        for side in SIDES
    ]


def _scores(done: Iterable[Work]) -> list[dict[str, Any]]:
    return [
        {
            **_key(one),
            "scorer": judged.scorer,
            "score": judged.score.score,
            "score_low": judged.score.low,
            "score_high": judged.score.high,
            "n": judged.score.n,
            "judgements": judged.judgements,
            "deciles": list(judged.score.deciles),
            "decile_n": list(judged.score.decile_n),
            "scored_by": judged.by,
        }
        for one in done
        for judged in one.scores
    ]


def _failures(done: Iterable[Work]) -> list[dict[str, Any]]:
    return [{**_key(one), **failure._asdict()} for one in done for failure in one.failures]


def _kept(old: pa.Table, name: str, done: Iterable[Work]) -> pa.Table:
    """Rows of an earlier bundle that nothing new takes the place of."""
    gone = {tuple(_key(one).values()) for one in done if one.replaces or name == "label_failure"}
    columns = (old[key].to_pylist() for key in ("sae", "feature", *Labeller._fields))
    return old.filter(pa.array([key not in gone for key in zip(*columns, strict=True)], pa.bool_()))


def _columns(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, pa.Array]:
    columns = {}
    for field in TABLES[name]:
        plain = pa.string() if pa.types.is_dictionary(field.type) else field.type
        array = pa.array([row[field.name] for row in rows], plain)
        columns[field.name] = array.dictionary_encode() if plain is not field.type else array
    return columns
