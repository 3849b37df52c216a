"""The cookbook: named queries that answer research questions, one SQL file each.

A file opens with comments: its title, one sentence, and a line `-- $name = default: sentence` per
parameter, the default as JSON. The rest is the query.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from atlas.errors import NotFound, QueryError
from atlas.note_types import Scalar

_FOLDER = Path(__file__).parent / "cookbook"
_PARAMETER = re.compile(r"\$(?P<name>\w+) = (?P<default>.+?): (?P<sentence>.+)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a recipe."""

    name: str
    default: Scalar
    sentence: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """A query of the cookbook."""

    name: str
    title: str
    sentence: str
    parameters: tuple[Parameter, ...]
    sql: str

    def values(self, **given: Any) -> dict[str, Any]:
        """Every parameter with the value given for it, else its default.

        Raises:
            QueryError: a parameter that the recipe does not have.
        """
        defaults = {parameter.name: parameter.default for parameter in self.parameters}
        if unknown := sorted(set(given) - set(defaults)):
            known = ", ".join(defaults) or "none"
            raise QueryError(f"{self.name} has no parameter {unknown[0]}", f"it has: {known}")
        return defaults | given


@cache
def cookbook() -> MappingProxyType[str, Recipe]:
    """All recipes by name, in alphabetical order."""
    paths = sorted(_FOLDER.glob("*.sql"))
    return MappingProxyType({path.stem: _recipe(path.stem, path.read_text()) for path in paths})


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises NotFound when there is none."""
    found = cookbook().get(name)
    if found is None:
        raise NotFound(f"no recipe {name[:80]!r}", f"known: {', '.join(cookbook())}")
    return found


def _recipe(name: str, text: str) -> Recipe:
    lines = text.splitlines()
    header = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    title, sentence, *parameters = header
    sql = "\n".join(lines[len(header) :])
    return Recipe(name, title, sentence, tuple(map(_parameter, parameters)), sql)


def _parameter(line: str) -> Parameter:
    found = _PARAMETER.fullmatch(line)
    assert found, f"not a parameter line: {line}"
    return Parameter(found["name"], json.loads(found["default"]), found["sentence"])
