"""How things look in a terminal."""

import re
from collections.abc import Mapping
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from atlas import progress
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId, Id, SaeId, parse
from atlas.store.recipes import Recipe
from atlas.types import (
    Example,
    Feature,
    FeatureRow,
    Head,
    Model,
    Page,
    PairPage,
    Query,
    Sae,
    SqlResult,
)

ACTIVATION, SOURCE = "black on dark_orange", "white on blue"
_NAMED = re.compile("“[a-z]{2,}")
_RARE: Any = {"support_min": 0.6, "density_max": 0.02, "sort": "support"}
WIDTH = 12
"""Tokens shown on either side of a firing."""


class ProgressLines:
    """Shows a run: a moving bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, seconds: float = 10.0) -> None:
        self._console, self._seconds = console, seconds
        self._bar = Progress(
            TextColumn("{task.description:>16}"),
            BarColumn(30),
            TextColumn("{task.fields[told]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._stage, self._task, self._told_at = "", self._bar.add_task("", told=""), 0.0

    def __enter__(self) -> "ProgressLines":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, now: progress.Progress) -> None:
        """Show `now`; the last look at each stage stays."""
        told = describe(now)
        if now.stage != self._stage:
            self._stage = now.stage
            self._task = self._bar.add_task(now.stage, total=now.total, told=told)
        self._bar.update(self._task, completed=now.done, total=now.total, told=told, visible=True)
        at = now.updated_at.timestamp()
        ends = now.done >= now.total > 0
        if not self._console.is_terminal and (ends or at - self._told_at > self._seconds):
            self._told_at = at
            self._console.print(f"{now.stage:>16}  {told}", markup=False)


def describe(now: progress.Progress) -> str:
    """A run's state in one line."""
    parts = [f"{now.done:,.0f} of {now.total:,.0f} {now.unit}"]
    if now.rate and now.unit == "tokens":
        parts.append(f"{now.rate:,.0f} {now.unit}/s")
    if now.rate and now.unit in ("features", "labels"):
        parts.append(f"{now.rate:,.2f} {now.unit}/s")
    if now.left is not None and now.done < now.total:
        least = "at least " if "reading" in now.figures else ""
        parts.append(f"{least}{_duration(now.left)} left")
    if "needs" in now.figures:
        parts.append(f"needs up to {now.figures['needs'] / 1e9:,.1f} GB of memory")
    if "reading" in now.figures:
        parts.append(f"reading {now.figures['reading']:,.0f} tokens/s")
    if "calls" in now.figures:
        parts.append(f"{now.figures['calls']:,} calls, {now.figures['spent']} spent")
    if now.figures.get("failed"):
        parts.append(f"{now.figures['failed']:,} with a failure")
    if "read" in now.figures:
        parts.append(f"model has read {now.figures['read']:,}")
    if "fvu" in now.figures:
        parts.append("FVU " + " ".join(f"{value:.3f}" for value in now.figures["fvu"]))
        parts.append("L0 " + " ".join(f"{value:.0f}" for value in now.figures["l0"]))
        parts.append("dead " + " ".join(f"{value:.0%}" for value in now.figures["dead"]))
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes}:{rest:02}"


def show_runs(console: Console, runs: tuple[progress.Progress, ...]) -> None:
    """A table of runs."""
    if not runs:
        console.print("no runs yet; start one with `atlas demo` or `atlas ingest JOB.toml`")
        return
    table = _table("run", "state", "stage", "progress")
    for one in runs:
        told = one.message if one.state in ("failed", "stopped") else describe(one)
        table.add_row(*(escape(text) for text in (one.run, one.state, one.stage, told)))
    console.print(table)


def show_page(console: Console, page: Page) -> None:
    """Search results."""
    if page.unsearched:
        console.print(f"searched by words alone: {page.unsearched}", style="dim", markup=False)
    if not page.hits:
        console.print("nothing found; take away a filter or a word")
        return
    table = _table("feature", "title", "support", "density", "max", "head", "why")
    for hit in page.hits:
        why = hit.reasons[0] if hit.reasons else ""
        table.add_row(*_cells(hit.row), escape(why))
    console.print(table)
    console.print(f"{len(page.hits)} of {page.total:,} · snapshot {page.snapshot}", markup=False)
    if page.after:
        console.print(f"next page: --after {page.after}", markup=False)


