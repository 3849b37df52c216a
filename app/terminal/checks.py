"""How a verification looks in a terminal."""

from collections.abc import Iterable

from rich.console import Console

from atlas.verification import Checked

_SHOWN = 10


def show_checks(out: Console, err: Console, checks: Iterable[Checked]) -> bool:
    """A line per kind of check as it is made, then what differs; gives whether nothing does."""
    out.print(f"{'checked':>16}  {'rows':>6}  {'values':>8}  largest deviation (1 is the limit)")
    failed: list[Checked] = []
    for one in checks:
        told = f"{one.what:>16}  {one.rows:>6,}  {one.values:>8,}  "
        told += f"not checked: {one.skipped}" if one.skipped else f"{one.deviation:.3g}"
        out.print(told, markup=False, style="red" if one.differences else None)
        failed += [one] if one.differences else []
    for one in failed:
        for row in one.differences[:_SHOWN]:
            err.print(
                f"{row.row}: {row.column} is stored as {row.stored} and computed as"
                f" {row.recomputed} ({row.deviation:.3g} times what is allowed)",
                markup=False,
                style="red",
            )
        if len(one.differences) > _SHOWN:
            err.print(f"{one.what}: {len(one.differences) - _SHOWN:,} more differ", markup=False)
    return not failed
