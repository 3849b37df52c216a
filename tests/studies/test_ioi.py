"""Indirect-object identification: prompts are what they say, a planted circuit is found."""

import json

import pytest
import torch

from atlas.api import Atlas
from atlas.errors import ConfigError, ModelError
from atlas.lens.sae import Sae
from atlas.store.publish import publish
from ingest.job import run_job
from ingest.studies import ioi_tables as tables
from ingest.studies.ioi_circuit import given
from ingest.studies.ioi_effects import (
    behaviour,
    differences,
    error_step,
    feature_step,
    gradients,
    move,
    put,
    read_z,
    screen,
)
from ingest.studies.ioi_prompts import (
    Draw,
    Family,
    draws,
    join,
    prompts,
    renamed,
    spell,
    unrelated,
)
from ingest.studies.ioi_words import single_tokens
from ingest.studies.names import STUDIES
from ingest.studies.prefix_tables import Key
from ingest.studies.study import run_study
from tests.ingest.jobs import a_job
from tests.models import a_model
from tests.studies.planted import NAMES, a_planted, name_moving

DRAW = Draw("Then, {a} {c} {b} went to the {place}. {s} gave a {object} to",
            "Mary", "John", "Anne", "store", "book")  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return a_planted(name_moving)


@pytest.fixture(scope="module")
def words(model):
    return single_tokens(model.tokenise)


def both_orders(model, words, n=8):
    chosen = draws(n, words, 0)
    families = [Family(order, "and") for order in ("ABBA", "BABA")]
    return chosen, join([prompts(chosen, one, words, model.tokenise, 0) for one in families])


def test_the_answer_stands_first_in_abba_and_second_in_baba():
    assert spell(DRAW, Family("ABBA", "or")) == (
        "Then, Mary or John went to the store. John gave a book to"
    )
    assert spell(DRAW, Family("BABA", "or")) == (
        "Then, John or Mary went to the store. John gave a book to"
    )


def test_places_are_found_token_by_token(model, words):
    one = prompts([DRAW], Family("BABA", "and"), words, model.tokenise, 0, room=True, filler=True)
    texts = model.texts(one.tokens[0].tolist())
    found = {name: texts[int(place)] for name, place in one.at.items()}
    assert found == {"IO": " Mary", "S1": " John", "conjunction": " and", "S2": " John",
                     "end": " to"}  # fmt: skip
    assert one.at["S2"] > one.at["S1"]
    assert "".join(texts).startswith("<s>It was a nice day. Then, John and Mary went")
    assert "store while the weather was nice. John" in "".join(texts)


def test_words_that_are_several_tokens_or_unknown_are_dropped_and_counted(words):
    assert set(words.names) == set(NAMES)
    assert words.kept.startswith("10 of 46 names, 4 of 12 places")


def test_a_tokenizer_without_names_is_refused_with_the_count():
    with pytest.raises(ModelError, match="0 of 46 names"):
        single_tokens(a_model("gpt2").tokenise)


def test_corrupted_draws_change_both_names_or_only_the_second_subject(model, words):
    chosen, found = both_orders(model, words)
    for old, new in zip(chosen, renamed(chosen, words, 0), strict=True):
        assert not {old.io, old.s} & {new.io, new.s}
        assert (old.place, old.template) == (new.place, new.template)
    changed = (unrelated(found, [*chosen, *chosen], words) != found.tokens).nonzero()
    assert changed.tolist() == [[row, int(place)] for row, place in enumerate(found.at["S2"])]


def test_a_planted_circuit_is_found_head_by_head_and_place_by_place(model, words):
    chosen, found = both_orders(model, words)
    assert behaviour(model, found, 16).difference.min() > 10
    third = read_z(model, unrelated(found, [*chosen, *chosen], words), range(3), 16)
    cases = [(layer, head) for layer in range(3) for head in range(2)]
    change = differences(
        model,
        found,
        lambda rows: [
            {},
            *({n: put(third.layers[n][rows][:, :, h], None, h)} for n, h in cases),
            *({n: put(third.at(n, found.at["S2"])[rows], found.at["S2"][rows])} for n in range(3)),
        ],
        5,
    )
    moved = (change[1:] - change[0]).mean(1)
    assert [float(x) < -5 for x in moved] == [True, False] * 3 + [True, False, False]
    assert moved[1::2][:3].abs().max() < 1e-3


def test_a_feature_is_ablated_where_each_prompt_has_it_with_the_error_kept(model, words):
    _, found = both_orders(model, words)
    z = read_z(model, found.tokens, [0], 16)
    at = found.at["S2"]
    here = z.at(0, at).flatten(1)
    flag = here.mean(0)
    other = torch.randn(len(flag), generator=torch.Generator().manual_seed(0))
    other = other - (other @ flag) / flag.square().sum() * flag
    rows = torch.stack([other, flag / flag.norm()])
    sae = Sae(rows, torch.tensor([-1e3, 0.0]), rows, torch.zeros(len(flag)), torch.zeros(2))
    slope = gradients(model, found, [0], 16)[0][torch.arange(16), at].flatten(1)
    screened = screen(sae, here, slope, torch.arange(2).repeat_interleave(8), 2)
    assert screened.features.tolist() == [1], "the other never fires"
    acts = screened.acts[:, 0]
    step = feature_step(sae, 1, acts, torch.zeros_like(acts))
    by_feature, by_layer, error = differences(
        model,
        found,
        lambda rows: [
            {0: move(step[rows], at[rows])},
            {0: put((z.at(0, at) + step.view(16, 2, -1))[rows], at[rows])},
            {0: move(error_step(sae, here)[rows], at[rows])},
        ],
        16,
    )
    clean = behaviour(model, found, 16).difference
    torch.testing.assert_close(by_feature, by_layer)
    assert (by_feature - clean).mean() < -5
    assert (error - clean).abs().max() < 1, "the flag alone is enough"


