"""The JSON form of everything that travels, and back: one for the HTTP API, its client and files.

Ids are their text, times ISO 8601, and a number that is not finite is null. What a property says
is written and not read. A path or a file's bytes stay on the machine that has them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from atlas import ids
from atlas.errors import NotFound

T = TypeVar("T")

ID_TYPES = (ids.ModelId, ids.HeadId, ids.SaeId, ids.FeatureId)
_LOCAL: dict[Any, Any] = {Path: Path(), bytes: b""}
"""Types that do not travel, with what stands for them where they are missing."""


class Member(NamedTuple):
    """One member of a type's JSON object."""

    name: str
    kind: Any
    """Its type as it is annotated."""
    needed: bool
    """Whether it has no default."""
    computed: bool
    """Whether a property says it, so that it is not read back."""


@cache
def members(kind: type) -> tuple[Member, ...]:
    """The members of a dataclass's JSON object: its fields, then its properties."""
    hints = get_type_hints(kind)
    own = [
        Member(one.name, hints[one.name], one.default is one.default_factory is MISSING, False)
        for one in fields(kind)
        if hints[one.name] not in _LOCAL
    ]
    said = [
        Member(name, get_type_hints(one.fget)["return"], False, True)
        for name, one in vars(kind).items()
        if isinstance(one, property)
    ]
    return tuple(own + said)


def dumps(value: Any) -> str:
    """A value of atlas.types or atlas.note_types, or a tuple or dict of them, as JSON."""
    try:
        return json.dumps(value, default=_part, **_FORM)
    except ValueError:  # a number that is not finite: rare, so looked for only now
        return json.dumps(plain(value), **_FORM)


_FORM: dict[str, Any] = {
    "ensure_ascii": False,
    "allow_nan": False,
    "separators": (",", ":"),
}


def plain(value: Any) -> Any:
    """The value as dicts, lists, texts, finite numbers, booleans and None."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case Mapping():
            return {str(key): plain(part) for key, part in value.items()}
        case list() | tuple():
            return [plain(part) for part in value]
        case _:
            return plain(_part(value))


def _part(value: Any) -> Any:
    """One level of a value that JSON does not know."""
    if isinstance(value, ID_TYPES):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in members(type(value))}
    raise TypeError(f"no JSON form for a {type(value).__name__}")


def loads(kind: type[T], text: str | bytes) -> T:
    """The value of type `kind` that a text of `dumps` holds.

    Raises:
        ValueError: the text is not JSON, or says something else.
    """
    return read(kind, json.loads(text))


def read(kind: type[T], value: Any, *, strict: bool = False, where: str = "") -> T:
    """The value of type `kind` that a JSON value says.

    Args:
        kind: a type as it is annotated: a dataclass, `tuple[Sae, ...]`, `Note[Tag] | None`.
        value: what json.loads gave.
        strict: whether unknown members are refused; without it they are passed over, so that an
            older client understands a newer server.
        where: name of the place, for the message.

    Raises:
        ValueError: it says something else; the message names the place.
    """
    made: T = _read(kind, value, strict, where)
    return made


def _read(kind: Any, value: Any, strict: bool, where: str) -> Any:
    kind, bound = _resolved(kind)
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind) and kind not in ID_TYPES:
        return _object(kind, bound, value, strict, where)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(parts, value, strict, where)
    if origin is Literal:
        return _checked(value in parts, value, f"one of {', '.join(map(str, parts))}", where)
    if origin is tuple:
        return _sequence(parts, value, strict, where)
    if origin is dict:
        _checked(isinstance(value, dict), value, "an object", where)
        return {key: _read(parts[1], one, strict, key) for key, one in value.items()}
    return _scalar(kind, value, where)


def _resolved(kind: Any) -> tuple[Any, dict[Any, Any]]:
    """A type without its variables, and what these stand for inside of it."""
    if isinstance(kind, TypeVar):
        return kind.__bound__, {}
    origin = get_origin(kind)
    if isinstance(origin, type) and is_dataclass(origin):
        pairs = zip(origin.__parameters__, get_args(kind), strict=True)  # type: ignore[attr-defined]
        return origin, {variable: part for variable, part in pairs if part is not Any}
    return kind, {}


def _object(kind: type, bound: dict[Any, Any], value: Any, strict: bool, where: str) -> Any:
    _checked(isinstance(value, dict), value, f"an object ({kind.__name__})", where)
    own = [one for one in members(kind) if not one.computed]
    unknown = set(value) - {one.name for one in own}
    if strict and unknown:
        known = ", ".join(one.name for one in own)
        raise ValueError(f"{_under(where, min(unknown))} is unknown (known: {known})")
    missing = [one.name for one in own if one.needed and one.name not in value]
    if missing:
        raise ValueError(f"{_under(where, missing[0])} is missing")
    given = {
        one.name: _read(filled(one.kind, bound), value[one.name], strict, _under(where, one.name))
        for one in own
        if one.name in value
    }
    local = {
        one.name: _LOCAL[one.type]
        for one in fields(kind)
        if one.type in _LOCAL and one.default is MISSING
    }
    return kind(**given, **local)


def filled(kind: Any, bound: dict[Any, Any]) -> Any:
    """A type with its variables replaced: `Note[J]` as `Note[RoleClaim]`."""
    if isinstance(kind, TypeVar):
        return bound.get(kind, kind)
    variables = getattr(kind, "__parameters__", ())
    if bound and variables and not isinstance(kind, type):
        return kind[tuple(bound.get(one, one) for one in variables)]
    return kind


def _one_of(kinds: tuple[Any, ...], value: Any, strict: bool, where: str) -> Any:
    """The first of several types that fits; of several dataclasses the one with these members."""
    if value is None and NoneType in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not NoneType)
    objects: list[Any] = [one for one in kinds if is_dataclass(one) and one not in ID_TYPES]
    if len(objects) > 1 and isinstance(value, dict):
        same = [kind for kind in objects if {one.name for one in members(kind)} == set(value)]
        _checked(bool(same), value, f"a {' or '.join(one.__name__ for one in objects)}", where)
        kinds = tuple(same)
    refusals = []
    for kind in kinds:
        try:
            return _read(kind, value, strict, where)
        except ValueError as error:
            refusals.append(error)
    raise refusals[0]


def _sequence(kinds: tuple[Any, ...], value: Any, strict: bool, where: str) -> tuple[Any, ...]:
    _checked(isinstance(value, list), value, "a list", where)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    _checked(len(kinds) == len(value), value, f"a list of {len(kinds)}", where)
    return tuple(
        _read(kind, one, strict, f"{where}[{n}]")
        for n, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind in ID_TYPES:
        return _id(kind, value, where)
    if kind is datetime:
        _checked(isinstance(value, str), value, "a time", where)
        return datetime.fromisoformat(value)
    if kind is float and type(value) in (int, float, NoneType):
        return math.nan if value is None else float(value)
    return _checked(type(value) is kind, value, _WORDS.get(kind, kind.__name__), where)


_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _id(kind: type, value: Any, where: str) -> Any:
    _checked(isinstance(value, str), value, "an id", where)
    try:
        found = ids.parse(value)
    except NotFound as error:
        raise ValueError(f"{where}: {error}") from error
    return _checked(isinstance(found, kind), found, f"the id of a {kind.__name__[:-2]}", where)


def _checked(fits: bool, value: Any, wanted: str, where: str) -> Any:
    if not fits:
        raise ValueError(f"{where or 'the value'} must be {wanted}, not {str(value)[:80]!r}")
    return value


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
