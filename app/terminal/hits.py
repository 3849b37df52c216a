"""Results of a search."""

from rich.console import Console
from rich.markup import escape

from app.terminal.table import line, table
from atlas.types import FeatureRow, Page, PairPage


def show_page(console: Console, page: Page) -> None:
    """Search results."""
    if page.unsearched:
        console.print(f"searched by words alone: {page.unsearched}", style="dim", markup=False)
    if not page.hits:
        console.print("nothing found; take away a filter or a word")
        return
    shown = table("feature", "title", "support", "density", "max", "head", "why")
    for hit in page.hits:
        why = hit.reasons[0] if hit.reasons else ""
        shown.add_row(*_cells(hit.row), escape(why))
    console.print(shown)
    console.print(f"{len(page.hits)} of {page.total:,} · snapshot {page.snapshot}", markup=False)
    if page.after:
        console.print(f"next page: --after {page.after}", markup=False)


def show_pairs(console: Console, page: PairPage) -> None:
    """Pair search results, each with its strongest example."""
    if not page.hits:
        console.print("no feature has that pair; take away a filter")
        return
    shown = table("feature", "title", "matches", "strongest of them")
    for hit in page.hits:
        matches = f"{hit.matches} of {hit.kept}"
        title = escape(hit.row.title or "–")
        shown.add_row(str(hit.row.id), title, matches, line(hit.example))
    console.print(shown)
    console.print(f"{len(page.hits)} of {page.total:,} · snapshot {page.snapshot}", markup=False)
    if page.after:
        console.print(f"next page: --after {page.after}", markup=False)


def _cells(row: FeatureRow) -> list[str]:
    support = "" if row.title_support is None else f"{row.title_support:.0%}"
    measured = "" if row.dfa_share is None else f"L{row.id.sae.layer}H{row.dfa_head} "
    share = "" if row.dfa_share is None else f"{row.dfa_share:.0%}"
    flag = " ≠" if row.disagree else ""
    title = escape(row.title or "–")
    return [
        str(row.id),
        title,
        support,
        f"{row.density:.2%}",
        f"{row.max_act:.2f}",
        measured + share + flag,
    ]
