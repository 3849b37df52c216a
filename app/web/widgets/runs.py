"""Runs that are going on."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.widgets.html import html, join
from app.web.widgets.text import count, duration, sig
from atlas.progress import Progress


def in_progress(runs: Sequence[Progress]) -> Markup:
    """A line for every run that is not done; nothing where all are."""
    lines = [_line(run) for run in runs if run.state != "done"]
    return html('<div class="running">{}</div>', join(lines)) if lines else Markup("")


def _line(run: Progress) -> Markup:
    if run.state != "running":
        return html(
            '<div class="notice"><p><b>Run {} {}</b> at {}. {}</p></div>',
            run.run,
            run.state,
            run.stage or "its start",
            run.message,
        )
    share = run.done / run.total if run.total else 0.0
    left = "" if run.left is None else f", about {duration(run.left)} left"
    return html(
        '<div class="panel small"><div class="row far"><span><b>{}</b> · {}</span>'
        "<span>{} of {} {} · {} {}/s{}</span></div>"
        '<span class="bar act"><i style="width:{:.1f}%"></i></span></div>',
        run.run,
        run.stage,
        count(run.done),
        count(run.total),
        run.unit,
        sig(run.rate),
        run.unit,
        left,
        100 * min(1.0, share),
    )
