"""How studies look in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atlas.study_types import StudyPage, StudyRow, StudyTable


def show_names(console: Console, known: Mapping[str, str], done: tuple[StudyRow, ...]) -> None:
    """Studies that can be run, and those that were."""
    for name, about in known.items():
        console.print(f"[bold]{name}[/bold]  {escape(about)}")
    for row in done:
        tables = ", ".join(f"{count:,} {name}" for name, count in row.tables.items())
        told = f"  {row.run}  {row.model}, {row.tokens:,} tokens, {row.seconds:.0f} s: {tables}"
        console.print(told, markup=False)


def show_study(console: Console, page: StudyPage) -> None:
    """A study's results, table by table."""
    row = page.row
    console.print(f"[bold]{row.study}[/bold] of {row.model}, run {row.run}")
    console.print(f"{row.tokens:,} tokens of {row.corpus}; {page.held_out}", markup=False)
    samples = ", ".join(f"{name} {count}" for name, count in page.samples.items())
    console.print(f"samples: {samples}; {row.seconds:.0f} s", markup=False)
    for one in page.said:
        console.print(one, markup=False)
    for table in page.tables:
        _show_table(console, table)


def _show_table(console: Console, table: StudyTable) -> None:
    console.print(f"\n[bold]{table.name}[/bold]  {escape(table.sentence)}")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(table.columns):
        text = any(isinstance(row[place], str) for row in table.rows)
        shown.add_column(escape(column), justify="left" if text else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(escape(_cell(value)) for value in row))
    console.print(shown)
    if table.total > len(table.rows):
        console.print(f"{len(table.rows)} of {table.total:,} rows", markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(_cell(one) for one in value)
    return str(value)
