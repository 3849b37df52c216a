"""Plots of study results, from tables written by hand."""

import json
import re

from streamlit.testing.v1 import AppTest

from app.web.widgets.results import estimates, study_table
from atlas.study_types import StudyTable
from tests.web.conftest import component, seen

SCRIPT = """
from app.web.widgets.study_plots import PLOTS
from atlas.study_types import StudyTable
PLOTS[{name!r}](StudyTable({name!r}, "", {columns!r}, {rows!r}, {total}), "toy", "000001")
"""


def drawn(name, columns, *rows):
    text = SCRIPT.format(name=name, columns=columns, rows=rows, total=len(rows))
    return AppTest.from_string(text).run(timeout=20)


def test_effects_of_heads_stand_largest_first_with_their_intervals():
    columns = ("layer", "head", "how", "place", "names", "value", "low", "high")
    html = seen(
        drawn(
            "ioi_head", columns,
            (1, 0, "mean", "S2", "both", -0.5, -0.75, -0.25),
            (1, 1, "mean", "S2", "both", 1.0, 0.5, 1.25),
            (1, 2, "mean", "S2", "ABBA", 9.0, 8.0, 10.0),
        )
    )  # fmt: skip
    assert html.index("L1H1") < html.index("L1H0")
    assert "L1H2" not in html
    assert "mean, S2" in html
    assert "95 % interval −0.75 to −0.25" in html
    assert 'class="mark" style="left:37.5%"' in html  # no change, on a track from -0.75 to 1.25


def test_rankings_of_heads_show_their_check():
    columns = ("ranking", "rank", "layer", "head", "condition", "value", "low", "high",
               "check_condition", "check_value")  # fmt: skip
    html = seen(
        drawn(
            "head_ranking", columns,
            ("induction", 2, 3, 1, "repeated_random", 0.5, 0.25, 0.75, "corpus", 0.1),
            ("induction", 1, 3, 0, "repeated_random", 1.0, 0.75, 1.0, "corpus", 0.5),
            ("induction", 99, 3, 5, "repeated_random", 0.0, 0.0, 0.0, "corpus", 0.0),
        )
    )  # fmt: skip
    assert html.index("L3H0") < html.index("L3H1")
    assert "L3H5" not in html
    assert "induction on repeated random; tick: corpus" in html
    assert 'class="mark" style="left:50.0%"' in html


def test_induction_features_are_drawn_by_how_strongly_they_fire():
    columns = ("sae", "family", "bin", "fired", "precision", "precision_low", "precision_high")
    test = drawn(
        "family_bin", columns,
        ("toy/1-t", "induction", 9, 600, 0.9, 0.8, 1.0),
        ("toy/1-t", "induction", 0, 700, 0.25, 0.2, 0.3),
        ("toy/1-t", "previous_token", 0, 9000, 0.1, 0.0, 0.2),
        ("toy/2-t", "induction", 0, 30, 0.5, 0.1, 0.9),
        ("toy/2-t", "induction", 1, 0, None, None, None),
    )  # fmt: skip
    (curve,) = json.loads(component(test, "atlas_curves"))["curves"]
    assert curve["name"] == "toy/1-t", "the other one fires too seldom"
    assert curve["points"] == [[0.05, 0.25, 0.2, 0.3], [0.95, 0.9, 0.8, 1.0]]


def test_layers_of_the_task_stand_by_place_and_errors_are_left_to_the_table():
    columns = ("layer", "part", "place", "how", "names", "value", "low", "high")
    html = seen(
        drawn(
            "ioi_part", columns,
            (17, "attention", "S2", "resample", "both", -1.5, -2.0, -1.0),
            (23, "attention", "S2", "resample", "both", -3.0, -3.5, -2.5),
            (8, "attention", "S2", "zero", "both", -9.0, -9.5, -8.5),
            (9, "error", "S2", "resample", "both", -9.0, -9.5, -8.5),
        )
    )  # fmt: skip
    assert html.index("layer 23") < html.index("layer 17")
    assert "layer 8" not in html
    assert "layer 9" not in html


