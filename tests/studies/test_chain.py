"""Recursive DFA on a model set by hand: the chain of features that was planted is the one found."""

import torch

from atlas.ids import FeatureId, SaeId
from atlas.lens.sae import Sae
from atlas.prompt import Explorer
from tests.studies.planted import SIZE, a_planted, relaying, words

TEXT = " Mary went to the store"
NOTES, FETCHED = (SaeId("planted", layer, "known") for layer in (0, 1))


def a_dictionary(threshold: float) -> Sae:
    """One feature a token, read from what the first head brings: index = token."""
    rows = torch.zeros(SIZE, 2 * (2 * SIZE + 8))
    rows[:, :SIZE] = torch.eye(SIZE)
    none = torch.zeros(SIZE)
    return Sae(rows, none, rows, torch.zeros(rows.shape[1]), torch.full((SIZE,), threshold))


def an_explorer() -> Explorer:
    known = {NOTES: a_dictionary(0.5), FETCHED: a_dictionary(0.5)}
    return Explorer(a_planted(relaying), list(known), known.__getitem__, 48)


def test_the_planted_chain_of_features_is_found_link_by_link():
    explorer, mary = an_explorer(), words().index(" Mary")
    late, early = FeatureId(FETCHED, mary), FeatureId(NOTES, mary)
    trace = explorer.trace(TEXT, late)
    assert (trace.pos, trace.prompt.tokens[trace.pos]) == (4, " the")
    assert max(trace.sources, key=lambda one: one.dfa).pos == 2
    assert abs(trace.heads[1]) < 1e-5
    step = explorer.step(TEXT, late, 4, 2)
    first = step.pieces[0]
    assert (first.kind, first.feature, first.pos) == ("feature", early, 2)
    assert first.value > 0.95 * step.total
    below = explorer.trace(TEXT, early, 2)
    assert max(below.sources, key=lambda one: one.dfa).pos == 1
    assert explorer.step(TEXT, early, 2, 1).pieces[0].kind == "embedding"


def test_the_graph_of_the_planted_chain_ends_in_the_token_it_began_with():
    explorer, mary = an_explorer(), words().index(" Mary")
    graph = explorer.graph(TEXT, FeatureId(FETCHED, mary), depth=1, top=2)
    middle, *others = (node.piece for node in graph.nodes[1:] if node.expanded)
    assert (middle.feature, middle.pos) == (FeatureId(NOTES, mary), 2)
    assert all(abs(one.value) < 1e-6 for one in others)
    leaf = max((one for one in graph.nodes[1:] if not one.expanded), key=lambda n: n.piece.value)
    assert (leaf.piece.kind, leaf.piece.pos) == ("embedding", 1)
    assert leaf.piece.value > 0.95 * graph.value
    assert abs(graph.residual) < 1e-4
