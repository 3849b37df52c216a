"""Studies: the paper's experiments on this atlas, with intervals, beside what the paper says."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from app.web.url import AtRuns, AtStudies
from app.web.widgets import here
from app.web.widgets.frame import empty
from app.web.widgets.html import a, html, prose, show
from app.web.widgets.paper import MEASURES, PAPER
from app.web.widgets.results import study_table
from app.web.widgets.study_plots import PLOTS
from app.web.widgets.table import Column, facts, table
from app.web.widgets.text import count, duration, when
from atlas.api import Atlas
from atlas.study_types import StudyPage, StudyRow

_ROWS = 20_000
_STUDIES = (
    Column("study"),
    Column("run"),
    Column("model"),
    Column("results"),
    Column("text"),
    Column("tokens", True),
    Column("took", True),
    Column("when"),
)
_MISSING = (Column("study"), Column("what it measures"), Column("run it with"))
_NAMES = {"ioi": "Indirect-object identification", "prefix": "Induction by prefix"}
_PAPER = (Column("in GPT-2 Small", width="22em"), Column("the paper"))


def render(atlas: Atlas) -> None:
    """All studies, or the one that the URL names."""
    place = here.place(AtStudies)
    if place.study is None:
        _all(atlas)
    else:
        _one(atlas, atlas.study(place.study, place.model, _ROWS))


def _all(atlas: Atlas) -> None:
    snapshot = atlas.snapshot.name
    done = atlas.studies()
    none = empty(
        "No study has been run on this atlas yet.",
        "Each runs on held-out text, is stored with its intervals and stands here afterwards.",
    )
    known = table(_STUDIES, (_line(one, snapshot) for one in done)) if done else none
    missing = {name: words for name, words in MEASURES.items() if name not in _names(done)}
    show(html('<h1 class="pagetop">Studies</h1>{}{}', known, _missing(missing) if missing else ""))


def _names(done: Sequence[StudyRow]) -> set[str]:
    return {one.study for one in done}


def _missing(studies: Mapping[str, str]) -> Markup:
    """Studies that were not run here, with the command for each."""
    lines = ((name, words, prose(f"`atlas study {name}`")) for name, words in studies.items())
    return html("<h2>Not run on this atlas yet</h2>{}", table(_MISSING, lines))


def _line(one: StudyRow, snapshot: str) -> tuple[object, ...]:
    return (
        a(AtStudies(one.run), one.study, snapshot, title=MEASURES.get(one.study, "")),
        a(AtRuns(one.run), one.run, snapshot, "id"),
        one.model,
        ", ".join(f"{count(n)} {name.replace('_', ' ')}" for name, n in one.tables.items()),
        one.corpus,
        count(one.tokens),
        duration(one.seconds),
        when(one.created_at),
    )


def _one(atlas: Atlas, page: StudyPage) -> None:
    snapshot, row = atlas.snapshot.name, page.row
    show(
        html(
            '<div class="crumbs pagetop">{} / {}</div><h1>{} of {}</h1><p class="soft">{}</p>'
            '<div class="two"><div>{}</div><div>{}</div></div>',
            a(AtStudies(), "studies", snapshot),
            row.run,
            _NAMES.get(row.study, row.study.capitalize()),
            row.model,
            MEASURES.get(row.study, ""),
            _facts(page, snapshot),
            _paper(row.study),
        )
    )
    tables = {one.name: one for one in page.tables}
    for name, plot in PLOTS.items():
        if name in tables:
            plot(tables[name], row.model, snapshot)
    for one in sorted(page.tables, key=lambda one: (one.name not in PLOTS, one.total)):
        texts = atlas.vocab(row.model) if "token" in one.columns else ()
        show(study_table(one, row.model, row.run, snapshot, texts))


def _facts(page: StudyPage, snapshot: str) -> Markup:
    row = page.row
    own = {name: value for name, value in page.settings.items() if not isinstance(value, dict)}
    settings = ", ".join(f"{name} {value}" for name, value in own.items())
    samples = ", ".join(f"{name} {value}" for name, value in page.samples.items())
    return facts(
        (
            ("run", html("{}, {}", a(AtRuns(row.run), row.run, snapshot), when(row.created_at))),
            ("text", f"{count(row.tokens)} tokens of {row.corpus}; {page.held_out}"),
            ("samples", samples),
            *(("note", words) for words in page.said),
            ("settings", settings),
            ("intervals", "95 %"),
        )
    )


def _paper(study: str) -> Markup:
    reported = PAPER.get(study, ())
    return table(_PAPER, reported) if reported else Markup("")
