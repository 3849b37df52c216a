"""Recursive DFA adds up to the pre-activation, one step or many, on every family."""

import torch

from atlas.lens.dfa import head_dfa, source_dfa
from atlas.lens.logits import logit_target
from atlas.lens.pieces import FEATURE
from atlas.lens.rdfa import Target, feature_target, grow
from atlas.lens.sae import pre_activations
from tests.lens.conftest import Prompt, a_prompt, close


def target_of(prompt: Prompt, layer: int, feature: int, pos: int) -> Target:
    sae, kv_head = prompt.saes[layer], prompt.model.kv_head
    return feature_target(prompt.internals, prompt.layers[layer], kv_head, layer, sae, feature, pos)


def graph_of(prompt: Prompt, target: Target, rounds: int, top: int):
    def expand(targets):
        return torch.cat([prompt.give(t.read[None], t.layer) for t in targets])

    def of_row(row):
        layer, feature, pos = (
            int(getattr(prompt.pieces, p)[row]) for p in ("layer", "feature", "pos")
        )
        return target_of(prompt, layer, feature, pos)

    return grow(target, prompt.pieces, expand, of_row, rounds=rounds, top=top)


def test_one_step_sums_to_the_pre_activation_that_the_sae_computes(prompt):
    sae, z = prompt.saes[2], prompt.internals.z[2].flatten(1)
    for feature, pos in ((0, 11), (7, 5), (39, 0)):
        target = target_of(prompt, 2, feature, pos)
        assert close(target.value, pre_activations(sae, z)[pos, feature], 1.0)
        given = prompt.give(target.read[None], 2)
        total = given.sum() + target.const.sum() + target.bias
        assert close(total, target.value, given.abs().sum())


def test_what_a_source_gives_is_the_sum_of_its_pieces(prompt):
    target, pos = target_of(prompt, 2, 3, 11), 11
    given = prompt.give(target.read[None], 2)[0]
    taken, w = prompt.internals, prompt.saes[2].w_enc[3][None]
    by_source = source_dfa(
        taken.pattern[2, :, pos][None], taken.v[2][None], w, prompt.model.kv_head
    )
    summed = target.const.index_add(0, prompt.pieces.pos, given)
    assert close(summed, by_source[0].sum(0), given.abs().sum())
    assert close(by_source.sum(-1), head_dfa(taken.z[2, pos][None], w), given.abs().sum())


def test_expanding_features_over_and_over_keeps_the_sum(prompt):
    target = target_of(prompt, 2, 5, 11)
    for rounds, top in ((1, 1), (2, 5), (3, 20)):
        graph = graph_of(prompt, target, rounds, top)
        assert len(graph.rows) == 1 + rounds * top
        total = graph.leaves.sum() + graph.rest
        assert close(total, target.value, graph.leaves.abs().sum())


def test_expanding_every_feature_leaves_only_embeddings_mlps_errors_and_biases():
    prompt = a_prompt("gemma2")
    target = target_of(prompt, 2, 5, 11)
    graph = graph_of(prompt, target, 1, 10_000)
    features = prompt.pieces.kind == FEATURE
    assert not graph.leaves[features].any()
    assert graph.flow[features].any()
    assert close(graph.leaves.sum() + graph.rest, target.value, graph.leaves.abs().sum())


def test_the_flow_through_a_feature_is_its_activation_times_its_influence():
    prompt = a_prompt("llama")
    graph = graph_of(prompt, target_of(prompt, 2, 5, 11), 1, 3)
    for n, row in enumerate(graph.rows[1:], start=1):
        act = float(prompt.pieces.act[row])
        assert close(graph.flow[row], float(graph.influence[n]) * act)
        own = graph.direct[n].sum() + graph.const[n]
        assert close(own, act, graph.direct[n].abs().sum())


def test_later_positions_give_nothing():
    prompt = a_prompt("llama")
    graph = graph_of(prompt, target_of(prompt, 2, 5, 6), 1, 3)
    assert not graph.flow[prompt.pieces.pos > 6].any()


def test_logits_are_the_sum_of_what_the_pieces_give(prompt):
    for token, pos in ((3, 11), (200, 0)):
        column, bias = prompt.model.unembed(torch.tensor([token]))
        norm, taken = prompt.model.final_norm, prompt.internals
        target = logit_target(taken, norm, column[0], float(bias), token, pos)
        given = prompt.give(target.read[None], 3)
        total = given.sum() + target.const.sum() + target.bias
        assert close(total, target.value, given.abs().sum())
        assert not given[0, prompt.pieces.pos != pos].any()