def show_pairs(console: Console, page: PairPage) -> None:
    """Pair search results, each with its strongest example."""
    if not page.hits:
        console.print("no feature has that pair; take away a filter")
        return
    table = _table("feature", "title", "matches", "strongest of them")
    for hit in page.hits:
        matches = f"{hit.matches} of {hit.kept}"
        title = escape(hit.row.title or "–")
        table.add_row(str(hit.row.id), title, matches, _line(hit.example))
    console.print(table)
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


def look_up(atlas: Atlas, text: str) -> Feature | Head | Sae | Model:
    """What an id or a short form names. Raises NotFound as `meant`, or where it does not exist."""
    return _read(atlas, meant(atlas, text))


def meant(atlas: Atlas, text: str) -> Id:
    """The id that an id or a short form stands for; a full one need not exist.

    Raises:
        NotFound: it stands for nothing, or for more than one thing.
    """
    if "/" in text and is_id(text):
        return parse(text)
    found = atlas.jump(text).found
    if len(found) > 1:
        raise NotFound(f"{text} may mean {', '.join(map(str, found))}", "give the full id")
    if not found:
        raise NotFound(f"nothing is called {text}", "try `atlas search`, or an id as it prints")
    return found[0]


def is_id(text: str) -> bool:
    """Whether `text` is a full id."""
    try:
        parse(text)
    except NotFound:
        return False
    return True


def _read(atlas: Atlas, one: Id) -> Feature | Head | Sae | Model:
    if isinstance(one, FeatureId):
        return atlas.feature(one)
    if isinstance(one, HeadId):
        return atlas.head(one)
    return atlas.sae(one) if isinstance(one, SaeId) else atlas.model(str(one))


def show_thing(console: Console, thing: Any, examples: int, kind: str = "top") -> None:
    """A feature, head, SAE or model."""
    if isinstance(thing, Feature):
        show_feature(console, thing, examples, kind)
    elif isinstance(thing, Head):
        show_head(console, thing)
    elif isinstance(thing, Sae):
        show_sae(console, thing)
    else:
        for name in Model.__slots__:
            console.print(f"{name:>16}  {getattr(thing, name)}", markup=False)


def show_feature(console: Console, feature: Feature, examples: int, kind: str = "top") -> None:
    """A feature's card with its first examples of one kind, or of every kind (`all`)."""
    row = feature.row
    console.print(f"[bold]{row.id}[/bold]  {escape(row.title or 'no label')}")
    if feature.is_dead:
        console.print(f"never fired on the {feature.tokens:,} mined tokens")
    for label in feature.labels:
        if label.side != "title":
            support = (
                "" if label.support is None else f" (support {label.support:.0%} of {label.n})"
            )
            console.print(f"{label.side:>10}  {label.text}{support} · {label.method}", markup=False)
    for score in feature.scores:
        around = score.interval
        told = f" ({around.low:.2f} to {around.high:.2f})" if around else ""
        by = score.method if score.model is None else f"{score.method} {score.model}"
        console.print(
            f"{score.scorer:>10}  {score.score:.2f}{told} of {score.n} places · {by}", markup=False
        )
    low, high = feature.density_interval.low, feature.density_interval.high
    console.print(
        f"   density  {row.density:.3%} ({low:.3%} to {high:.3%}), {row.firings:,} firings"
        f" · max {row.max_act:.3f} · mean {row.mean_act:.3f}"
    )
    heads = sorted(feature.heads, key=lambda one: -(one.dfa_share or one.weight_share))
    shares = (
        f"H{one.head} {one.dfa_share or 0:.0%} measured, {one.weight_share:.0%} weights"
        for one in heads[:4]
    )
    console.print(f"     heads  {' · '.join(shares)}{' · they disagree' if row.disagree else ''}")
    console.print(
        f"  promotes  {' '.join(repr(one.text) for one in feature.top_logits[:8])}", markup=False
    )
    if feature.residual is not None:
        console.print(f" exactness  DFA sums to the pre-activation within {feature.residual:.1e}")
    for name, group in groupby(feature.examples, key=lambda one: one.kind):
        if kind in ("all", name):
            if kind == "all":
                console.print(f"[bold]{name}[/bold]")
            for example in islice(group, examples):
                console.print(_line(example))


