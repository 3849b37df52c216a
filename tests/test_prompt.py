"""Exploring a prompt: numbers that add up, edits that do what they say, bad input as an error."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict

import pytest
import torch

from atlas.errors import AtlasError, BundleError, ModelError, NotFound, QueryError
from atlas.ids import FeatureId, HeadId, SaeId
from atlas.lens.sae import Sae, encode, pre_activations
from atlas.model import load
from atlas.prompt import Explorer
from atlas.prompt_run import MAX_CHARACTERS
from atlas.prompt_types import Edit
from tests.lens.conftest import a_sae
from tests.models import BOS, VOCAB, a_folder, a_model

TEXT = "the cat sat on the mat"
IDS = [SaeId("tiny-llama", 0, "a"), SaeId("tiny-llama", 2, "a"), SaeId("tiny-llama", 2, "b")]
FEATURE = FeatureId(IDS[0], 3)
SAES = {id: a_sae(32, seed=n, k=6 * (id.set == "b")) for n, id in enumerate(IDS)}


def weights(id: SaeId) -> Sae:
    if id.set == "absent":
        raise BundleError(f"no weights of {id} on this machine", "copy them")
    return SAES[id]


def an_explorer(family: str = "llama", *more: SaeId, max_tokens: int = 64) -> Explorer:
    return Explorer(a_model(family), [*IDS, *more], weights, max_tokens)


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    return an_explorer()


def z_of(explorer: Explorer, text: str, layer: int) -> torch.Tensor:
    tokens = torch.tensor([[BOS, *explorer.model.tokenise(text)]])
    return explorer.model.z(tokens, [layer])[layer][0].flatten(1)


def strongest(explorer: Explorer, sae: SaeId = IDS[1]) -> FeatureId:
    return max(explorer.features(TEXT, set=sae.set).layers[-1].firings, key=lambda f: f.act).feature


def test_features_are_what_the_sae_says_of_z(explorer):
    found = explorer.features(TEXT, top=1000)
    assert found.prompt.tokens[0] == "<s>"
    assert "".join(found.prompt.tokens[1:]) == TEXT
    assert [layer.sae for layer in found.layers] == IDS[:2]
    for layer in found.layers:
        acts = encode(SAES[layer.sae], z_of(explorer, TEXT, layer.sae.layer))
        assert layer.l0 == tuple((acts > 0).sum(1).tolist())
        assert sum(layer.l0) == len(layer.firings)
        for firing in layer.firings:
            assert firing.act == pytest.approx(float(acts[firing.pos, firing.feature.index]))


def test_the_activations_of_one_feature_are_what_the_sae_says(explorer):
    acts = explorer.acts(TEXT, FEATURE)
    expected = encode(SAES[IDS[0]], z_of(explorer, TEXT, 0))[:, FEATURE.index]
    assert acts == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_pattern_has_one_row_per_position_that_sums_to_one(explorer):
    head = HeadId("tiny-llama", 1, 2)
    pattern = explorer.pattern(TEXT, head)
    assert [len(row) for row in pattern.rows] == list(range(1, len(pattern.prompt.ids) + 1))
    assert [sum(row) for row in pattern.rows] == pytest.approx([1.0] * len(pattern.rows))
    assert explorer.qk(TEXT, 1, 2, 3, 1).pattern == pytest.approx(pattern.rows[3][1])
    with pytest.raises(NotFound):
        explorer.pattern(TEXT, HeadId("tiny-llama", 1, 99))


def test_only_the_strongest_firings_of_each_position_are_listed(explorer):
    few, all = explorer.features(TEXT, top=2), explorer.features(TEXT, top=1000)
    for short, long in zip(few.layers, all.layers, strict=True):
        for pos in range(len(few.prompt.ids)):
            acts = [f.act for f in long.firings if f.pos == pos]
            assert acts == sorted(acts, reverse=True)
            assert [f.act for f in short.firings if f.pos == pos] == acts[:2]


def test_the_set_asked_for_is_preferred_and_others_fill_in(explorer):
    assert [layer.sae for layer in explorer.features(TEXT, set="b").layers] == [IDS[0], IDS[2]]


def test_token_ids_are_run_as_they_are(explorer):
    ids = explorer.features(TEXT).prompt.ids
    again = explorer.features(ids)
    assert not again.prompt.bos
    assert again.layers == explorer.features(TEXT).layers


def test_a_trace_sums_to_the_pre_activation_by_heads_and_by_sources(explorer):
    feature = strongest(explorer)
    trace = explorer.trace(TEXT, str(feature))
    pre = pre_activations(SAES[feature.sae], z_of(explorer, TEXT, 2))[:, feature.index]
    assert trace.pos == int(pre[1:].argmax()) + 1  # position 0 is the attention sink
    assert trace.pre == pytest.approx(float(pre[1:].max()), abs=1e-4)
    assert trace.act == pytest.approx(explorer.acts(TEXT, str(feature))[trace.pos], abs=1e-4)
    assert trace.bias + sum(trace.heads) == pytest.approx(trace.pre, abs=1e-5)
    assert trace.bias + sum(s.dfa for s in trace.sources) == pytest.approx(trace.pre, abs=1e-4)
    assert abs(trace.residual) < 1e-4
    assert [s.pos for s in trace.sources] == list(range(trace.pos + 1))
    assert trace.frozen


def test_a_step_sums_to_what_the_source_gave(explorer):
    feature = strongest(explorer)
    trace = explorer.trace(TEXT, feature)
    for source in trace.sources:
        step = explorer.step(TEXT, feature, trace.pos, source.pos, top=5)
        assert step.total == pytest.approx(source.dfa, abs=1e-5)
        assert len(step.pieces) == 6
        total = step.const + sum(piece.value for piece in step.pieces)
        assert total == pytest.approx(step.total, abs=1e-4)
        assert 0 < step.share_error < 1
        assert all(piece.pos == source.pos for piece in step.pieces[:-1])


def test_a_graph_accounts_for_the_whole_value(explorer):
    graph = explorer.graph(TEXT, strongest(explorer), depth=2, top=3)
    assert sum(value for _, value in graph.by_kind) == pytest.approx(graph.value, abs=1e-4)
    assert abs(graph.residual) < 1e-4
    assert sum(node.expanded for node in graph.nodes) == 7
    assert 0 < graph.share_shown < 1
    assert 0 < graph.share_error < 1
    assert graph.cancellation >= 1
    names = {node.id for node in graph.nodes}
    assert {edge.src for edge in graph.edges} | {edge.dst for edge in graph.edges} <= names
    for node in graph.nodes[1:]:
        if not node.expanded:
            ways = [edge.flow for edge in graph.edges if edge.src == node.id]
            assert sum(ways) == pytest.approx(node.piece.value, abs=1e-4)


def test_a_graph_through_several_layers_adds_up_however_far_it_goes():
    ids = [SaeId("tiny-gpt2", layer, "c") for layer in range(3)]
    explorer = Explorer(a_model("gpt2"), ids, lambda id: a_sae(32, seed=id.layer))
    feature = explorer.features(TEXT).layers[2].firings[-1].feature
    last = len(explorer.features(TEXT).prompt.ids) - 1
    for depth, top in ((1, 25), (2, 25), (4, 25)):
        graph = explorer.graph(TEXT, feature, last, depth, top)
        assert {n.piece.layer for n in graph.nodes if n.expanded} == {0, 1, 2}
        assert abs(graph.residual) < 1e-4 * graph.cancellation * abs(graph.value)


def test_every_sae_layer_of_the_root_uses_the_roots_own_sae(explorer):
    feature = strongest(explorer, IDS[2])
    assert feature.sae == IDS[2]
    assert explorer.trace(TEXT, feature).act > 0


def test_a_score_sums_over_pairs_and_sides(explorer):
    whole = explorer.qk(TEXT, 2, 1, dst=5, src=3, top=100_000)
    assert sum(pair.value for pair in whole.pairs) == pytest.approx(whole.score, abs=1e-3)
    for side in (whole.query, whole.key):
        assert sum(piece.value for piece in side) == pytest.approx(whole.score, abs=1e-3)
    assert sum(p.value for p in whole.standing_out) == pytest.approx(whole.contrast, abs=1e-3)
    few = explorer.qk(TEXT, 2, 1, dst=5, src=3, top=4)
    assert few.pairs == whole.pairs[:4]
    assert len(few.query) == 5
    pairs = [p for p in whole.pairs if p.query.kind == p.key.kind == "feature"]
    assert sum(p.value for p in pairs) == pytest.approx(whole.from_features, abs=1e-3)
    assert 0 < whole.share_features < 1


def test_scores_make_the_pattern(explorer):
    scores = [explorer.qk(TEXT, 1, 2, dst=4, src=src) for src in range(5)]
    total = sum(math.exp(score.score) for score in scores)
    for score in scores:
        assert score.pattern == pytest.approx(math.exp(score.score) / total, abs=1e-5)
    assert sum(s.contrast * s.pattern for s in scores) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi"])
def test_a_logit_sums_over_its_pieces(family):
    explorer = Explorer(a_model(family), [], weights)
    logit = explorer.logit(TEXT, top=7)
    total = logit.const + sum(piece.value for piece in logit.pieces)
    assert total == pytest.approx(logit.value, abs=1e-3)
    tokens = torch.tensor([[BOS, *explorer.model.tokenise(TEXT)]])
    real = explorer.model.logits(tokens)[0, -1]
    assert logit.token == int(real.argmax())
    if family != "gemma2":  # which caps its logits
        assert logit.value == pytest.approx(float(real.max()), abs=1e-4)


def test_ablating_a_feature_is_taking_its_direction_out_of_z(explorer):
    feature = strongest(explorer)
    acts = encode(SAES[feature.sae], z_of(explorer, TEXT, 2))[:, feature.index]
    direction = SAES[feature.sae].w_dec[feature.index]
    tokens = torch.tensor([[BOS, *explorer.model.tokenise(TEXT)]])

    def without(z: torch.Tensor) -> torch.Tensor:
        return (z.flatten(2) - acts[None, :, None] * direction).view_as(z)

    by_hand = explorer.model.losses(tokens, {2: without})[0]
    found = explorer.ablate(TEXT, [Edit(feature, "zero")])
    assert found.loss_after == pytest.approx(by_hand.tolist(), abs=1e-4)
    assert found.loss_before == pytest.approx(explorer.model.losses(tokens)[0].tolist(), abs=1e-4)
    assert found.kl > 0
    assert found.downstream == ()


def test_zeroing_a_head_changes_later_features_and_the_next_token(explorer):
    edits = [Edit(HeadId("tiny-llama", 0, 1), "zero")]
    found = explorer.ablate(TEXT, edits, top=5)
    tokens = torch.tensor([[BOS, *explorer.model.tokenise(TEXT)]])

    def without(z: torch.Tensor) -> torch.Tensor:
        z = z.clone()
        z[:, :, 1] = 0
        return z

    logits, z = explorer.model.run(tokens, [2], {0: without})
    after = encode(SAES[IDS[1]], z[2][0].flatten(1))
    assert len(found.downstream) == 5
    for change in found.downstream:
        assert change.after == pytest.approx(float(after[change.pos, change.feature.index]))
        assert change.before != change.after
    for token in found.tokens:
        assert token.after == pytest.approx(float(logits[0, -1].softmax(-1)[token.token]), abs=1e-6)


def test_edits_that_change_nothing_change_nothing(explorer):
    edits = [
        Edit(strongest(explorer), "scale", 1.0),
        Edit(HeadId("tiny-llama", 1, 0), "resample", reference=TEXT),
        Edit(FEATURE, "resample", reference=TEXT),
    ]
    found = explorer.ablate(TEXT, edits)
    assert found.loss_after == pytest.approx(found.loss_before, abs=1e-5)
    assert found.kl == pytest.approx(0, abs=1e-5)


def test_an_edit_at_one_position_leaves_earlier_losses_alone(explorer):
    edit = Edit(HeadId("tiny-llama", 0, 1), "scale", 3.0, positions=(4, 4))
    found = explorer.ablate(TEXT, [edit], pos=5)
    assert found.loss_after[:4] == found.loss_before[:4]
    assert found.loss_after[4] != found.loss_before[4]
    once, twice = (
        explorer.ablate(TEXT, [Edit(FEATURE, "set", 2.0, pos)]) for pos in ((4,), (4, 4))
    )
    assert once.loss_after == twice.loss_after


def test_the_mean_is_that_of_the_reference_text_without_its_first_token(explorer):
    other = "john gave a drink to mary"
    for reference, text in ((other, other), (None, TEXT)):
        mean = float(encode(SAES[IDS[0]], z_of(explorer, text, 0))[1:, 3].mean())
        by_mean = explorer.ablate(TEXT, [Edit(FEATURE, "mean", reference=reference)])
        by_hand = explorer.ablate(TEXT, [Edit(FEATURE, "set", mean)])
        assert by_mean.loss_after == pytest.approx(by_hand.loss_after, abs=1e-5)
        assert by_mean.kl > 0


def test_comparing_shows_each_features_strongest_firing_on_either_side(explorer):
    other = "john gave a drink to mary"
    found = explorer.compare(TEXT, other, top=1000)
    acts = [encode(SAES[IDS[1]], z_of(explorer, text, 2))[1:] for text in (TEXT, other)]
    for one in found.features:
        if one.feature.sae == IDS[1]:
            index = one.feature.index
            expected = [float(side[:, index].max()) for side in acts]
            assert [one.a, one.b] == pytest.approx(expected, abs=1e-5)
            assert (one.a_pos is None) == (one.a == 0)
    gaps = [abs(one.a - one.b) for one in found.features]
    assert gaps == sorted(gaps, reverse=True)
    assert explorer.compare(TEXT, TEXT).features[0].a == explorer.compare(TEXT, TEXT).features[0].b


def test_answers_are_plain_enough_for_json(explorer):
    feature = strongest(explorer)
    answers = [
        explorer.features(TEXT),
        explorer.trace(TEXT, feature),
        explorer.step(TEXT, feature, 5, 2),
        explorer.graph(TEXT, feature),
        explorer.qk(TEXT, 2, 0, 4, 4),
        explorer.logit(TEXT),
        explorer.ablate(TEXT, [Edit(feature, "zero")]),
        explorer.compare(TEXT, "a drink"),
    ]
    for answer in answers:
        json.dumps(asdict(answer), allow_nan=False)
        hash(answer)


def test_one_token_is_a_prompt(explorer):
    assert explorer.features([5]).layers[0].fvu is None
    assert explorer.trace([5], FEATURE).sources[0].pos == 0
    assert explorer.ablate([5], [Edit(FEATURE, "mean")]).loss_before == ()
    assert explorer.qk([5], 1, 0, 0, 0).contrast == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "prompt is empty"),
        ([], "prompt is empty"),
        ("cat " * 100, r"\d+ tokens, the limit is 64"),
        ("x" * 10_000_000, rf"10000000 characters, the limit is {MAX_CHARACTERS}"),
        ("a\x00b", r"character 1 is the control character U\+0000"),
        ("a\ud800", r"character 1 is the control character U\+D800"),
        ([3, VOCAB], f"token {VOCAB} is outside the vocabulary"),
        ([-1], "token -1 is outside the vocabulary"),
        (["a"], "token 'a' is outside the vocabulary"),
    ],
)
def test_a_bad_prompt_is_refused_with_the_reason(explorer, text, message):
    for call in (
        lambda: explorer.features(text),
        lambda: explorer.graph(text, FEATURE),
        lambda: explorer.compare(TEXT, text),
        lambda: explorer.ablate(TEXT, [Edit(FEATURE, "mean", reference=text)]),
    ):
        with pytest.raises(QueryError, match=message):
            call()


@pytest.mark.parametrize("text", ["tab\there\nand\r\nthere", "🙂 שלום é", "<s></s>", " "])
def test_unusual_text_is_run(explorer, text):
    assert explorer.features(text).layers


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: e.trace(TEXT, "gpt2/5-kk/1"), NotFound, "belongs to another model"),
        (lambda e: e.trace(TEXT, "tiny-llama/2-a/40"), NotFound, "features 0 to 39"),
        (lambda e: e.trace(TEXT, "tiny-llama/1-a/4"), NotFound, "no SAE tiny-llama/1-a"),
        (lambda e: e.trace(TEXT, "nonsense/"), NotFound, "not an id"),
        (lambda e: e.trace(TEXT, FEATURE, 99), QueryError, "no position 99"),
        (lambda e: e.trace(TEXT, FEATURE, -1), QueryError, "no position -1"),
        (lambda e: e.step(TEXT, FEATURE, 2, 3), QueryError, "position 3 comes after 2"),
        (lambda e: e.graph(TEXT, FEATURE, depth=9), QueryError, "depth is 0 to 4"),
        (lambda e: e.graph(TEXT, FEATURE, top=0), QueryError, "top 1 to 25"),
        (lambda e: e.features(TEXT, top=-1), QueryError, "top -1 cannot be listed"),
        (lambda e: e.features(TEXT, set="z"), NotFound, "no SAE set z. there are a, b"),
        (lambda e: e.qk(TEXT, 7, 0, 1, 1), ModelError, "no layer 7"),
        (lambda e: e.qk(TEXT, 1, 4, 1, 1), ModelError, "no head 4"),
        (lambda e: e.qk(TEXT, 1, 0, 1, 2), QueryError, "position 2 comes after 1"),
        (lambda e: e.logit(TEXT, token=VOCAB), QueryError, "outside the vocabulary"),
        (lambda e: e.logit(TEXT, pos=50), QueryError, "no position 50"),
        (lambda e: e.ablate(TEXT, []), QueryError, "nothing to ablate"),
        (lambda e: edit(e, HeadId("tiny-llama", 0, 9), "zero"), NotFound, "no head"),
        (lambda e: edit(e, HeadId("tiny-llama", 0, 1), "set"), QueryError, "no single value"),
        (lambda e: edit(e, FEATURE, "resample"), QueryError, "needs a reference"),
        (lambda e: edit(e, FEATURE, "kill"), QueryError, "unknown edit 'kill'"),
        (lambda e: edit(e, FEATURE, "set", value=math.nan), QueryError, "the value nan"),
        (lambda e: edit(e, FEATURE, "zero", positions=(70,)), QueryError, "no position 70"),
        (lambda e: edit(e, FEATURE, "zero", positions=()), QueryError, "has no position"),
        (lambda e: edit(e, FEATURE, "resample", reference="a"), QueryError, "longer one"),
    ],
)
def test_a_bad_question_is_refused_with_the_reason(explorer, call, error, message):
    with pytest.raises(error, match=message):
        call(explorer)


def edit(explorer: Explorer, target: FeatureId | HeadId, how: str, **more: object) -> None:
    explorer.ablate(TEXT, [Edit(target, how, **more)])


def test_an_sae_without_weights_is_named_and_the_others_go_on():
    absent = SaeId("tiny-llama", 1, "absent")
    explorer = an_explorer("llama", absent)
    found = explorer.features(TEXT)
    assert [layer.sae.layer for layer in found.layers] == [0, 2]
    assert found.missing == (f"no weights of {absent} on this machine. copy them",)
    with pytest.raises(BundleError, match="no weights of tiny-llama/1-absent"):
        explorer.trace(TEXT, FeatureId(absent, 0))


def test_an_sae_of_another_width_is_refused():
    explorer = Explorer(a_model("llama"), IDS[:1], lambda _: a_sae(16))
    with pytest.raises(ModelError, match="does not fit"):
        explorer.trace(TEXT, FEATURE)


def test_saes_of_other_models_are_passed_over():
    assert an_explorer("llama", SaeId("gpt2", 0, "kk")).saes == tuple(IDS)


def test_a_model_that_is_not_in_float32_or_does_not_decompose_is_refused(tmp_path):
    half = load(str(a_folder(tmp_path / "tiny")), device="cpu", dtype="bfloat16")
    with pytest.raises(ModelError, match="bfloat16.*float32"):
        Explorer(half, [], weights)
    with pytest.raises(ModelError, match="not pattern times values"):
        Explorer(a_model("bitnet"), [], weights)


def test_scores_of_a_family_with_other_positions_are_refused_by_name():
    explorer = Explorer(a_model("bloom"), [], weights)
    with pytest.raises(ModelError, match=r"bloom.*query times key"):
        explorer.qk(TEXT, 0, 3, 5, 1)
    assert explorer.logit(TEXT).pieces


def test_many_threads_get_the_answers_of_one(explorer):
    texts = [TEXT, "a drink", "seven", "the dog sat", "one two three", "mary"]
    alone = [explorer.features(text) for text in texts]
    busy = an_explorer()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(busy.features, texts * 3)) == alone * 3


def test_no_text_makes_anything_but_an_answer_or_an_atlas_error(explorer):
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        points = torch.randint(0, 0x11000, (12,), generator=generator).tolist()
        with suppress(AtlasError):
            explorer.features("".join(map(chr, points)))


def test_a_graph_can_leave_the_first_position_alone(explorer):
    feature = strongest(explorer)
    whole = explorer.graph(TEXT, feature, 5, depth=3, top=25)
    left = explorer.graph(TEXT, feature, 5, depth=3, top=25, skip_start=True)
    assert any(node.expanded and node.piece.pos == 0 for node in whole.nodes)
    assert not any(node.expanded and node.piece.pos == 0 for node in left.nodes)
    assert abs(left.residual) < 1e-3 * max(1.0, abs(left.value))
