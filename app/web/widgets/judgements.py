"""The single judgements behind a label's scores, and what labellers could not do."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.widgets.html import html, join
from app.web.widgets.table import Column, table
from app.web.widgets.text import fixed, visible
from atlas.api import Atlas
from atlas.label_types import JudgedScore, Judgement, LabelFailure
from atlas.types import Feature

_COLUMNS = (
    Column("from"),
    Column("token"),
    Column("document"),
    Column("position", True),
    Column("activation", True),
    Column("tenth", True, "tenth of the feature's activations, 1 the weakest"),
    Column("fires"),
    Column("judged"),
)


def judgements(atlas: Atlas, feature: Feature) -> Markup:
    """Folded tables of who judged what; nothing where no label was scored or failed."""
    scores = atlas.judged(feature.id) if feature.scores else ()
    failures = atlas.label_failures(feature.id)
    if not scores and not failures:
        return Markup("")
    parts = [*map(_scored, scores), _failed(failures)]
    return html(
        "<details><summary>Judgements behind the scores{}</summary>{}</details>",
        f", {len(failures)} failures" if failures else "",
        join(parts),
    )


def _scored(one: JudgedScore) -> Markup:
    right = sum((each.said > 0.5) == each.fires for each in one.judgements)
    words = " · ".join(part for part in (one.method, one.model, one.prompt) if part)
    said = f"{right} of {len(one.judgements)} right" if one.scorer != "simulation" else ""
    return html(
        '<h3>{}, {} <span class="tiny soft">{}</span></h3>{}',
        one.scorer,
        words,
        said,
        table(_COLUMNS, (_line(one.scorer, each) for each in one.judgements)),
    )


def _line(scorer: str, one: Judgement) -> Sequence[object]:
    if scorer == "simulation":
        judged = Markup(f"{one.said:g} of 9")
    else:
        wrong = (one.said > 0.5) != one.fires
        words = "fires" if one.said > 0.5 else "silent"
        judged = html('<span class="chip {}">{}</span>', "warn" if wrong else "good", words)
    return (
        one.kind.replace("_", " "),
        html('<span class="tok">{}</span>', visible(one.token)),
        html('<span class="soft">{}</span>', one.doc),
        one.start + one.pos,
        fixed(one.act, 2),
        "" if one.decile is None else one.decile + 1,
        "fires" if one.fires else "silent",
        judged,
    )


def _failed(failures: Sequence[LabelFailure]) -> Markup:
    lines = join(
        html(
            "<li>{} by {}: {}</li>",
            one.step,
            " · ".join(part for part in (one.method, one.model, one.prompt) if part),
            one.reason,
        )
        for one in failures
    )
    title = "<h3>Failures; the next run tries again</h3>"
    return html(title + '<ul class="small">{}</ul>', lines) if failures else Markup("")