def test_what_is_kept_is_given_against_each_baseline_or_not_at_all():
    names = torch.arange(2).repeat_interleave(6)
    steady = torch.full((12,), 4.0)
    noised = tables.Noised(
        names,
        {
            "clean": steady,
            "zero": torch.full((12,), 2.0),
            "mean": steady + torch.tensor([1.0, -1.0]).repeat(6),
            "broken": torch.full((12,), 3.0),
        },
    )
    rows = tables.noise(Key("m", "r"), {True: noised}, (5, 6), torch.Generator().manual_seed(0))
    row = [n for n, name in enumerate(rows["corruption"]) if name == "broken"][0]
    assert rows["names"][row] == "both"
    assert rows["kept_clean"][row] == pytest.approx(0.75)
    assert rows["kept_zero"][row] == pytest.approx(0.5)
    assert rows["kept_mean"][row] is None, "clean and mean differ by noise alone"
    assert rows["n"][row : row + 3] == [12, 6, 6]


def some_prompts(folder, words):
    """Thirty documents of prompts, to train small SAEs on."""
    path = folder / "prompts.jsonl"
    texts = [spell(draw, Family("ABBA", "and")) for draw in draws(120, words, 1)]
    rows = (" ".join(texts[n : n + 4]) for n in range(0, 120, 4))
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return str(path)


def test_the_whole_study_finds_the_planted_circuit(words, tmp_path):
    name_moving(tmp_path / "model")
    job = a_job(tmp_path, corpus={"name": some_prompts(tmp_path, words)}, sae={"layers": [1, 2]})
    store = tmp_path / "store"
    publish(store, [run_job(job, store).path])
    changes = ["prompts=14", "tested=6", "head_prompts=6", "features=2", "heads=4", "placed=3"]
    publish(store, [run_study("ioi", STUDIES["ioi"], store, changes=changes).path])
    with Atlas.open(store) as atlas:
        page = atlas.study("ioi", limit=5000)
    found = {table.name: [dict(zip(table.columns, row, strict=True)) for row in table.rows]
             for table in page.tables}  # fmt: skip
    assert page.samples["families in which the model does the task"] == page.samples["families"]
    assert page.samples["families"] == 2 * 5 * 2
    helping = {
        (row["layer"], row["head"], row["place"])
        for row in found["ioi_head"]
        if row["how"] == "resample" and row["names"] == "both" and row["high"] < -5
    }
    assert helping == {
        *((layer, 0, "all") for layer in range(3)),
        (0, 0, "S2"),
        (1, 0, "end"),
        (2, 0, "end"),
    }
    estimates = [
        row for row in found["ioi_head"] if (row["how"], row["names"]) == ("estimate", "both")
    ]
    assert len(estimates) == 3 * 2, "every head has one"
    circuit = found["ioi_circuit"]
    assert {(row["layer"], row["head"]) for row in circuit if row["value"] < -5} == {
        (layer, 0) for layer in range(3)
    }
    assert all(row["feature"] is None for row in circuit if row["layer"] == 0), "no SAE there"
    assert any(row["feature"] is not None and row["dfa"] > 0 for row in circuit)
    kept = {
        row["corruption"]: row["kept_clean"]
        for row in found["ioi_noise"]
        if row["names"] == "both" and row["bos"]
    }
    assert {row["bos"] for row in found["ioi_noise"]} == {True, False}
    assert found["ioi_noise"][0]["layers"][0] == 0
    assert kept["kept: all three"] == pytest.approx(1, abs=0.05)
    assert kept['broken: "and" becomes "or"'] == pytest.approx(1, abs=0.05)
    assert kept["broken: a third name at S2"] < 0.5
    assert kept["zero"] < 0.5
    assert all(row["n"] == 16 for row in found["ioi_noise"] if row["names"] == "both")


def test_features_of_a_head_are_those_it_gives_most_to():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, -1.0]])
    sae = Sae(rows, torch.zeros(4), rows, torch.zeros(2), torch.zeros(4))
    found = given(sae, torch.tensor([[[2.0], [1.0]], [[2.0], [-1.0]]]))
    assert found.fired.tolist() == [1.0, 0.5, 1.0, 0.5]
    assert found.dfa[0].tolist() == [2.0, 0.0, 1.0, 0.0]
    assert found.dfa[1].tolist() == [0.0, 0.5, 0.0, 0.5]
    assert found.share[0].tolist() == [1.0, 0.0, pytest.approx(2 / 3), 0.0]


def test_prompts_that_leave_none_for_the_noising_test_are_refused(store):
    with pytest.raises(ConfigError, match="leaves none for the noising test"):
        run_study("ioi", STUDIES["ioi"], store, changes=["prompts=10"])
