"""How plans, methods and reviews of labels look in a terminal."""

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table

from atlas.label_types import LabelMethod, ReviewItem


class Planned(Protocol):
    """What a plan says; ingest makes it."""

    @property
    def model(self) -> str: ...
    @property
    def features(self) -> int: ...
    @property
    def counted(self) -> int: ...
    @property
    def calls(self) -> int: ...
    @property
    def tokens_in(self) -> int: ...
    @property
    def tokens_out(self) -> int: ...
    @property
    def usd(self) -> float | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def seconds_per_call(self) -> float: ...


def show_plan(console: Console, plan: Planned, concurrency: int) -> None:
    """What `atlas label --dry-run` says."""
    told = f"{plan.features:,} features with {plan.model}, counted on {plan.counted} of them"
    console.print(told, markup=False)
    console.print(f"   calls  {plan.calls:,}")
    console.print(f"  tokens  {plan.tokens_in:,} read, {plan.tokens_out:,} written")
    if plan.usd is None:
        console.print("    cost  not known: give --price-in and --price-out, per million tokens")
    else:
        console.print(f"    cost  ${plan.usd:,.2f}")
    console.print(
        f"    time  {plan.seconds / 3600:,.1f} h at {plan.seconds_per_call:g} s a call,"
        f" {concurrency} at a time",
        markup=False,
    )


def show_methods(console: Console, methods: Sequence[LabelMethod]) -> None:
    """Ways of labelling, compared."""
    if not methods:
        console.print("no label has a score yet; `atlas label` gives them")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("scorer", "method", "model", "prompt"):
        table.add_column(name, overflow="fold")
    for name in ("mean", "95 % interval", "features", "mean of shared", "shared", "failures"):
        table.add_column(name, justify="right")
    for one in methods:
        around = one.interval
        table.add_row(
            one.scorer,
            one.method,
            one.model or "–",
            one.prompt or "–",
            f"{one.mean:.3f}",
            f"{around.low:.3f} to {around.high:.3f}" if around else "–",
            f"{one.features:,}",
            "–" if one.common_mean is None else f"{one.common_mean:.3f}",
            f"{one.common:,}",
            f"{one.failures:,}",
        )
    console.print(table)
    console.print(
        "detection and fuzzing are balanced accuracy, 0.5 by chance; simulation is a correlation"
    )


def show_review(console: Console, queue: Sequence[ReviewItem]) -> None:
    """Features that wait for a person."""
    if not queue:
        console.print("nothing waits for a review")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("feature", "title", "score", "why"):
        table.add_column(name, overflow="fold")
    for one in queue:
        score = "–" if one.row.title_score is None else f"{one.row.title_score:.2f}"
        why = ", ".join(reason.replace("_", " ") for reason in one.reasons)
        table.add_row(str(one.row.id), one.row.title or "–", score, why)
    console.print(table)