def test_the_noising_test_is_held_against_all_of_the_difference():
    columns = (
        "layers", "corruption", "names", "kept_clean", "kept_clean_low", "kept_clean_high", "bos"
    )  # fmt: skip
    html = seen(
        drawn(
            "ioi_noise", columns,
            ([17, 18], "kept: other names", "both", 0.5, 0.25, 0.75, True),
            ([17, 18], "kept: other names", "ABBA", 0.9, 0.8, 1.0, True),
            ([17, 18], "zero", "both", None, None, None, False),
        )
    )  # fmt: skip
    assert "layers 17, 18, with start token" in html
    assert "without start token" not in html
    assert "95 % interval 0.25 to 0.75" in html
    assert 'class="mark" style="left:100.0%"' in html


def test_polysemanticity_is_held_against_chance_layer_by_layer():
    columns = ("sae", "head", "by", "k", "cohesion", "cohesion_low", "cohesion_high", "null_high")
    html = seen(
        drawn(
            "head_polysemanticity", columns,
            ("toy/11-t", 0, "measured", 10, 0.5, 0.25, 0.75, 0.2),
            ("toy/8-t", 1, "measured", 10, 1.0, 1.0, 1.0, 0.2),
            ("toy/8-t", 1, "measured", 20, 0.9, 0.8, 1.0, 0.2),
            ("toy/8-t", 1, "mass", 10, None, None, None, None),
        )
    )  # fmt: skip
    assert html.index("toy/8-t") < html.index("toy/11-t")
    assert html.count('class="line"') == 2
    assert 'class="mark" style="left:20.0%"' in html


def test_families_are_drawn_over_the_layers_the_most_common_first():
    columns = ("sae", "family", "share", "share_low", "share_high")
    test = drawn(
        "family_share", columns,
        ("toy/11-t", "rare", 0.01, 0.0, 0.02),
        ("toy/11-t", "induction", 0.25, 0.2, 0.3),
        ("toy/8-t", "induction", 0.5, 0.4, 0.6),
    )  # fmt: skip
    (first, second) = json.loads(component(test, "atlas_curves"))["curves"]
    assert (first["name"], second["name"]) == ("induction", "rare")
    assert first["points"] == [[8, 0.5, 0.4, 0.6], [11, 0.25, 0.2, 0.3]]
    html = seen(test)
    assert html.index("toy/8-t") < html.index("toy/11-t")


def test_a_table_links_heads_and_features_and_shows_tokens_as_text():
    columns = ("sae", "head", "features", "token", "share", "low", "high")
    row = ("toy/1-t", 2, [3, 4], 1, 0.5, 0.25, 0.75)
    html = study_table(StudyTable("t", "", columns, (row,), 1), "toy", "r", "000001", ("a", "<b>"))
    assert 'href="head?id=toy/L1H2&amp;snapshot=000001"' in html
    assert 'href="feature?id=toy/1-t/4&amp;snapshot=000001"' in html
    assert "&lt;b&gt;" in html
    assert "95 % interval 0.25 to 0.75" in html


def test_the_largest_of_every_measure_come_before_the_second():
    columns = ("layer", "head", "metric", "value", "low", "high")
    rows = [(0, n, "small", n / 100, 0.0, 1.0) for n in range(16)]
    rows.append((1, 0, "distance", 50.0, 49.0, 51.0))
    rows.append((1, 1, "distance", 40.0, 39.0, 41.0))
    html = study_table(StudyTable("t", "", columns, tuple(rows), len(rows)), "toy", "r", "000001")
    heads = re.findall(r">(L\dH\d+)</a>", html)
    assert heads[:6] == ["L1H0", "L0H15", "L1H1", "L0H14", "L0H13", "L0H12"]


def test_low_and_high_are_of_the_value_and_named_ends_of_their_own_column():
    assert estimates(("share", "low", "high")) == {"share": (0, 1, 2)}
    assert estimates(("share", "share_low", "share_high")) == {"share": (0, 1, 2)}
    assert estimates(("share", "value", "low", "high")) == {"value": (1, 2, 3)}
