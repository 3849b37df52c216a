"""What the README tells people to type exists, and nothing that can be typed is left unsaid."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from app.cli import cli
from atlas.api import Atlas
from atlas.hypothesis import parse
from ingest.config import make_job
from ingest.studies.names import STUDIES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = get_command(cli).commands


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def said():
    """Every `atlas ...` that the README shows, as a tuple of words, each once."""
    inline = re.findall(r"`(atlas [^`]+)`", README)
    lines = [line for block in blocks("") for line in block.splitlines()]
    shown = [line.lstrip("$ ") for line in lines if re.match(r"\s*(\$ )?atlas \w", line)]
    return sorted({tuple(shlex.split(re.split(r"\s{2,}|#", one)[0])) for one in (*inline, *shown)})


@pytest.mark.parametrize("words", said(), ids=" ".join)
def test_every_command_that_is_shown_exists_with_its_options(words):
    if words[1].startswith("-"):
        return
    command = COMMANDS[words[1]]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given = {word for word in words[2:] if word.startswith("--")}
    assert given <= known


def test_every_command_is_named():
    unnamed = [name for name in COMMANDS if f"`{name}`" not in README]
    assert unnamed == []


def test_the_job_file_is_one_that_is_taken():
    (job,) = blocks("toml")
    assert make_job(tomllib.loads(job)).sae.layers == (4, 5, 6)


def test_the_python_that_is_shown_uses_what_is_there():
    (code,) = blocks("python")
    used = re.findall(r"\batlas\.(\w+)\(", code)
    assert used
    assert [name for name in used if not hasattr(Atlas, name)] == []
    compile(code, "README.md", "exec")


def test_the_hypothesis_that_is_shown_can_be_read():
    (text,) = {words[2] for words in said() if words[1:2] == ("test",) and len(words) > 2}
    assert parse(text)


def test_every_study_is_described():
    assert [name for name in STUDIES if f"| {name} |" not in README] == []


def test_every_target_of_make_that_is_named_is_there():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make (\w+)`", README))
    assert {"demo", "test", "serve"} <= named
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_every_link_to_a_file_leads_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