def _line(example: Example) -> Text:
    """One example: the firing token orange, its strongest source blue."""
    text = Text(f"{example.act:8.3f}  ")
    source = next((one.pos for one in example.sources if one.dfa > 0), None)
    begin = max(0, min(example.pos, source if source is not None else example.pos) - WIDTH)
    begin = max(begin, example.pos - 3 * WIDTH)
    if source is not None and source < begin:
        text.append(_visible(example.tokens[source]), SOURCE)
        text.append(" … ")
    for pos in range(begin, min(example.pos + WIDTH, len(example.tokens))):
        style = ACTIVATION if pos == example.pos else SOURCE if pos == source else ""
        text.append(_visible(example.tokens[pos]), style)
    return text


def _visible(token: str) -> str:
    return token.replace("\n", "↵").replace("\t", "⇥").replace("\r", "")


def show_head(console: Console, head: Head) -> None:
    """A head with its strongest features."""
    row = head.row
    console.print(f"[bold]{row.id}[/bold]  reads key/value head {row.kv_head}")
    console.print(
        f"leads {row.features:,} live features by measurement, {row.weight_features:,} by weights"
    )
    for metric in head.metrics:
        console.print(
            f"{metric.metric:>20}  {metric.value:.3f}  on {metric.condition}", markup=False
        )
    table = _table("feature", "title", "measured", "weights", "won", "density")
    for one in head.features[:20]:
        shares = (one.share.dfa_share, one.share.weight_share, one.share.won)
        percent = ["–" if share is None else f"{share:.0%}" for share in shares]
        title = escape(one.row.title or "–")
        table.add_row(str(one.row.id), title, *percent, f"{one.row.density:.2%}")
    console.print(table)


def show_sae(console: Console, sae: Sae) -> None:
    """An SAE with its evaluation."""
    console.print(
        f"[bold]{sae.id}[/bold]  {sae.architecture}, {sae.d_sae:,} features on {sae.hook}"
    )
    console.print(f"{sae.alive:,} fired while mining · run {sae.run}", markup=False)
    one = sae.evaluation
    if one is None:
        console.print("not evaluated")
        return
    console.print(f"L0 {one.l0:.1f} · FVU {one.fvu:.3f} · dead {one.dead_share:.1%}")
    console.print(
        f"CE clean {one.ce_clean:.4f} · SAE {one.ce_sae:.4f} · zero {one.ce_zero:.4f}"
        f" · mean {one.ce_mean:.4f} ({one.tokens:,} tokens)"
    )
    for name, value in (("zero", one.recovered_zero), ("mean", one.recovered_mean)):
        told = (
            "withheld: the ablation costs no more than noise" if value is None else f"{value:.1%}"
        )
        console.print(f"CE recovered against {name} ablation: {told}")


def show_rows(console: Console, result: SqlResult) -> None:
    """The result of a SELECT."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, kind in zip(result.columns, result.types, strict=True):
        text = kind.startswith(("VARCHAR", "string", "large_string"))
        table.add_column(escape(name), justify="left" if text else "right", overflow="fold")
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


def show_highlights(console: Console, store: Path) -> None:
    """The last lines of the demo: the SAEs, three features worth looking at, what to do next."""
    atlas = Atlas.open(store)
    console.print()
    table = _table(
        "SAE", "features", "L0", "FVU", "dead", "CE clean", "CE SAE", "CE zero", "CE mean"
    )
    for sae in atlas.saes():
        one = sae.evaluation
        if one is not None:
            losses = (one.ce_clean, one.ce_sae, one.ce_zero, one.ce_mean)
            figures = (f"{one.l0:.1f}", f"{one.fvu:.3f}", f"{one.dead_share:.1%}")
            table.add_row(
                str(sae.id), f"{sae.alive:,} live", *figures, *(f"{loss:.4f}" for loss in losses)
            )
    console.print(table)
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


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    text = {"feature", "title", "why", "run", "state", "stage", "progress", "head", "SAE"}
    for column in columns:
        table.add_column(column, justify="left" if column in text else "right", overflow="fold")
    return table
