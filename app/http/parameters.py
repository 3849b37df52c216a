"""Query parameters: made from the dataclasses that they fill, and strict about their names."""

from dataclasses import MISSING, fields
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import Request
from pydantic import BaseModel, Field, create_model

from app.http.document import docs
from atlas import wire
from atlas.errors import QueryError
from atlas.store.find import MAX_LIMIT

T = TypeVar("T")
LARGEST = 2**31 - 1
_BOUNDS: dict[Any, dict[str, Any]] = {
    int: {"ge": 0, "le": LARGEST},
    float: {"ge": 0, "le": 1, "allow_inf_nan": False},
}


def parameters(kind: type) -> type[BaseModel]:
    """A model whose fields are those of the dataclass `kind`, as query parameters."""
    told = docs(kind)
    made: dict[str, Any] = {}
    for one, member in zip(fields(kind), wire.members(kind), strict=True):
        bounds = next((_BOUNDS[part] for part in _BOUNDS if part in _parts(member.kind)), {})
        if one.name == "limit":
            bounds = {"ge": 1, "le": MAX_LIMIT}
        default = ... if one.default is MISSING else one.default
        made[one.name] = (member.kind, Field(default, description=told.get(one.name), **bounds))
    return create_model(f"{kind.__name__}Parameters", **made)


def _parts(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__args__", (kind,))


def filled(kind: type[T], given: BaseModel) -> T:
    """The dataclass with the values of its model."""
    return kind(**given.model_dump())


def strict(request: Request) -> None:
    """Refuse parameters that the document does not name, and those given twice.

    Raises:
        QueryError: naming the parameter and those that exist.
    """
    known = request.app.state.parameters.get((request.method, request.scope["route"].path), {})
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            hint = f"known: {', '.join(known)}" if known else "this address takes none"
            raise QueryError(f"unknown parameter {name[:80]!r}", hint)
        if given.count(name) > 1 and not known[name]:
            raise QueryError(
                f"parameter {name!r} is given {given.count(name)} times", "give it once"
            )


def known_parameters(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, bool]]:
    """Of every operation (method, path) the query parameters with whether they may repeat."""
    found: dict[tuple[str, str], dict[str, bool]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            found[method.upper(), path] = {
                one["name"]: one["schema"].get("type") == "array"
                for one in operation.get("parameters", ())
                if one["in"] == "query"
            }
    return found


def link(request: Request, **changes: Any) -> str:
    """The address of this request with some parameters changed."""
    given = dict(request.query_params) | {name: str(value) for name, value in changes.items()}
    return f"{request.url.path}?{urlencode(given)}"
