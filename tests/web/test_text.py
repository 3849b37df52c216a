"""Tokens and numbers as people see them."""

import math

import pytest

from app.web.widgets.text import density, duration, exact, percent, plain, sig, visible
from app.web.widgets.tokens import opacity
from atlas.types import histogram_edge


@pytest.mark.parametrize(
    ("token", "shown", "escaped"),
    [
        (" the", " the", '" the"'),
        ("▁the", " the", '" the"'),
        ("Ġthe", " the", '" the"'),
        ("\n", "↵", r'"\n"'),
        ("\t\t", "⇥⇥", r'"\t\t"'),
        (" ", "␣", '" "'),
        ("    ", "␣␣␣␣", '"    "'),
        ("", "∅", '""'),
        ("\x00", "␀", r'"\u0000"'),
        ('a"b\\', 'a"b\\', r'"a\"b\\"'),
        ("\u202eevil", "⟨U+202E⟩evil", r'"\u202eevil"'),
        ("\u200b", "⟨U+200B⟩", r'"\u200b"'),
        ("é中", "é中", '"é中"'),
        ("<b>", "<b>", '"<b>"'),
    ],
)
def test_a_token_is_seen_whatever_is_in_it(token, shown, escaped):
    assert visible(token) == shown
    assert exact(token) == escaped


def test_prose_keeps_its_lines_and_loses_its_tricks():
    assert plain("a\nb\x00\u202e") == "a\nb␀⟨U+202E⟩"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (0, "0 %"),
        (0.0004, "<0.1 %"),
        (0.0123, "1.2 %"),
        (0.0996, "10 %"),
        (1, "100 %"),
    ],
)
def test_shares_have_sensible_digits(share, text):
    assert percent(share) == text


def test_densities_keep_two_digits_however_small():
    assert [density(x) for x in (0.5, 0.043, 0.00031, 2e-6, 0)] == [
        "50 %", "4.3 %", "0.031 %", "0.00020 %", "0 %",
    ]  # fmt: skip


def test_numbers_are_short():
    assert [sig(x) for x in (1234.5, 0.0123456, -2.5, 0, None)] == [
        "1,234",
        "0.0123",
        "−2.5",
        "0",
        "–",
    ]
    assert [duration(s) for s in (5, 240, 9000)] == ["5 s", "4 min", "2.5 h"]


def test_opacity_is_logarithmic_with_a_floor_and_full_at_the_scale():
    assert opacity(8.0, 8.0) == 1
    assert opacity(0.8, 8.0) == pytest.approx(math.log10(1.9))
    assert opacity(0.001, 8.0) == 0.05
    assert opacity(-8.0, 8.0) == 1


def test_the_histogram_of_a_page_begins_where_the_bins_do():
    assert histogram_edge(32) == 1
