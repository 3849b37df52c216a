"""Machine labels of a feature: each side with its support, method and scores."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.widgets.frame import empty
from app.web.widgets.html import html, join
from app.web.widgets.table import Column, table
from app.web.widgets.text import percent
from atlas.types import Feature, Interval, Label, LabelScore, LabelSide

SIDES: dict[LabelSide, str] = {
    "title": "title",
    "when": "fires",
    "fetches": "fetches",
    "says": "says",
}
_COLUMNS = (
    Column("", width="4.5em"),
    Column("label"),
    Column("support", True, "held-back examples that the label's own rule explains"),
    Column("method"),
)


def machine_labels(feature: Feature) -> Markup:
    """All labels, those of one labeller together, title first."""
    if not feature.labels:
        return empty("No machine label.", "Write one below, under Notes.")
    order = list(SIDES)
    by = list(dict.fromkeys(_maker(one) for one in feature.labels))
    labels = sorted(feature.labels, key=lambda one: (by.index(_maker(one)), order.index(one.side)))
    return table(_COLUMNS, (_line(one, feature.scores) for one in labels))


def _maker(one: Label | LabelScore) -> tuple[str, str | None, str | None]:
    return one.method, one.model, one.prompt


def _line(label: Label, scores: Sequence[LabelScore]) -> Sequence[object]:
    own = [one for one in scores if label.side == "title" and _maker(one) == _maker(label)]
    return (
        html('<span class="soft">{}</span>', SIDES[label.side]),
        html("{} {}", label.text, join(map(_score, own))),
        _support(label),
        html('<span class="soft">{}</span>', " · ".join(part for part in _maker(label) if part)),
    )


def _score(one: LabelScore) -> Markup:
    what = "correlation" if one.scorer == "simulation" else "balanced accuracy"
    lines = [f"{what} over {one.n} examples{_within(one.interval)}"]
    if one.scored_by:
        lines.append(f"judged by {one.scored_by}")
    if any(share is not None for share in one.deciles):
        lines.append("recognised by tenth of activation, weak to strong:")
        lines.append("  ".join(percent(share) for share in one.deciles))
    words = "\n".join(lines)
    return html(
        '<span class="chip" data-tip="{}">{} {}</span>', words, one.scorer, percent(one.score)
    )


def _support(label: Label) -> Markup:
    if label.support is None or label.n is None:
        return html('<span class="soft">–</span>')
    held = round(label.support * label.n)
    words = f"{percent(label.support)} of {label.n} held-back examples{_within(label.interval)}"
    range_ = ""
    if label.interval:
        low, high = (f"{100 * end:.0f}" for end in (label.interval.low, label.interval.high))
        range_ = html(' <span class="soft tiny">{}–{} %</span>', low, high)
    return html('<span data-tip="{}">{} of {}{}</span>', words, held, label.n, range_)


def _within(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f", 95 % interval {percent(interval.low)} to {percent(interval.high)}"
