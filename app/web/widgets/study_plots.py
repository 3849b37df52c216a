"""Results of studies as plots, every estimate with its interval."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from app.web.url import at, link
from app.web.widgets.curves import Curve, Point, show_curves
from app.web.widgets.html import a_id, html, join, show
from app.web.widgets.ioi_plots import ioi_heads, ioi_noise, ioi_parts
from app.web.widgets.lines import Line, cells, lines_plot
from app.web.widgets.text import percent
from atlas.ids import HeadId, SaeId, parse_sae
from atlas.study_types import StudyTable

_CURVES, _HEADS = 10, 12


def prefix_curves(one: StudyTable, model: str, snapshot: str) -> None:
    """The heads of the highest attention at any prefix length, one plot a measure."""
    heads: dict[tuple[str, int, int], list[Point]] = defaultdict(list)
    for cell in cells(one):
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


def head_rankings(one: StudyTable, model: str, snapshot: str) -> None:
    """The highest heads of every ranking, with what the same metric says elsewhere as a tick."""
    ways: dict[str, list[Line]] = defaultdict(list)
    checks: dict[str, str] = {}
    for cell in sorted(cells(one), key=lambda cell: cell["rank"]):
        if cell["value"] is None or cell["rank"] > _HEADS:
            continue
        head = HeadId(model, cell["layer"], cell["head"])
        name = a_id(head, snapshot, f"L{head.layer}H{head.head}")
        way = f"{cell['ranking']} on {cell['condition']}".replace("_", " ")
        checks[way] = cell["check_condition"].replace("_", " ")
        line = Line(name, cell["value"], cell["low"], cell["high"], cell["check_value"])
        ways[way].append(line)
    titled = [(html("{}; tick: {}", way, checks[way]), own) for way, own in ways.items()]
    words = "Mean attention with 95 % intervals; the tick is the same metric measured otherwise."
    if titled:
        show(lines_plot(f"The {_HEADS} highest heads", words, titled))


_BINS, _FIRINGS = 10, 1000


def family_bins(one: StudyTable, model: str, snapshot: str) -> None:  # noqa: ARG001
    """How often induction features fire where induction is, by how strongly they fire.

    SAEs whose induction features fire too seldom to tell are left out.
    """
    ways: dict[str, list[Point]] = defaultdict(list)
    fired: dict[str, int] = defaultdict(int)
    for cell in cells(one):
        if cell["family"] != "induction" or cell["precision"] is None:
            continue
        x = (cell["bin"] + 0.5) / _BINS
        ends = cell["precision_low"], cell["precision_high"]
        ways[cell["sae"]].append(Point(x, cell["precision"], *ends))
        fired[cell["sae"]] += cell["fired"]
    curves = [
        Curve(sae, link(at(parse_sae(sae)), snapshot), sorted(own))
        for sae, own in ways.items()
        if fired[sae] >= _FIRINGS
    ]
    if curves:
        show_curves(
            curves,
            "activation, of the feature's largest",
            "share of induction features' firings where their rule predicts one",
            one.name,
        )


def family_shares(one: StudyTable, model: str, snapshot: str) -> None:  # noqa: ARG001
    """The share of each family: a bar an SAE, then over the layers with its interval."""
    shares: dict[SaeId, dict[str, Point]] = defaultdict(dict)
    for cell in cells(one):
        sae = parse_sae(cell["sae"])
        point = Point(sae.layer, cell["share"] or 0.0, cell["share_low"], cell["share_high"])
        shares[sae][cell["family"]] = point
    found = {family for own in shares.values() for family in own}
    names = sorted(found, key=lambda family: (-_most(shares, family), family))
    saes = sorted(shares, key=lambda sae: (sae.set, sae.layer))
    legend = join(
        html('<span class="c{}">{}</span>', n % 9, name.replace("_", " "))
        for n, name in enumerate(names)
    )
    bars = join(_stack(sae, shares[sae], names, snapshot) for sae in saes)
    show(html('<h2>Families per SAE</h2>{}<div class="legend">{}</div>', bars, legend))
    for name in dict.fromkeys(sae.set for sae in saes):
        own = [shares[sae] for sae in saes if sae.set == name]
        curves = [
            Curve(family.replace("_", " "), "", [each[family] for each in own if family in each])
            for family in names
        ]
        words = f"share of the live features of {name}, by layer"
        show_curves(curves, "layer", words, f"families-{name}")


def _most(shares: Mapping[SaeId, Mapping[str, Point]], family: str) -> float:
    return max((own[family].value for own in shares.values() if family in own), default=0.0)


def _stack(sae: SaeId, shares: dict[str, Point], names: Sequence[str], snapshot: str) -> Markup:
    return html(
        '<div class="stack"><span>{}</span><span class="parts">{}</span></div>',
        a_id(sae, snapshot),
        join(
            html(
                '<i class="c{}" style="width:{:.2f}%" data-tip="{}"></i>',
                names.index(family) % 9,
                100 * point.value,
                f"{family.replace('_', ' ')}: {percent(point.value)} of the live features",
            )
            for family, point in sorted(shares.items(), key=lambda each: names.index(each[0]))
            if point.value
        ),
    )


_BY = {"weights": "by weight share", "measured": "by measured share"}


def polysemantic_shares(one: StudyTable, model: str, snapshot: str) -> None:  # noqa: ARG001
    """Heads that do more than one thing, by how many top features are looked at."""
    ways: dict[str, list[Point]] = defaultdict(list)
    for cell in cells(one):
        point = Point(cell["k"], cell["share"], cell["low"], cell["high"])
        ways[cell["by"]].append(point)
    curves = [Curve(_BY.get(by, by), "", sorted(points)) for by, points in ways.items()]
    show_curves(
        curves, "top features looked at", "share of heads that do more than one thing", one.name
    )


def polysemanticity(one: StudyTable, model: str, snapshot: str) -> None:
    """Cohesion of the top features of every head against chance, layer by layer."""
    rows = [
        cell for cell in cells(one) if cell["by"] == "measured" and cell["cohesion"] is not None
    ]
    if not rows:
        return
    k = min(cell["k"] for cell in rows)
    groups: dict[SaeId, list[Line]] = defaultdict(list)
    for cell in rows:
        if cell["k"] != k:
            continue
        sae = parse_sae(cell["sae"])
        head = HeadId(model, sae.layer, cell["head"])
        name = a_id(head, snapshot, f"L{head.layer}H{head.head}")
        ends = cell["cohesion_low"], cell["cohesion_high"]
        groups[sae].append(Line(name, cell["cohesion"], *ends, cell["null_high"]))
    layers = sorted(groups, key=lambda sae: (sae.layer, sae.set))
    words = (
        f"Sameness of a head's {k} top features by measured share, with 95 % intervals: 1 where"
        " they all do one thing. The tick is the highest that chance gives."
    )
    titled = [(a_id(sae, snapshot), groups[sae]) for sae in layers]
    show(lines_plot("One thing or several, per layer", words, titled))


PLOTS: dict[str, Callable[[StudyTable, str, str], None]] = {
    "head_ranking": head_rankings,
    "prefix_score": prefix_curves,
    "family_share": family_shares,
    "family_bin": family_bins,
    "polysemantic_share": polysemantic_shares,
    "head_polysemanticity": polysemanticity,
    "ioi_part": ioi_parts,
    "ioi_head": ioi_heads,
    "ioi_noise": ioi_noise,
}
"""Table to what draws it, in the order of the page."""
