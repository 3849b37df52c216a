"""Runs that are going on, and what a run wrote of itself."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import streamlit as st
from markupsafe import Markup

from app.web.url import AtRuns
from app.web.widgets.html import a, html, join, show
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, duration, fixed, percent, sig, when
from app.web.widgets.training import show_training
from atlas import progress, record
from atlas.progress import Progress
from atlas.record import LogLine

_EVERY = 5.0
"""Seconds between two looks at what is going on."""
_FIGURES = {"fvu": ("FVU", fixed), "l0": ("L0", sig), "dead": ("dead", percent)}
_LOG = (
    Column("stage"),
    Column("began"),
    Column("took", True),
    Column("done", True),
    Column("rate", True),
    Column("how it ended"),
)


def in_progress(runs: Iterable[Progress], snapshot: str) -> Markup:
    """A line for every run that is not done; nothing where all are."""
    lines = [progress_line(run, snapshot) for run in runs if run.state != "done"]
    return html('<div class="running">{}</div>', join(lines)) if lines else Markup("")


def show_in_progress(store: Path, snapshot: str) -> bool:
    """Show the runs that are not done, again every few seconds while one goes on.

    Returns:
        Whether there are any.
    """
    runs = progress.read_all(store)
    if any(run.state == "running" for run in runs):
        _again(store, snapshot)
    else:
        show(in_progress(runs, snapshot))
    return any(run.state != "done" for run in runs)


@st.fragment(run_every=_EVERY)
def _again(store: Path, snapshot: str) -> None:
    show(in_progress(progress.read_all(store), snapshot))


@st.fragment(run_every=_EVERY)
def show_live(store: Path, run: str, snapshot: str) -> None:
    """A run that is not published: how far it is, its curve and its log so far."""
    now = next(one for one in progress.read_all(store) if one.run == run)
    show(progress_line(now, snapshot))
    show_record(record.read_now(store, run), {}, f"training-{run}", goes_on=now.state == "running")


def show_record(
    found: record.Record, links: dict[int, str], key: str, *, goes_on: bool = False
) -> None:
    """The curve of a training, where there was one, and the log, whose last stage may go on."""
    if found.curve:
        show(Markup("<h2>Training</h2>"))
        show_training(found.curve, links, key)
    if found.log:
        now = found.log[-1] if goes_on else None
        lines = (_log_line(one, "goes on" if one is now else one.outcome) for one in found.log)
        show(html("<h2>Log</h2>{}", table(_LOG, lines)))


def _log_line(one: LogLine, outcome: str) -> Sequence[object]:
    took = one.seconds
    ended = html("{} {}", outcome, one.message)
    if outcome in ("failed", "unfinished"):
        ended = html('<span class="chip warn">{}</span> {}', outcome, one.message)
    counted = took is not None and one.done > 1
    return (
        one.stage,
        when(one.began_at),
        "–" if took is None else duration(took),
        f"{count(one.done)} {one.unit}" if counted else "",
        f"{sig(one.done / took)} {one.unit}/s" if counted and took else "",
        ended,
    )


def progress_line(run: Progress, snapshot: str) -> Markup:
    """How far one run is, with its rate and the time left; or how it ended."""
    name = a(AtRuns(run.run), run.run, snapshot)
    if run.state != "running":
        return html(
            '<div class="notice"><p><b>Run {} {}</b> at {}. {}</p></div>',
            name,
            run.state,
            run.stage or "its start",
            run.message,
        )
    share = run.done / run.total if run.total else 0.0
    left = "" if run.left is None else f", about {duration(run.left)} left"
    return html(
        '<div class="panel small"><div class="row far"><span><b>{}</b> · {}</span>'
        "<span>{} of {} {} · {}{}</span></div>"
        '<span class="bar act"><i style="width:{:.1f}%"></i></span>{}</div>',
        name,
        run.stage,
        count(run.done),
        count(run.total),
        run.unit,
        _rate(run),
        left,
        100 * min(1.0, share),
        _figures(run),
    )


def _rate(run: Progress) -> str:
    """Units a second; before the first step of a training what its model reads."""
    reading = run.figures.get("reading")
    if reading:
        return f"reading ahead, {sig(reading)} {run.unit}/s"
    return f"{sig(run.rate)} {run.unit}/s"


def _figures(run: Progress) -> Markup:
    """What a training measures, a value for each layer."""
    known = [
        f"{name} {' '.join(text(value) for value in run.figures[key])}"
        for key, (name, text) in _FIGURES.items()
        if key in run.figures
    ]
    return html('<div class="tiny soft">{}</div>', " · ".join(known)) if known else Markup("")
