"""The attribution graph of a feature on a prompt, laid out here and drawn by graph.js."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
from markupsafe import Markup

from app.web.url import AtPrompt, at, link
from app.web.widgets.html import a, html, join, show
from app.web.widgets.pieces import Seen, label, onward, signed, word
from app.web.widgets.table import Column, table
from app.web.widgets.text import exact, fixed, percent, plain, sig, visible
from atlas.ids import ModelId
from atlas.prompt_types import Edge, Graph, Kind, Node, Piece

_COMPONENT = st.components.v2.component(
    "atlas_graph", js=Path(__file__).with_name("graph.js").read_text(), isolate_styles=False
)
_DEPTHS, _TOPS = (1, 2, 3, 4), (3, 5, 8, 15)
_KINDS = (Column("ends in", width="20em"), Column("flow", True, width="6em"), Column(""))


def show_graph(seen: Seen, graph: Graph) -> None:
    """The graph with its figures above and what it ends in below."""
    show(_above(seen, graph))
    _COMPONENT(data=data_of(seen, graph), key="graph")
    show(_below(graph))


def _above(seen: Seen, graph: Graph) -> Markup:
    place = seen.place
    ways = (
        ("steps back", place.depth, [replace(place, depth=n) for n in _DEPTHS], _DEPTHS),
        ("pieces of each", place.top, [replace(place, top=n) for n in _TOPS], _TOPS),
    )
    choices = join(_choice(*way, seen.snapshot) for way in ways)
    return html(
        '<div class="row far"><h2>The whole path</h2><span class="row">{}</span></div>'
        '<div class="figures"><span data-tip="{}">share explained by what is drawn <b>{}</b></span>'
        '<span data-tip="{}">SAE errors <b>{}</b></span>'
        '<span data-tip="{}">cancellation <b>{}×</b></span>'
        "<span>pre-activation <b>{}</b></span><span>residual <b>{}</b></span></div>"
        '<p class="small soft">Upwards: what wrote what. Each column is a token. A line is as'
        " wide as what flows along it to the feature on top; a dashed one takes away. What is no"
        " feature stands together by kind and token. Held fixed: {}.</p>",
        choices,
        "of the absolute flow, the part that ends in pieces drawn here",
        percent(graph.share_shown),
        "of the absolute flow, the part that SAE errors make",
        percent(graph.share_error),
        "absolute flow as a multiple of the value: how much cancels",
        sig(graph.cancellation, 2),
        fixed(graph.value, 4),
        f"{graph.residual:.1e}",
        ", ".join(graph.frozen),
    )


def _choice(
    words: str, now: int, places: Sequence[AtPrompt], numbers: Sequence[int], snapshot: str
) -> Markup:
    links = (
        a(place, str(n), snapshot, "chip on" if n == now else "chip")
        for place, n in zip(places, numbers, strict=True)
    )
    return html('<span class="row small"><span class="soft">{}</span>{}</span>', words, join(links))


def _below(graph: Graph) -> Markup:
    most = max((abs(flow) for _, flow in graph.by_kind), default=0.0)
    lines = (
        (_ENDS[kind], *signed(flow, most))
        for kind, flow in sorted(graph.by_kind, key=lambda pair: -abs(pair[1]))
    )
    return html(
        "<details><summary>What all of it ends in, drawn or not</summary>{}</details>",
        table(_KINDS, lines),
    )


_ENDS = {
    "embedding": "token embeddings",
    "position": "position embeddings",
    "mlp": "MLPs",
    "attention": "attention layers without SAE",
    "error": "SAE errors",
    "bias": "biases of attention layers and SAEs",
    "feature": "features that were not expanded",
    "rest": "biases on the way",
}


class Box(NamedTuple):
    """What is drawn as one: a feature, or all pieces of one kind at one token."""

    pieces: tuple[Piece, ...]
    """Strongest first."""
    expanded: bool = False

    @property
    def value(self) -> float:
        """Its flow to the target; of the target its pre-activation."""
        return sum(one.value for one in self.pieces)


def data_of(seen: Seen, graph: Graph) -> dict[str, Any]:
    """What graph.js draws: boxes on a grid of token columns and depth rows, and lines."""
    belongs = {node.id: _box_id(node) for node in graph.nodes}
    boxes = boxes_of(graph)
    spots = places(boxes)
    columns = sorted({box.pieces[0].pos or 0 for box in boxes.values()})
    flows = _flows(graph.edges, belongs)
    most = max((abs(flow) for flow, _ in flows.values()), default=1.0)
    return {
        "columns": [f"{visible(graph.prompt.tokens[pos])} {pos}" for pos in columns],
        "rows": max(row for _, row in spots.values()) + 1,
        "nodes": [
            _node(seen, graph, name, box, spots[name], belongs) for name, box in boxes.items()
        ],
        "edges": [
            _edge(ends, flow / most if most else 0.0, flow, value)
            for ends, (flow, value) in flows.items()
        ],
    }


def boxes_of(graph: Graph) -> dict[str, Box]:
    """The target first; pieces that are no features join those of their kind and token."""
    members: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        members[_box_id(node)].append(node)
    return {
        name: Box(
            tuple(sorted((one.piece for one in own), key=lambda piece: -abs(piece.value))),
            own[0].expanded,
        )
        for name, own in members.items()
    }


def _box_id(node: Node) -> str:
    return node.id if node.piece.feature else f"{node.piece.kind}@{node.piece.pos}"


def _flows(
    edges: Sequence[Edge], belongs: Mapping[str, str]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Flow to the target and value given, by the boxes at both ends."""
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for edge in edges:
        ends = belongs[edge.src], belongs[edge.dst]
        flow, value = sums.get(ends, (0.0, 0.0))
        sums[ends] = flow + edge.flow, value + edge.value
    return sums


