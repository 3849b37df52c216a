"""The last lines of the demo."""

import re
from pathlib import Path
from typing import Any

from rich.console import Console

from app.terminal.table import table
from atlas.api import Atlas
from atlas.types import FeatureRow, Query

_NAMED = re.compile("“[a-z]{4,}")
_RARE: Any = {"support_min": 0.6, "density_max": 0.02, "sort": "support"}


def show_highlights(console: Console, store: Path) -> None:
    """The last lines of the demo: the SAEs, three features worth looking at, what to do next."""
    atlas = Atlas.open(store)
    console.print()
    shown = table(
        "SAE", "features", "L0", "FVU", "dead", "CE clean", "CE SAE", "CE zero", "CE mean"
    )
    for sae in atlas.saes():
        one = sae.evaluation
        if one is not None:
            losses = (one.ce_clean, one.ce_sae, one.ce_zero, one.ce_mean)
            figures = (f"{one.l0:.1f}", f"{one.fvu:.3f}", f"{one.dead_share:.1%}")
            shown.add_row(
                str(sae.id), f"{sae.alive:,} live", *figures, *(f"{loss:.4f}" for loss in losses)
            )
    console.print(shown)
    console.print("\nThree features worth looking at:")
    for row in highlights(atlas):
        console.print(f"  atlas show {row.id} --store {store}    {row.title}", markup=False)
    console.print("\nThen:")
    console.print(f"  atlas search induction --store {store}", markup=False)
    console.print(
        f"  atlas serve --store {store}    web app on http://127.0.0.1:8501, query API on :8502",
        markup=False,
    )


def highlights(atlas: Atlas) -> list[FeatureRow]:
    """Rare features whose titles hold: one about induction, and one naming a word per other SAE."""
    rows = [hit.row for hit in atlas.search(Query("induction", **_RARE, limit=1)).hits]
    for sae in reversed(atlas.saes()):
        if sae.id not in {row.id.sae for row in rows}:
            found = [hit.row for hit in atlas.search(Query(sae=str(sae.id), **_RARE)).hits]
            named = [row for row in found if _NAMED.search(row.title or "")]
            rows += (named or found)[:1]
    return rows[:3]
