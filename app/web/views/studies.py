"""Studies: the paper's experiments on this atlas, with intervals, beside what the paper says."""

from collections import defaultdict
from collections.abc import Callable

from markupsafe import Markup

from app.web.url import AtRuns, AtStudies, at, link
from app.web.widgets import here
from app.web.widgets.curves import Curve, Point, show_curves
from app.web.widgets.frame import empty
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.paper import PAPER
from app.web.widgets.results import study_table
from app.web.widgets.table import Column, facts, table
from app.web.widgets.text import count, duration, percent, when
from atlas.api import Atlas
from atlas.ids import HeadId, parse_sae
from atlas.study_types import StudyPage, StudyRow, StudyTable

_ROWS, _CURVES = 20_000, 10
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
        "`atlas study` lists those that there are; `atlas study prefix` runs one and publishes it.",
    )
    show(
        html(
            '<h1 class="pagetop">Studies</h1>{}',
            table(_STUDIES, (_line(one, snapshot) for one in done)) if done else none,
        )
    )


def _line(one: StudyRow, snapshot: str) -> tuple[object, ...]:
    return (
        a(AtStudies(one.run), one.study, snapshot),
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
            '<div class="crumbs pagetop">{} / {}</div><h1>{} of {}</h1>'
            '<div class="two"><div>{}</div><div>{}</div></div>',
            a(AtStudies(), "studies", snapshot),
            row.run,
            row.study.capitalize(),
            row.model,
            _facts(page, snapshot),
            _paper(row.study),
        )
    )
    small_first = sorted(page.tables, key=lambda one: (one.name not in _PLOTS, one.total))
    for one in small_first:
        if one.name in _PLOTS:
            _PLOTS[one.name](one, row.model, snapshot)
        show(study_table(one, row.model, row.run, snapshot))


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


def _prefix_curves(one: StudyTable, model: str, snapshot: str) -> None:
    """The heads of the highest attention at any prefix length, one plot a measure."""
    heads: dict[tuple[str, int, int], list[Point]] = defaultdict(list)
    for row in one.rows:
        cell = dict(zip(one.columns, row, strict=True))
        point = Point(cell["length"], cell["value"], cell["low"], cell["high"])
        heads[cell["measure"], cell["layer"], cell["head"]].append(point)
    for measure in dict.fromkeys(measure for measure, _, _ in heads):
        own = {key[1:]: points for key, points in heads.items() if key[0] == measure}
        best = sorted(own, key=lambda head: -max(point.value for point in own[head]))[:_CURVES]
        curves = [
            Curve(
                f"L{layer}H{head}",
                link(at(HeadId(model, layer, head)), snapshot),
                sorted(own[layer, head]),
            )
            for layer, head in best
        ]
        words = f"{measure}, the {len(best)} highest heads"
        show_curves(curves, "tokens of the repeated prefix", words, f"prefix-{measure}")


def _family_bars(one: StudyTable, model: str, snapshot: str) -> None:  # noqa: ARG001
    """The share of each family in every SAE, one bar an SAE."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for row in one.rows:
        cell = dict(zip(one.columns, row, strict=True))
        shares[cell["sae"]][cell["family"]] = cell["share"] or 0.0
    names = list(dict.fromkeys(family for own in shares.values() for family in own))
    legend = join(
        html('<span class="c{}">{}</span>', n % 9, name.replace("_", " "))
        for n, name in enumerate(names)
    )
    bars = join(
        html(
            '<div class="stack"><span>{}</span><span class="parts">{}</span></div>',
            a_id(parse_sae(sae), snapshot),
            join(
                html(
                    '<i class="c{}" style="width:{:.2f}%" data-tip="{}"></i>',
                    names.index(family) % 9,
                    100 * share,
                    f"{family.replace('_', ' ')}: {percent(share)} of the live features",
                )
                for family, share in own.items()
            ),
        )
        for sae, own in shares.items()
    )
    show(html('<h2>Families per SAE</h2>{}<div class="legend">{}</div>', bars, legend))


_PLOTS: dict[str, Callable[[StudyTable, str, str], None]] = {
    "prefix_score": _prefix_curves,
    "family_share": _family_bars,
}
