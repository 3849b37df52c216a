"""Query parameters: made from the dataclasses that they fill, and strict about their names."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import Query, Request

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


def from_query(kind: type[T]) -> Callable[..., T]:
    """A dependency that fills the dataclass `kind` from query parameters named as its fields."""

    def made(**given: Any) -> T:
        return kind(**given)

    of: type = kind
    signature = inspect.Signature([_parameter(of, one) for one in wire.members(of)])
    made.__signature__ = signature  # type: ignore[attr-defined]
    return made


def _parameter(kind: type, member: wire.Member) -> inspect.Parameter:
    parts = getattr(member.kind, "__args__", (member.kind,))
    bounds = next((_BOUNDS[part] for part in _BOUNDS if part in parts), {})
    if member.name == "limit":
        bounds = {"ge": 1, "le": MAX_LIMIT}
    (own,) = (one for one in fields(kind) if one.name == member.name)
    return inspect.Parameter(
        member.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if member.needed else own.default,
        annotation=Annotated[member.kind, Query(description=docs(kind).get(member.name), **bounds)],
    )


def strict(request: Request) -> None:
    """Refuse parameters that the document does not name, and those given twice.

    Raises:
        QueryError: naming the parameter and those that exist.
    """
    here = (request.method, request.scope["route"].path_format)
    known = request.app.state.parameters.get(here, {})
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
