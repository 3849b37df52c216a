"""Reading studies: which were run, and the rows that a run left in each table."""

from typing import Any

from atlas.errors import NotFound
from atlas.store.evidence import Evidence
from atlas.study_types import StudyPage, StudyRow, StudyTable
from atlas.tables import STUDIED
from atlas.types import Run

ROWS = 50
"""Rows of each table that come with a study; SQL has the rest."""


def studies(evidence: Evidence) -> tuple[StudyRow, ...]:
    """Every run of a study, newest first."""
    return tuple(_row(run) for run in evidence.runs if "study" in run.config)


def study(evidence: Evidence, name: str, model: str | None = None, limit: int = ROWS) -> StudyPage:
    """One run of a study with the first `limit` rows of each of its tables.

    Args:
        evidence: the snapshot.
        name: of a run, or of a study for its newest run.
        model: of a study's name only: whose newest run; None for any.
        limit: rows per table.

    Raises:
        NotFound: no such run or study; names those that there are.
    """
    done = [run for run in evidence.runs if "study" in run.config]
    fit = [
        run
        for run in done
        if name in (run.id, run.kind) and (name == run.id or model in (None, run.model))
    ]
    if not fit:
        known = ", ".join(sorted({run.kind for run in done})) or "none was run yet"
        raise NotFound(f"no results of a study {name!r}", f"studies with results: {known}")
    run = fit[0]
    sentences = {page.name: page.sentence for page in evidence.describe()}
    tables = tuple(
        _table(evidence, table, sentences.get(table, ""), run.id, limit)
        for table in STUDIED
        if run.counts.get(table)
    )
    config = run.config
    said = tuple(config["said"])
    return StudyPage(
        _row(run), config["settings"], config["samples"], config["held_out"], said, tables
    )


def _row(run: Run) -> StudyRow:
    tables = {table: count for table, count in run.counts.items() if table in STUDIED}
    return StudyRow(
        run.id,
        run.kind,
        run.model,
        run.created_at,
        run.seconds,
        run.corpus,
        run.mine_tokens,
        tables,
    )


def _table(evidence: Evidence, table: str, sentence: str, run: str, limit: int) -> StudyTable:
    shown = [column for column in STUDIED[table] if column != "run"]
    columns = ", ".join("s.id AS sae" if one == "sae" else f"t.{one}" for one in shown)
    by_sae = "sae" in shown
    join = "JOIN sae s USING (sae)" if by_sae else ""
    order = "s.layer, s.id, t.rowid" if by_sae else "t.rowid"
    found = evidence.query(
        f"SELECT {columns} FROM {table} t {join} WHERE t.run = $run ORDER BY {order} LIMIT $limit",
        run=run,
        limit=limit,
    )
    (count,) = evidence.query(f"SELECT count(*) AS n FROM {table} WHERE run = $run", run=run)
    rows: tuple[tuple[Any, ...], ...] = tuple(tuple(row.values()) for row in found)
    return StudyTable(table, sentence, tuple(shown), rows, count["n"])
