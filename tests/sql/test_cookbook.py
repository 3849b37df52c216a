"""Every query of the cookbook runs as it stands and answers what the toy bundle implies."""

import re

import duckdb
import pytest

from atlas.errors import NotFound, QueryError
from atlas.store import schema
from atlas.store.recipes import cookbook, recipe
from atlas.store.sql import EVIDENCE, SqlService
from atlas.types import Snapshot

ALL = list(cookbook().values())

# name, parameters, columns to look at, first rows of them
ANSWERS = [
    ("heads_by_metric", {}, "head value low n", [("toy/L0H1", 0.5, 0.25, 100)]),
    (
        "heads_that_compose",
        {},
        "head later score",
        [("toy/L0H1", "toy/L1H0", 0.5), ("toy/L0H0", "toy/L1H0", 0.25)],
    ),
    (
        "family_rules",
        {},
        "sae family precision recall",
        [("toy/0-t", "induction", 0.75, 0.5), ("toy/0-t", "positional", None, None)],
    ),
    ("roles_of_heads", {}, "head role clusters p", [("toy/L0H1", "induction", 2, 0.0625)]),
    ("roles_of_heads", {"role": "positional"}, "head", []),
    # Head 1 writes 456 + 270 + 225 + 72 + 12 = 1035 and head 0 630 + 225 + 108 + 24 + 18 = 1005.
    (
        "polysemantic_heads",
        {"share": 0.8},
        "head features_needed features mass",
        [
            ("toy/L0H1", 3, 5, pytest.approx(1035)),
            ("toy/L1H1", 3, 5, pytest.approx(1035)),
            ("toy/L0H0", 2, 5, pytest.approx(1005)),
        ],
    ),
    ("polysemantic_heads", {"share": 0.4}, "head features_needed", [("toy/L0H0", 1)]),
    (
        "weights_against_measurement",
        {},
        "id weight_head dfa_head disagreement",
        [
            ("toy/0-t/3", 0, 1, pytest.approx(0.7)),
            ("toy/1-t/3", 0, 1, pytest.approx(0.7)),
        ],
    ),
    (
        "features_of_head",
        {"layer": 1, "head": 1},
        "id dfa_share",
        [
            ("toy/1-t/0", pytest.approx(0.95)),
            ("toy/1-t/3", pytest.approx(0.8)),
            ("toy/1-t/4", 0.5),
            ("toy/1-t/2", pytest.approx(0.3)),
        ],
    ),
    (
        "family_by_layer",
        {},
        "sae layer features live share",
        [("toy/0-t", 0, 1, 5, 0.2), ("toy/1-t", 1, 1, 5, 0.2)],
    ),
    (
        "heads_that_share_features",
        {},
        "head other_head features mean_smaller_share",  # features 2 (0.7, 0.3) and 4 (0.5, 0.5)
        [("toy/L0H0", "toy/L0H1", 2, pytest.approx(0.4))],
    ),
    ("densest_features", {"layer": 1}, "id density", [("toy/1-t/2", 0.3), ("toy/1-t/4", 0.1)]),
    (
        "features_promoting_token",
        {"text": "BOARD"},
        "id token logit",
        [("toy/0-t/0", " board", 1.5), ("toy/0-t/1", " board", 1.5)],
    ),
    (
        "token_pairs",
        {"source": "cat", "fires_on": "mat"},
        "id source fires_on examples nearest max_act",
        [("toy/0-t/0", " cat", " mat", 1, 4, 8.0), ("toy/1-t/0", " cat", " mat", 1, 4, 8.0)],
    ),
    ("token_pairs", {"max_distance": 2}, "fires_on nearest", [("\n", 2)]),
    ("sae_quality", {}, "id l0 fvu recovered_zero", [("toy/0-t", 2.0, 0.25, 0.9)]),
    (
        "dead_features",
        {},
        "sae never_fired dead_in_mining mined_tokens",
        [("toy/0-t", 1, pytest.approx(1 / 6), 3000)],
    ),
    # Half of four weak firings and all of two strong ones: 0.5 and 1.0.
    (
        "label_scores_by_decile",
        {},
        "method decile recognised firings",
        [("tokens", 0, 0.5, 4), ("tokens", 9, 1.0, 2)],
    ),
    ("label_support", {}, "sae support_from labels mean_examples", [("toy/0-t", 0.6, 5, 12.0)]),
    (
        "claims_with_metrics",
        {"role": "induction"},
        "head author confidence agree dispute metric value",
        [("toy/L0H1", "ann", 0.75, 0, 1, "induction", 0.5)],
    ),
    ("contested_roles", {}, "head roles disputes claimed", [("toy/L0H1", 1, 1, "induction")]),
    ("tags_in_use", {}, "name targets authors", [("clear", 2, 2)]),
    (
        "near_duplicates",
        {},
        "id other cosine",
        [("toy/0-t/0", "toy/0-t/3", pytest.approx(0.8))],
    ),
    ("near_duplicates", {"other_layers": True}, "id", []),
    (
        "reach_of_heads",  # sources at 2, examples at 6, 5 and 4; head 0 leads features 1, 2 and 4
        {},
        "head examples median_distance on_previous",
        [("toy/L0H0", 9, 3.0, 0.0), ("toy/L0H1", 6, 3.0, 0.0)],
    ),
    (
        "features_of_one_head",
        {},
        "head features densest",
        [("toy/L0H0", 1, "toy/0-t/1"), ("toy/L0H1", 1, "toy/0-t/0")],
    ),
    ("to_review", {"support": 0.5}, "id disagree", [("toy/0-t/3", True), ("toy/1-t/3", True)]),
    (
        "members_of_collection",
        {"name": "list"},
        "rank target sentence title",
        [(0, "toy/1-t/4", "both heads", "end of sentence “.”")],
    ),
    (
        "features_by_prefix_class",
        {"each": 1},
        "layer head one long id dfa_share",
        [(0, 1, 0.125, 0.5, "toy/0-t/0", pytest.approx(0.95))],
    ),
    ("features_by_prefix_class", {"class": "short-prefix"}, "id", []),
    (
        "features_of_ioi",
        {},
        "id place value abba baba fired head",
        [
            ("toy/0-t/0", "end", 2.0, None, None, 1.0, 1),
            ("toy/0-t/1", "S2", -0.5, -1.0, 0.0, 0.5, 0),
        ],
    ),
    ("features_of_ioi", {"place": "S2", "how": "mean"}, "id", []),
    ("exactness", {}, "sae features largest_residual", [("toy/0-t", 5, pytest.approx(1e-6))]),
]


