"""Prefix induction: planted heads are classed right, events and breaks are counted by hand."""

import pytest
import torch

from atlas.api import Atlas
from atlas.ids import FeatureId, SaeId
from atlas.model.probe import attended
from atlas.store.prefix import LedFeature
from atlas.store.publish import publish
from ingest.studies.names import STUDIES
from ingest.studies.prefix import read_again, spoil
from ingest.studies.prefix_class import CLASSES, Classed, classify
from ingest.studies.prefix_compare import compare, labels, wording
from ingest.studies.prefix_synthetic import score, sequences
from ingest.studies.prefix_tables import Key
from ingest.studies.prefix_text import (
    Break,
    Event,
    elsewhere,
    first_events,
    pairs,
    plan,
    prefix_lengths,
    same_as,
)
from ingest.studies.study import run_study
from tests.studies.planted import a_planted, inducing


def a_draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_sequence_repeats_its_prefix_and_nothing_else():
    drawn = sequences(50, 3, 48, torch.arange(5, 144), 0, a_draw())
    for tokens, dst, src in zip(*drawn, strict=True):
        assert tokens[dst - 2 : dst + 1].tolist() == tokens[src - 3 : src].tolist()
        assert tokens[dst - 3] != tokens[src - 4]
        assert tokens[dst + 1] != tokens[src]
        assert len(tokens.unique()) == 48 - 3
        assert tokens[0] == 0
        assert src < dst < 48


def test_planted_heads_are_classed_by_how_many_tokens_they_match():
    model = a_planted(inducing)
    found = {
        length: score(
            model,
            sequences(12, length, 48, model.ordinary_tokens(), 0, a_draw()),
            [0, 1],
            12,
        )
        for length in (1, 2, 6)
    }
    classed = classify({length: one.attention for length, one in found.items()}, a_draw())
    named = [[CLASSES[kind] for kind in layer] for layer in classed.kind.tolist()]
    assert named == [["none", "none"], ["short-prefix", "long-prefix"]]
    assert found[2].attention[:, 1, 1].min() > 0.99, "two tokens are enough for the second head"
    assert classed.one.value[1, 1] < 0.01
    assert (found[6].logit[:, 1] > 5).all()
    assert (found[6].logit[:, 0].abs() < 1e-3).all()


def test_the_logit_of_a_head_is_what_removing_it_takes_away_with_the_scale_frozen():
    model = a_planted(inducing)
    drawn = sequences(3, 2, 48, model.ordinary_tokens(), 0, a_draw())
    own = score(model, drawn, [1], 3).logit[:, 0]
    seen, rows = attended(model, drawn.tokens, [1]), torch.arange(3)
    w_o, scale = model.w_o(1), seen.final_scale[rows, drawn.dst]
    for head in (0, 1):
        out = seen.layers[1].z[rows, drawn.dst, head] @ w_o[head]
        logits = model.final_norm.apply(out, scale) @ model.bridge.W_U
        centred = logits[rows, drawn.tokens[rows, drawn.src]] - logits.mean(1)
        torch.testing.assert_close(own[:, head], centred)


def test_prefixes_are_counted_backwards_without_case_and_spaces():
    same = same_as([" The", "cat", "the", " sat", "\n", " "])
    assert same[0] == same[2]
    assert same[4] != same[5]
    tokens = torch.tensor([[9, 0, 1, 3, 2, 1, 3]])  # start, The cat sat the cat sat
    classes = torch.where(tokens == 9, 99, same[tokens.clamp(max=5)])
    lengths = prefix_lengths(classes, 1)[0]
    assert lengths[5, 3] == 2, "the cat, before the first sat"
    assert lengths[4, 2] == 1
    assert lengths[6, 4] == 3
    assert lengths[5, 2] == 0


def test_the_start_token_is_part_of_no_prefix():
    assert prefix_lengths(torch.tensor([[7, 1, 7, 1]]), 1)[0, 3, 2] == 1


def test_the_first_event_is_the_first_allowed_pair_above_the_threshold():
    above = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    above[0, 0, 1, 0] = above[0, 0, 2, 2] = above[0, 0, 3, 1] = above[0, 0, 3, 2] = True
    lengths = torch.zeros(1, 4, 4, dtype=torch.long)
    lengths[0, 3, 2] = 2
    allowed = pairs(torch.tensor([4]), 4, 1)
    found, dst, src = first_events(above, allowed, lengths, 0)
    assert (found.item(), dst.item(), src.item()) == (True, 3, 1)
    found, dst, src = first_events(above, allowed, lengths, 2)
    assert (found.item(), dst.item(), src.item()) == (True, 3, 2)
    assert not first_events(above, pairs(torch.tensor([3]), 4, 1), lengths, 0)[0].item()


def an_event(window: int, head: int, src: int = 5, dst: int = 9) -> Event:
    return Event(window, 0, head, dst, src, 2, 0.5)


def test_places_that_serve_most_heads_are_broken_first_and_none_in_vain():
    events = [an_event(0, 0), an_event(1, 0), an_event(1, 1), an_event(2, 2)]
    chosen = plan(events, each=1, most=9)
    assert [one.window for one in chosen] == [1, 2]
    assert len(plan(events, each=2, most=2)) == 2
    wanted = plan(events, each=1, most=1, first={(0, 2)})
    assert [one.window for one in wanted] == [2], "heads that matter come before many others"


def test_a_place_elsewhere_is_in_no_prefix():
    one = Break(0, 5, (an_event(0, 0), an_event(0, 1, dst=11)))
    drawn = {elsewhere(one, 1, torch.Generator().manual_seed(seed)) for seed in range(60)}
    assert drawn == {1, 6}


