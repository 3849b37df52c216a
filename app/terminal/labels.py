"""How plans, methods and reviews of labels look in a terminal."""

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table

from atlas.api import Atlas
from atlas.label_types import JudgedScore, Judgement, LabelFailure, LabelMethod, ReviewItem


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


def show_judgements(
    console: Console,
    atlas: Atlas,
    scores: Sequence[JudgedScore],
    failures: Sequence[LabelFailure],
) -> None:
    """Every judgement: whether it was right, what was true, what was said, and the text."""
    for score in scores:
        by = " ".join(part for part in (score.method, score.model, score.prompt) if part)
        console.print(f"{score.scorer} of the label by {by}", style="bold", markup=False)
        for one in score.judgements:
            right = "✓" if one.fires == (one.said > 0.5) else "✗"
            mark = right if score.scorer != "simulation" else "·"
            true = f"fires {one.act:.2f}" if one.fires else "silent"
            text = one.token if one.ctx is None else _ending(atlas, one)
            console.print(
                f"  {mark} {true:>12}  said {one.said:g}  {one.kind:>9}  {text}", markup=False
            )
    for failure in failures:
        console.print(f"failed: {failure.step} by {failure.method}: {failure.reason}", markup=False)
    if not scores and not failures:
        console.print("no label of it was scored yet")


def _ending(atlas: Atlas, one: Judgement) -> str:
    tokens = atlas.context(one.ctx or 0).tokens[max(0, one.pos - 12) : one.pos]
    return f"{''.join(tokens)}«{one.token}»".replace("\n", "↵")


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