@pytest.mark.parametrize(
    ("name", "given", "columns", "expected"), ANSWERS, ids=lambda value: str(value)[:40]
)
def test_a_recipe_answers_what_the_toy_bundle_implies(
    sql, snapshot, name, given, columns, expected
):
    found = recipe(name)
    result = sql.run(snapshot, found.sql, found.values(**given))
    at = [result.columns.index(column) for column in columns.split()]
    rows = [tuple(row[i] for i in at) for row in result.rows]
    assert rows[: len(expected)] == expected
    assert expected or not rows


def test_every_recipe_has_an_answer_here():
    assert {name for name, *_ in ANSWERS} == set(cookbook())
    assert len(ALL) >= 12


@pytest.mark.parametrize("found", ALL, ids=lambda found: found.name)
def test_a_recipe_says_what_it_is_and_uses_just_its_parameters(found):
    assert found.title
    assert found.sentence.endswith(".")
    assert {parameter.name for parameter in found.parameters} == set(
        re.findall(r"\$(\w+)", found.sql)
    )


def test_every_recipe_runs_on_an_atlas_with_nothing_in_it(tmp_path, snapshot, notes):
    path = tmp_path / "000002"
    path.mkdir()
    with duckdb.connect(str(path / EVIDENCE)) as evidence:
        schema.migrate(evidence)
    empty = Snapshot(2, path, 1, snapshot.published_at)
    with SqlService(notes) as service:
        for found in ALL:
            assert service.run(empty, found.sql, found.values()).columns, found.name


def test_an_unknown_recipe_or_parameter_is_named_with_the_known_ones():
    with pytest.raises(NotFound, match="no recipe 'nope'.*densest_features"):
        recipe("nope")
    with pytest.raises(QueryError, match="densest_features has no parameter x.*layer"):
        recipe("densest_features").values(x=1)
