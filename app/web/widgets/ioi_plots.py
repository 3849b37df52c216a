"""Plots of the study of indirect-object identification: layers, heads, and the noising test."""

from collections import defaultdict

from markupsafe import Markup

from app.web.widgets.html import a_id, html, show
from app.web.widgets.lines import Line, cells, lines_plot
from atlas.ids import HeadId
from atlas.study_types import StudyTable

_HEADS, _LAYERS = 12, 12


def ioi_parts(one: StudyTable, model: str, snapshot: str) -> None:  # noqa: ARG001
    """The layers whose attention carries the answer, place by place."""
    places: dict[str, list[Line]] = defaultdict(list)
    for cell in cells(one):
        is_shown = (cell["part"], cell["how"], cell["names"]) == ("attention", "resample", "both")
        if is_shown and cell["value"] is not None:
            name = html("layer {}", cell["layer"])
            places[cell["place"]].append(Line(name, cell["value"], cell["low"], cell["high"], 0.0))
    titled = [
        (html("at {}", place), sorted(lines, key=lambda line: -abs(line.value))[:_LAYERS])
        for place, lines in places.items()
    ]
    words = (
        "Change of the difference of logits between the two names when the attention output of one"
        " layer at one place is taken from other prompts, with 95 % intervals."
    )
    if titled:
        show(lines_plot("Layers that carry it", words, titled))


def ioi_heads(one: StudyTable, model: str, snapshot: str) -> None:
    """The heads whose ablation changes the answer most, one plot a way and place."""
    ways: dict[str, list[Line]] = defaultdict(list)
    for cell in cells(one):
        if cell["names"] == "both" and cell["value"] is not None:
            head = HeadId(model, cell["layer"], cell["head"])
            name = a_id(head, snapshot, f"L{head.layer}H{head.head}")
            way = f"{cell['how']}, {cell['place']}"
            ways[way].append(Line(name, cell["value"], cell["low"], cell["high"], 0.0))
    titled = [
        (html("{}", way), sorted(lines, key=lambda line: -abs(line.value))[:_HEADS])
        for way, lines in ways.items()
    ]
    words = (
        "Change of the difference of logits between the two names when one head is ablated, with"
        " 95 % intervals: negative where the head helps. The tick is no change."
    )
    if titled:
        show(lines_plot(f"The {_HEADS} heads of the largest effect", words, titled))


def ioi_noise(one: StudyTable, model: str, snapshot: str) -> None:  # noqa: ARG001
    """How much of the difference stays when attention at S2 comes from a corrupted prompt."""
    ways: dict[str, list[Line]] = defaultdict(list)
    for cell in cells(one):
        if cell["names"] != "both" or cell["kept_clean"] is None:
            continue
        layers = ", ".join(map(str, cell["layers"]))
        start = "with" if cell["bos"] else "without"
        ends = cell["kept_clean_low"], cell["kept_clean_high"]
        line = Line(html("{}", cell["corruption"]), cell["kept_clean"], *ends, 1.0)
        ways[f"layers {layers}, {start} start token"].append(line)
    titled: list[tuple[Markup, list[Line]]] = [(html("{}", way), own) for way, own in ways.items()]
    words = (
        "Share of the clean difference of logits that stays, with 95 % intervals. Kept: the"
        " relation of the names is as before; broken: it is not. The tick is all of it."
    )
    if titled:
        show(lines_plot("What the layers know at S2", words, titled, "long"))
