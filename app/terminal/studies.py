"""How studies look in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atlas.head_types import HeadComposition, HeadRoles, Polysemanticity
from atlas.study_types import HeadStudies, StudyPage, StudyRow, StudyTable


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


K = 10
"""Top features whose clusters are shown: the paper's number."""


def show_head(
    console: Console, studied: HeadStudies, found: HeadRoles, composed: HeadComposition
) -> None:
    """What the studies say of a head; nothing where none was run."""
    for role in found.roles:
        if (role.by, role.k) == ("measured", K):
            words = ", ".join(role.words) or "no common word"
            told = f"{role.role} ({words}): {len(role.features)} of its top {K} features"
            console.print(f"{role.share:>8.0%}  {told}, such as {role.features[0]}", markup=False)
    for one in found.polysemanticity:
        if one.k == K or one.by == "mass":
            console.print(_polysemantic(one), markup=False)
    far = ", ".join(
        f"{'first token' if one.first is None else one.first}: {one.share:.0%}"
        for one in studied.distances
        if one.share >= 0.05
    )
    if far:
        console.print(f"attends to distance {far}", markup=False)
    for side in ("query", "key"):
        texts = " ".join(repr(one.text) for one in studied.tokens if one.side == side)
        if texts:
            console.print(f"{side} tokens more than their share: {texts}", markup=False)
    for edges, told in ((composed.earlier, "reads"), (composed.later, "is read by")):
        best = ", ".join(
            f"{edge.kind.upper()} {edge.head if told == 'reads' else edge.later} {edge.score:.3f}"
            for edge in edges
        )
        if best:
            console.print(f"{told} {best} (chance {composed.chance:.3f})", markup=False)


def _polysemantic(one: Polysemanticity) -> str:
    if one.by == "mass":
        parts = ", ".join(
            f"{need.mass:.0%} in {'more than these' if need.clusters is None else need.clusters}"
            for need in one.needed
        )
        return f"clusters that carry its mass, of {one.clusters}: {parts}"
    chance = f"cohesion {one.cohesion:.2f} against {one.chance:.2f} by chance, p {one.p:.3f}"
    return f"top {one.k} by {one.by}: {one.clusters} clusters, {chance}"


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
