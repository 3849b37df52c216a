"""Turn flows over the table of pieces into what people read: graphs and scores."""

import torch
from torch import Tensor

from atlas.ids import FeatureId, HeadId
from atlas.lens import qk, rdfa
from atlas.lens.pieces import ERROR, FEATURE, KINDS, vectors
from atlas.lens.qk import Scoring
from atlas.lens.rdfa import Target
from atlas.prompt_run import PromptRun
from atlas.prompt_types import Edge, Graph, Kind, Node, Pair, Piece, Score


def draw(
    run: PromptRun, feature: FeatureId, pos: int, target: Target, flow: rdfa.Graph, top: int
) -> Graph:
    """The strongest part of a flow: of each expanded feature its `top` pieces.

    Args:
        run: the prompt.
        feature: the target's feature.
        pos: its position.
        target: what the flow explains.
        flow: grown from the target.
        top: pieces to show of each expanded feature.
    """
    shown = _shown(flow, top)
    leaves = flow.leaves
    size = float(leaves.abs().sum()) + abs(flow.rest)
    root = Piece("feature", feature.sae.layer, pos, feature, run.act(feature, pos), target.value)
    nodes = [Node(_name(root), root, True)]
    pieces = {row: run.piece(row, float(flow.flow[row])) for row in sorted(shown)}
    nodes += [Node(_name(piece), piece, row in flow.rows) for row, piece in pieces.items()]
    names = {-1: _name(root), **{row: _name(piece) for row, piece in pieces.items()}}
    edges = [
        Edge(names[row], names[reader], value, float(flow.influence[n]) * value)
        for n, reader in enumerate(flow.rows)
        for row in pieces
        if (value := float(flow.direct[n, row])) != 0
    ]
    rows = torch.arange(len(leaves), device=leaves.device)
    return Graph(
        run.prompt,
        feature,
        pos,
        target.value,
        tuple(nodes),
        tuple(sorted(edges, key=lambda edge: -abs(edge.flow))),
        _by_kind(run, leaves, flow.rest),
        float(leaves[sorted(shown)].abs().sum()) / size if size else 0.0,
        run.share(leaves, rows, ERROR),
        size / abs(target.value) if target.value else 0.0,
        target.value - flow.rest - float(leaves.sum()),
        rdfa.FROZEN_RECURSIVE,
    )


def _shown(flow: rdfa.Graph, top: int) -> set[int]:
    through = (flow.influence[:, None] * flow.direct).abs()
    best = through.topk(min(top, through.shape[1]), dim=1)
    strongest = best.indices[best.values > 0].tolist()
    return set(strongest) | set(flow.rows[1:])


def _by_kind(run: PromptRun, leaves: Tensor, rest: float) -> tuple[tuple[Kind, float], ...]:
    sums = leaves.new_zeros(len(KINDS)).index_add(0, run.pieces.kind, leaves)
    found = [(kind, float(value)) for kind, value in zip(KINDS, sums, strict=True) if value != 0]
    return (*found, ("rest", rest))


def _name(piece: Piece) -> str:
    if piece.feature is not None:
        return f"{piece.feature}@{piece.pos}"
    return (
        f"{piece.kind}@{piece.pos}"
        if piece.layer is None
        else (f"{piece.kind}/{piece.layer}@{piece.pos}")
    )


def score(run: PromptRun, scoring: Scoring, head: HeadId, dst: int, src: int, top: int) -> Score:
    """One score taken apart.

    Args:
        run: the prompt.
        scoring: of the head.
        head: the head.
        dst: the position that looks.
        src: the position looked at.
        top: pairs and pieces to list.
    """
    taken, layer = run.internals, head.layer
    sides = [vectors(taken, run.layers, run.lenses, pos, layer) for pos in (dst, src)]
    rows = [torch.cat([side[0], side[0].new_tensor([-1])]) for side in sides]
    found = qk.pairs(scoring, taken, (layer, head.head), (dst, sides[0][1]), (src, sides[1][1]))
    raw, row = qk.scores(scoring, taken, layer)[dst], taken.pattern[layer, head.head, dst]
    kinds = [run.pieces.kind[side[0]] == FEATURE for side in sides]
    of_features = found.value[:-1, :-1][kinds[0]][:, kinds[1]]
    size = float(found.value.abs().sum())
    query, key = found.value.sum(1), found.value.sum(0)
    best = found.value.abs().flatten().topk(min(top, found.value.numel())).indices.tolist()
    width = found.value.shape[1]
    return Score(
        run.prompt,
        head,
        dst,
        src,
        float(raw[src]),
        float(row[src]),
        float(raw[src] - raw @ row),
        tuple(
            Pair(
                run.piece_or_bias(int(rows[0][n // width]), float(query[n // width])),
                run.piece_or_bias(int(rows[1][n % width]), float(key[n % width])),
                float(found.value.flatten()[n]),
            )
            for n in best
        ),
        run.strongest(query, top, rows[0]),
        run.strongest(key, top, rows[1]),
        run.strongest(found.contrast, top, rows[0]),
        float(of_features.sum()),
        float(of_features.abs().sum()) / size if size else 0.0,
        float(raw[src] - found.value.sum()),
        qk.FROZEN,
    )