_BELOW: tuple[Kind, ...] = ("error", "bias", "attention", "mlp", "position", "embedding", "rest")


def places(boxes: Mapping[str, Box]) -> dict[str, tuple[int, int]]:
    """Column and row of each box: features by layer from the top, then what is not expanded."""
    columns = sorted({box.pieces[0].pos or 0 for box in boxes.values()})
    cells: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, box in sorted(boxes.items(), key=lambda pair: -abs(pair[1].value)):
        first = box.pieces[0]
        cells[_depth(first), columns.index(first.pos or 0)].append(name)
    spots, top = {}, 0
    for depth in sorted({depth for depth, _ in cells}):
        stacks = {column: names for (at_, column), names in cells.items() if at_ == depth}
        for column, names in stacks.items():
            spots.update({name: (column, top + n) for n, name in enumerate(names)})
        top += max(map(len, stacks.values()))
    return spots


def _depth(piece: Piece) -> int:
    return _BELOW.index(piece.kind) if piece.feature is None else -1 - (piece.layer or 0)


def _node(
    seen: Seen,
    graph: Graph,
    name: str,
    box: Box,
    spot: tuple[int, int],
    belongs: Mapping[str, str],
) -> dict[str, Any]:
    piece, target = box.pieces[0], name == belongs[graph.nodes[0].id]
    feature = piece.feature
    return {
        "id": name,
        "at": spot,
        "name": plain(_name(box)),
        "label": plain(label(seen, piece) if feature else ""),
        "value": fixed(box.value, 3),
        "kind": piece.kind,
        "target": target,
        "href": _href(seen, piece),
        "on": link(onward(seen, piece), seen.snapshot) if feature and not target else "",
        "tip": plain("\n".join(_tip(seen, graph, box, target))),
    }


def _name(box: Box) -> str:
    """The box's kind with its layers, or the feature's short id."""
    piece, layers = box.pieces[0], [one.layer for one in box.pieces if one.layer is not None]
    if piece.feature is not None or len(layers) < 2:
        return word(piece)
    return f"{_SEVERAL[piece.kind]} {min(layers)}–{max(layers)}"


_SEVERAL = {"mlp": "MLPs", "attention": "attention", "error": "SAE errors", "bias": "biases"}
_LISTED = 12


def _tip(seen: Seen, graph: Graph, box: Box, target: bool) -> list[str]:
    piece = box.pieces[0]
    lines = [f"{_name(box)} {label(seen, piece)}".strip()]
    if piece.pos is not None:
        lines.append(f"on {exact(graph.prompt.tokens[piece.pos])}, position {piece.pos}")
    if piece.act is not None:
        lines.append(f"activation {fixed(piece.act, 4)}")
    lines.append(f"{'pre-activation' if target else 'flow to the target'} {fixed(box.value, 4)}")
    if len(box.pieces) > 1:
        lines += [f"  {word(one)}  {fixed(one.value, 4)}" for one in box.pieces[:_LISTED]]
        rest = box.pieces[_LISTED:]
        lines += [f"  {len(rest)} more  {fixed(sum(r.value for r in rest), 4)}"] * bool(rest)
    if piece.feature and not box.expanded:
        lines.append("not expanded further")
    return lines


def _href(seen: Seen, piece: Piece) -> str:
    if piece.feature is not None:
        return link(at(piece.feature), seen.snapshot)
    return link(at(ModelId(seen.prompt.model)), seen.snapshot) if piece.kind == "attention" else ""


def _edge(ends: tuple[str, str], share: float, flow: float, value: float) -> dict[str, Any]:
    return {
        "from": ends[0],
        "to": ends[1],
        "share": abs(share),
        "minus": flow < 0,
        "tip": f"gives {fixed(value, 4)} there\nflow to the target {fixed(flow, 4)}",
    }
