"""A feature, a head, an SAE or a model."""

from itertools import groupby, islice
from typing import Any

from rich.console import Console
from rich.markup import escape

from app.terminal.table import line, table
from atlas.types import Feature, Head, Model, Sae


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
                console.print(line(example))


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
    shown = table("feature", "title", "measured", "weights", "won", "density")
    for one in head.features[:20]:
        shares = (one.share.dfa_share, one.share.weight_share, one.share.won)
        percent = ["–" if share is None else f"{share:.0%}" for share in shares]
        title = escape(one.row.title or "–")
        shown.add_row(str(one.row.id), title, *percent, f"{one.row.density:.2%}")
    console.print(shown)


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
