"""What the test of a hypothesis gave: figures with intervals, and where it failed."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.widgets.html import a_id, html, join
from app.web.widgets.results import ranged
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, density, percent, sig, visible
from atlas.api import Atlas
from atlas.hypothesis_types import Instance, Rate, Trial, Verdict
from atlas.ids import FeatureId, HeadId, parse
from atlas.types import Interval

_COLUMNS = (
    Column("about"),
    Column("recall", hint="of firings, where its measured source makes it hold"),
    Column("chance", True, "recall if any earlier token and head were as likely a source"),
    Column("precision", hint="share of firings among the tokens where it holds"),
    Column("lift", hint="how much likelier a firing is where it holds"),
    Column("anywhere", hint="of the same firings, where some earlier token and head would"),
    Column("alarms", hint="of places without firing, where some earlier token and head would"),
    Column("near misses", hint="of weak pre-activations that did not fire, where it holds"),
    Column("density", True, "share of tokens on which it fires"),
)
_PLACES = (
    Column("feature"),
    Column("where", width="45%"),
    Column("source"),
    Column("head"),
    Column("context", True),
    Column("position", True),
)
_BEFORE, _AFTER = 8, 3


def trial_tables(atlas: Atlas, trial: Trial) -> Markup:
    """The pooled figures, those of every feature, and some places where it is wrong."""
    verdicts = [trial.pooled, *trial.verdicts]
    most = max((one.lift_interval.high for one in verdicts if one.lift_interval), default=1.0)
    snapshot = trial.snapshot
    return html(
        '<div class="row small"><b>{} of {} features</b><span class="soft">of {} · intervals 95 % ·'
        " seed {} · snapshot {}; the URL of this page repeats it</span></div>{}{}{}{}",
        count(trial.pooled.features),
        count(trial.candidates),
        a_id(parse(trial.target), snapshot),
        trial.seed,
        snapshot,
        table(_COLUMNS, (_verdict(one, most, snapshot) for one in verdicts)),
        Markup(_OF_SOURCE) if trial.of_source else "",
        _places(atlas, "Firings of which it does not hold", trial.missed, snapshot),
        _places(atlas, "Places without firing of which it does", trial.alarmed, snapshot),
    )


_OF_SOURCE = (
    '<p class="small soft">It speaks of sources, which are measured at firings only: recall and'
    " near misses go by the measured source; the others by any earlier token and head.</p>"
)


def _verdict(one: Verdict, most: float, snapshot: str) -> Sequence[object]:
    return (
        a_id(parse(one.target), snapshot),
        _rate(one.recall),
        "–" if one.chance is None else percent(one.chance),
        _figure(one.precision, one.precision_interval, 1.0),
        _figure(one.lift, one.lift_interval, most),
        *(_rate(rate) for rate in (one.anywhere, one.alarms, one.near_misses)),
        density(one.density),
    )


def _rate(rate: Rate) -> Markup:
    within = rate.interval
    low, high = (within.low, within.high) if within else (None, None)
    return ranged(rate.share, low, high, (0.0, 1.0), n=rate.n)


def _figure(value: float | None, interval: Interval | None, most: float) -> Markup:
    if value is None and interval is not None:
        words = "no alarm was seen, so it is bounded from below only"
        return html('<span data-tip="{}">over {}</span>', words, sig(interval.low))
    low, high = (interval.low, interval.high) if interval else (None, None)
    return ranged(value, low, high, (0.0, most))


def _places(atlas: Atlas, title: str, found: Sequence[Instance], snapshot: str) -> Markup:
    if not found:
        return Markup("")
    return html(
        "<h2>{}</h2>{}", title, table(_PLACES, (_place(atlas, one, snapshot) for one in found))
    )


def _place(atlas: Atlas, one: Instance, snapshot: str) -> Sequence[object]:
    of: FeatureId = one.feature
    head = HeadId(of.sae.model, of.sae.layer, one.head) if one.head is not None else None
    none = Markup('<span class="soft">–</span>')
    return (
        a_id(of, snapshot),
        _text(atlas, one),
        none if one.source_token is None else _token(one.source_token, f"at {one.source}"),
        none if head is None else a_id(head, snapshot, f"L{head.layer}H{head.head}"),
        count(one.ctx),
        one.pos,
    )


def _text(atlas: Atlas, one: Instance) -> Markup:
    tokens = atlas.context(one.ctx).tokens
    before = tokens[max(0, one.pos - _BEFORE) : one.pos]
    after = tokens[one.pos + 1 : one.pos + 1 + _AFTER]
    return html(
        '<span class="tok">{}<mark>{}</mark>{}</span>',
        join(map(visible, before)),
        visible(one.token),
        join(map(visible, after)),
    )


def _token(text: str, tip: str) -> Markup:
    return html('<span class="tok" data-tip="{}">{}</span>', tip, visible(text))
