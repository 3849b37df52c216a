"""Published roles are looked for by the right measure; without the weights the check is skipped."""

import sys

import pytest

from app.cli import main
from ingest.studies.known_roles import GPT2, Role, check
from tests.studies.planted import a_planted, inducing, name_moving


def test_planted_heads_rank_first_by_the_measure_of_their_role():
    roles = (
        Role("previous token", ((0, 0),), "previous_token", "planted"),
        Role("induction", ((1, 0), (1, 1)), "induction", "planted"),
        Role("short-prefix induction", ((1, 0),), "short-prefix", "planted"),
        Role("long-prefix induction", ((1, 1),), "long-prefix", "planted"),
    )
    found = check(a_planted(inducing), roles)
    assert [one.rank for one in found] == [1, 1, 2, 1, 1] or [one.rank for one in found] == [
        1,
        2,
        1,
        1,
        1,
    ]
    assert all(one.of == 4 for one in found)


def test_the_name_mover_writes_the_answer_and_inhibition_is_lost_without_it():
    roles = (
        Role("name mover", ((2, 0),), "direct", "planted"),
        Role("S-inhibition", ((1, 0),), "loss", "planted"),
        Role("no such role", ((0, 1),), "loss", "planted"),
    )
    mover, inhibition, idle = check(a_planted(name_moving), roles)
    assert (mover.rank, mover.found) == (1, True)
    assert inhibition.rank <= 3
    assert inhibition.value > 5
    assert abs(idle.value) < 1e-3


def test_the_table_names_heads_of_gpt2_small():
    assert all(0 <= n < 12 for role in GPT2 for place in role.heads for n in place)


def test_without_the_weights_the_check_says_that_it_is_skipped(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["atlas", "check-roles", "/no/such/folder"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert not exit_.value.code
    assert "skipped: no folder" in capsys.readouterr().out