def test_every_control_changes_one_token_where_it_should():
    one = Break(0, 5, (an_event(0, 0),))
    window, same, pool = torch.arange(20, 40), torch.arange(99) % 50, torch.arange(60, 90)
    tokens, free = spoil(window, one, same, (pool, torch.tensor([41])), a_draw())
    changed = [(row != window[:10]).nonzero().flatten().tolist() for row in tokens]
    assert changed[:3] == [[3], [3], []], "the mean is put in as an embedding"
    assert free
    assert changed[3][0] in (1, 6)
    assert tokens[1, 3] == 41


def test_planted_heads_lose_their_source_by_as_much_as_they_matched():
    model = a_planted(inducing)
    drawn = sequences(1, 3, 48, model.ordinary_tokens(), 0, a_draw())
    dst, src = int(drawn.dst), int(drawn.src)
    events = tuple(Event(0, 1, head, dst, src, 3, 1.0) for head in (0, 1))
    one, pool = Break(0, src, events), model.ordinary_tokens()
    tokens, _ = spoil(drawn.tokens[0], one, torch.arange(144), (pool, pool), a_draw())
    after = read_again(model, one, tokens, torch.zeros(model.info.d_model))
    assert after[0].min() > 0.99, "one token is left, which is enough for the first head"
    assert after[1, :3].max() < 0.1, "the second head needs two"
    assert after[1, 3] > 0.99


def test_the_study_of_a_tiny_model_gives_every_head_a_class_and_says_its_sizes(store):
    changes = ["sequences=6", "tokens=300", "events=3", "breaks=6", "threshold=0.15"]
    changes += ["dtype=bfloat16"]
    bundle = run_study("prefix", STUDIES["prefix"], store, changes=changes)
    publish(store, [bundle.path])
    with Atlas.open(store) as atlas:
        page = atlas.study("prefix", limit=2000)
    found = {table.name: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
             for table in page.tables}  # fmt: skip
    assert len(found["prefix_head"]) == 3 * 4
    assert len(found["prefix_score"]) == 3 * 4 * 9 * 2
    assert {row["n"] for row in found["prefix_score"]} == {6}
    assert all(row["low"] <= row["value"] <= row["high"] for row in found["prefix_score"])
    assert all(row["before"] > 0.15 for row in found["prefix_break"])
    assert {row["control"] for row in found["prefix_break"]} >= {"random", "resample", "mean"}
    assert {row["measure"] for row in found["prefix_feature"]} == {"distance", "one", "two"}
    assert page.samples["synthetic sequences per length"] == 6
    assert "differs from float32's by" in page.said[0]


def a_led_feature(index: int, head: int, family: str | None, layer: int = 0) -> LedFeature:
    name = FeatureId(SaeId("tiny", layer, "att"), index)
    title = "next by induction" if family == "induction" else "“a”, “b”, reads “c”"
    return LedFeature(name, layer, head, 0.5 + index / 100, family, title, 9, 4.0, 1.0, index / 40)


def compared(led, kinds):
    classed = Classed(torch.tensor(kinds), None, None)
    found = compare(Key("tiny", "run"), classed, led, a_draw(), 0)
    rows = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return {(row["what"], row["name"]): row for row in rows}


def test_features_of_the_two_classes_differ_in_what_was_planted_and_by_chance_in_the_rest():
    kinds, families = [[1, 1, 1, 1, 2, 2, 2, 2]], ("induction", "local_context")
    led = [
        a_led_feature(10 * head + n, head, families[head >= 4] if n < 8 else None)
        for head in range(8)
        for n in range(10)
    ]
    found = compared(led, kinds)
    row = found["family", "induction"]
    assert (row["short"], row["long"], row["short_n"], row["long_n"]) == (0.8, 0.0, 40, 40)
    assert row["difference"] == pytest.approx(0.8)
    assert row["p_heads"] < 0.06, "2 of the 70 ways to deal two classes to eight heads"
    assert row["p_features"] < 0.01
    assert found["family", "none"]["difference"] == pytest.approx(0.0)
    assert found["family", "none"]["p_heads"] == 1.0
    assert found["family", "all"]["difference"] == pytest.approx(0.8)
    assert found["label", "next by induction"]["short"] == 0.8
    assert (row["short_heads"], row["long_heads"]) == (4, 4)


def test_one_head_of_each_class_is_no_evidence_however_many_features_it_leads():
    led = [a_led_feature(n, n % 2, ("induction", None)[n % 2]) for n in range(40)]
    row = compared(led, [[1, 2, 0]])["family", "induction"]
    assert row["p_heads"] == 1.0
    assert row["p_features"] < 0.01


def test_classes_on_different_layers_have_no_null_within_layers():
    led = [a_led_feature(n, 0, "induction", layer=n % 2) for n in range(20)]
    assert compared(led, [[1], [2]])["family", "induction"]["p_features"] is None
    assert compared(led, [[1], [0]]) == {}


def test_a_label_without_its_words_is_what_kind_of_thing_it_says():
    assert wording("after “def”, “class”, reads “if”") == "after …, reads …"
    assert wording("“_”, “:”") == wording("“x”") == "…"
    assert wording(None) == "none"


def test_listed_labels_are_those_of_the_features_a_head_gives_most_to():
    led = [a_led_feature(n, n % 3, "induction") for n in range(60)]
    found = labels(Key("tiny", "run"), Classed(torch.tensor([[1, 2, 0]]), None, None), led)
    assert found["class"] == ["short-prefix"] * 10 + ["long-prefix"] * 10
    assert found["feature"][:3] == [57, 54, 51]
    assert set(found["leads"]) == {20}
