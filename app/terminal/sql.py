"""Results of SQL, and the saved queries."""

from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atlas.store.recipes import Recipe
from atlas.types import SqlResult


def show_rows(console: Console, result: SqlResult) -> None:
    """The result of a SELECT."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, kind in zip(result.columns, result.types, strict=True):
        text = kind.startswith(("VARCHAR", "string", "large_string"))
        # In a narrow terminal text is folded, numbers are kept whole.
        side: Literal["left", "right"] = "left" if text else "right"
        table.add_column(escape(name), justify=side, overflow="fold", no_wrap=not text)
    for row in result.rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    console.print(table)
    more = "; more rows were left out" if result.truncated else ""
    told = f"{len(result.rows):,} rows in {result.seconds:.3f} s · snapshot {result.snapshot}{more}"
    console.print(told, markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def show_cookbook(console: Console, recipes: Mapping[str, Recipe]) -> None:
    """Saved queries by name."""
    for name, recipe in recipes.items():
        console.print(f"[bold]{name}[/bold]  {escape(recipe.sentence)}")
        for one in recipe.parameters:
            told = f"    --param {one.name}={one.default}  {one.sentence}"
            console.print(told, markup=False)
