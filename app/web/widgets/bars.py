"""Shares, histograms and logits as bars of plain HTML."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from app.web.widgets.html import a_id, html, join
from app.web.widgets.text import count, exact, fixed, percent, sig, visible
from atlas.ids import FeatureId, HeadId
from atlas.types import Bins, Feature, FeatureRow, HeadShare, LogitEffect, histogram_edge


def bar(share: float | None, weight: float | None = None, title: str = "") -> Markup:
    """A measured share as a bar, with a line where the weight share ends."""
    parts = []
    if share is not None:
        parts.append(html('<i style="width:{:.1f}%"></i>', 100 * min(1.0, share)))
    if weight is not None:
        parts.append(html('<i class="w" style="width:{:.1f}%"></i>', 100 * min(1.0, weight)))
    return html('<span class="bar" data-tip="{}">{}</span>', title, join(parts))


def top_head(row: FeatureRow, snapshot: str, *, flag: bool = True) -> Markup:
    """The head that gives most: measured, else by weights; with a flag where they differ."""
    of = row.id.sae
    measured = row.dfa_head is not None
    head = HeadId(of.model, of.layer, row.dfa_head if row.dfa_head is not None else row.weight_head)
    share = row.dfa_share if measured else row.weight_share
    same = row.weight_share if row.dfa_head in (None, row.weight_head) else None
    differ = html(' <span class="chip warn" data-tip="{}">disagree</span>', _DISAGREE)
    return html(
        '<div class="headbar">{}{}<span class="n">{}</span></div>{}',
        a_id(head, snapshot, f"L{head.layer}H{head.head}"),
        bar(share if measured else None, same, "measured share; the line is the weight share"),
        percent(share),
        differ if flag and row.disagree else "",
    )


_MANY, _SHOWN = 16, 10
_DISAGREE = "weights and measurement name different heads, and differ by more than 0.25"
_KEY = Markup(
    '<div class="headbar key"><span></span>'
    '<span style="text-align:left"><span class="swatch src"></span>measured share'
    ' &ensp;<span class="swatch w"></span>weight share</span>'
    "<span>measured</span><span>weights</span>"
    '<span data-tip="mean signed DFA over all firings">mean DFA</span>'
    '<span data-tip="share of firings in which this head gives most">wins</span></div>'
)


def head_bars(feature: Feature, snapshot: str) -> Markup:
    """All heads of a feature's layer, measured share in front of weight share.

    In a layer of many heads those that give least are folded away.
    """
    heads = sorted(feature.heads, key=lambda share: -(share.dfa_share or share.weight_share))
    shown = {share.head for share in heads[:_SHOWN]} if len(heads) > _MANY else None
    lines = {share.head: _head_bar(feature, share, snapshot) for share in feature.heads}
    if shown is None:
        return html('<div class="heads">{}{}</div>', _KEY, join(lines.values()))
    return html(
        '<div class="heads">{}{}<details><summary>{} more heads</summary>{}</details></div>',
        _KEY,
        join(line for head, line in lines.items() if head in shown),
        len(lines) - len(shown),
        join(line for head, line in lines.items() if head not in shown),
    )


def _head_bar(feature: Feature, share: HeadShare, snapshot: str) -> Markup:
    head = HeadId(feature.id.sae.model, feature.id.sae.layer, share.head)
    return html(
        '<div class="headbar">{}{}<span>{}</span><span class="soft">{}</span>'
        '<span class="soft">{}</span><span class="soft">{}</span></div>',
        a_id(head, snapshot, f"L{head.layer}H{head.head}"),
        bar(share.dfa_share, share.weight_share),
        percent(share.dfa_share),
        percent(share.weight_share),
        fixed(share.dfa_mean, 2),
        percent(share.won),
    )


def logits(effects: Sequence[LogitEffect], title: str, scale: float) -> Markup:
    """Tokens and what the feature's direction does to their logits."""
    lines = [
        html(
            '<div class="logit"><span class="tok" data-tip="{}">{}</span>'
            '<span class="bar"><i style="width:{:.1f}%"></i></span><span class="n">{}</span></div>',
            f"{exact(one.text)}, token {one.token}",
            _spaced(one.text),
            100 * min(1.0, abs(one.value) / scale),
            ("+" if one.value > 0 else "") + fixed(one.value, 3),
        )
        for one in effects
    ]
    return html("<div><h3>{}</h3>{}</div>", title, join(lines))


