"""The families of a feature with their evidence."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtStudies
from app.web.widgets.html import a, html, join
from app.web.widgets.results import ranged
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, percent, visible
from atlas.study_types import FamilyClaim
from atlas.types import Interval, Query

_COLUMNS = (
    Column("family"),
    Column("kept examples", True, "share that the rule explains"),
    Column("held-out firings explained", True),
    Column("precision, 95 %", hint="of held-out firings, at places that the family predicts"),
    Column("recall, 95 %", hint="of predicted places, where the feature fires"),
    Column("words"),
)


def families(claims: Sequence[FamilyClaim], snapshot: str) -> Markup:
    """One line a family whose rule holds; nothing where none was looked for."""
    if not claims:
        return Markup("")
    study = a(AtStudies(claims[0].run), "the study", snapshot)
    return html(
        '<h2>Families <span class="small">{}</span></h2>{}',
        study,
        table(_COLUMNS, (_line(one, snapshot) for one in claims)),
    )


def _line(one: FamilyClaim, snapshot: str) -> tuple[object, ...]:
    name = a(Query(family=one.family), one.family.replace("_", " "), snapshot)
    words = html(
        '<span class="tok">{}</span>', join((visible(word) for word in one.words[:8]), ", ")
    )
    return (
        html("<b>{}</b>", name) if one.best else name,
        f"{percent(one.score)} of {count(one.examples)}",
        f"{count(one.explained)} of {count(one.fired)}",
        _share(one.precision, one.precision_within),
        _share(one.recall, one.recall_within),
        words,
    )


def _share(value: float | None, within: Interval | None) -> Markup:
    low, high = (within.low, within.high) if within else (None, None)
    return ranged(value, low, high, (0.0, 1.0))