def _spaced(token: str) -> Markup:
    """Token text whose leading space is seen."""
    text = visible(token)
    if not text.startswith(" "):
        return html("{}", text)
    return html('<span class="soft">␣</span>{}', text[1:])


def activations(feature: Feature) -> Markup:
    """Histogram of a feature's activations over all firings, logarithmic bins."""
    counts = feature.histogram
    filled = [b for b, n in enumerate(counts) if n]
    if not filled:
        return Markup("")
    first, last = max(0, filled[0] - 1), min(len(counts), filled[-1] + 2)
    edges = [histogram_edge(b) for b in range(first, last + 1)]
    return _histogram(edges, counts[first:last], "", "firings")


def densities(bins: Bins, own: float | None = None) -> Markup:
    """Histogram of the feature densities of an SAE; the bin that holds `own` is marked."""
    filled = [b for b, n in enumerate(bins.counts) if n]
    if not filled:
        return Markup('<p class="small soft">No feature fired.</p>')
    first, last = max(0, filled[0] - 1), min(len(bins.counts), filled[-1] + 2)
    edges = bins.edges[first : last + 1]
    return _histogram(edges, bins.counts[first:last], "plain", "features", own)


def _histogram(
    edges: Sequence[float], counts: Sequence[int], kind: str, what: str, own: float | None = None
) -> Markup:
    most = max(counts)
    columns = [
        html(
            '<i class="{}" style="height:{:.1f}%" data-tip="{} to {}: {} {}"></i>',
            "own" if own is not None and low <= own < high else "",
            100 * n / most if n == 0 else max(1.5, 100 * n / most),
            sig(low),
            sig(high),
            count(n),
            what,
        )
        for n, low, high in zip(counts, edges, edges[1:], strict=False)
    ]
    middle = edges[len(edges) // 2]
    axis = html(
        "<span>{}</span><span>{}</span><span>{}</span>", *map(sig, (edges[0], middle, edges[-1]))
    )
    return html(
        '<div class="hist {}">{}</div><div class="axis">{}</div>', kind, join(columns), axis
    )


Spread = Mapping[FeatureId, Sequence[int]]
"""Features to the histograms of their activations."""


def sparkline(row: FeatureRow, among: Spread) -> Markup:
    """How a feature's activations are spread over all its firings, small.

    The axis is that of all features in the list, so that shapes can be compared: each bar is half
    an octave. Heights are relative to the feature's own largest bar.
    """
    own = _halves(among.get(row.id, ()))
    if not any(own):
        return Markup("")
    filled = [bar for counts in among.values() for bar, n in enumerate(_halves(counts)) if n]
    first, last, most = min(filled), max(filled) + 1, max(own)
    columns = (
        html('<i style="height:{:.0f}%"></i>', max(7.0, 100 * n / most) if n else 0)
        for n in own[first:last]
    )
    words = (
        f"{count(row.firings)} firings by activation, on a log axis from"
        f" {sig(histogram_edge(2 * first))} to {sig(histogram_edge(2 * last))}"
    )
    return html('<span class="hist spark" data-tip="{}">{}</span>', words, join(columns))


def _halves(counts: Sequence[int]) -> list[int]:
    """The counts of two neighbouring bins together."""
    return [sum(counts[b : b + 2]) for b in range(0, len(counts), 2)]


_BINS = 24


def spread(values: Sequence[float], own: float) -> Markup:
    """How values are spread, small, the bin that holds `own` marked."""
    low, high = min(values), max(values)
    width = (high - low) / _BINS or 1.0
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, int((value - low) / width))] += 1
    mine, most = min(_BINS - 1, int((own - low) / width)), max(counts)
    columns = (
        html(
            '<i class="{}" style="height:{:.0f}%" data-tip="{} to {}: {} heads"></i>',
            "own" if n == mine else "",
            max(8.0, 100 * (held / most) ** 0.5) if held else 0,
            sig(low + n * width),
            sig(low + (n + 1) * width),
            held,
        )
        for n, held in enumerate(counts)
    )
    return html('<span class="hist plain spark">{}</span>', join(columns))
