"""The OpenAPI document: every answer described from the types themselves.

Regenerate the committed one with: python -m app.http.document
"""

import ast
import inspect
import json
import sys
from dataclasses import is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from atlas import ids, wire

COMMITTED = Path(__file__).with_name("openapi.json")
Schema = dict[str, Any]
_ID_EXAMPLES = {
    ids.ModelId: "gpt2",
    ids.HeadId: "gpt2/L5H1",
    ids.SaeId: "gpt2/5-att-kk",
    ids.FeatureId: "gpt2/5-att-kk/123",
}
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    NoneType: {"type": "null"},
    Any: {},
}
ERROR: Schema = {
    "type": "object",
    "description": "What went wrong, in the same shape everywhere.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message", "hint"],
            "properties": {
                "kind": {"type": "string", "description": "Name of the error, such as NotFound."},
                "message": {"type": "string"},
                "hint": {"type": "string", "description": "What to do about it; may be empty."},
                "theirs": {"description": "On a Conflict: the note as it stands now, or null."},
                "yours": {"description": "On a Conflict: what was not written."},
            },
        }
    },
}


class Schemas:
    """JSON Schemas of types, those with a name collected as components.

    What is taken is described more strictly than what is answered: nothing else may be there,
    and what has a default may be left out.
    """

    def __init__(self, components: dict[str, Schema], *, taken: bool = False) -> None:
        self.components = components
        self._taken = taken

    def of(self, kind: Any) -> Schema:
        """The schema of a type as it is annotated."""
        if self._taken and kind is float:
            return {"type": "number"}
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if kind in _ID_EXAMPLES:
            return {"type": "string", "examples": [_ID_EXAMPLES[kind]]}
        if isinstance(kind, TypeVar):
            return self.of(kind.__bound__)
        origin, parts = get_origin(kind), get_args(kind)
        if is_dataclass(origin or kind):
            return self._named(kind)
        if origin in (Union, UnionType):
            return self._one_of(parts)
        if origin is Literal:
            return {"enum": list(parts)}
        if origin is dict:
            inner = self.of(parts[1])
            return {"type": "object"} | ({"additionalProperties": inner} if inner else {})
        assert origin is tuple, kind
        if parts[-1] is Ellipsis:
            return {"type": "array", "items": self.of(parts[0])}
        size = len(parts)
        items = [self.of(part) for part in parts]
        return {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size}

    def _one_of(self, kinds: tuple[Any, ...]) -> Schema:
        if float in kinds and not self._taken:  # a number may be null anyway
            kinds = tuple(kind for kind in kinds if kind is not NoneType)
        schemas: list[Schema] = []
        for kind in kinds:
            schema = self.of(kind)
            if schema not in schemas:
                schemas.append(schema)
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _named(self, kind: Any) -> Schema:
        origin, parts = get_origin(kind) or kind, get_args(kind)
        name = "".join(part.__name__ for part in parts if isinstance(part, type)) + origin.__name__
        name = f"New{name}" if self._taken else name
        if name not in self.components:
            self.components[name] = {}  # its place, should it hold itself
            self.components[name] = self._object(origin, kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, origin: type, kind: Any) -> Schema:
        bound = dict(zip(getattr(origin, "__parameters__", ()), get_args(kind), strict=False))
        told, properties = docs(origin), {}
        shown = [one for one in wire.members(origin) if not (self._taken and one.computed)]
        for one in shown:
            schema = self.of(wire.filled(one.kind, bound))
            if one.name in told:
                schema["description"] = told[one.name]
            properties[one.name] = schema
        made: Schema = {
            "type": "object",
            "description": inspect.getdoc(origin) or "",
            "required": [one.name for one in shown if one.needed or not self._taken],
            "properties": properties,
        }
        return made | {"additionalProperties": False} if self._taken else made


@cache
def docs(kind: type) -> dict[str, str]:
    """What the source says of a dataclass's fields and properties, by name."""
    found: dict[str, str] = {}
    body = _class(kind).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef) and (text := ast.get_docstring(statement)):
            found[statement.name] = text
        if not isinstance(statement, ast.AnnAssign) or not isinstance(after, ast.Expr):
            continue
        if isinstance(statement.target, ast.Name) and isinstance(after.value, ast.Constant):
            found[statement.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def _class(kind: type) -> ast.ClassDef:
    module = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    (found,) = (
        one for one in module.body if isinstance(one, ast.ClassDef) and one.name == kind.__name__
    )
    return found


def text(document: Schema) -> str:
    """The document as it is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


SCHEMAS = Schemas({"Error": ERROR})
"""Of all answers; the routes fill it as they are declared."""
GIVEN = Schemas(SCHEMAS.components, taken=True)
"""Of all that is taken."""


def answers(
    kind: Any, status: int = 200, or_text: str | None = None
) -> dict[int | str, dict[str, Any]]:
    """What a route answers: JSON of a type, or a file of a media type given as text.

    Args:
        kind: the type as it is annotated, or the media type.
        status: of the answer.
        or_text: media type of a text that it may answer instead.
    """
    if isinstance(kind, str):
        content: Schema = {kind: {"schema": {"type": "string", "format": "binary"}}}
    else:
        content = {"application/json": {"schema": SCHEMAS.of(kind)}}
    if or_text:
        content[or_text] = {"schema": {"type": "string"}}
    return {status: {"description": "Success", "content": content}}


def taken(schema: Schema, media: str = "application/json") -> dict[str, Any]:
    """What a route takes: a body of this schema."""
    return {"requestBody": {"required": True, "content": {media: {"schema": schema}}}}


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request was refused", "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
    "5XX": {"description": "The server cannot answer", "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
}  # fmt: skip


def document(app: FastAPI) -> Schema:
    """The OpenAPI document of an app."""
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    made["components"] = {"schemas": dict(sorted(SCHEMAS.components.items()))}
    for operations in made["paths"].values():
        for operation in operations.values():
            for one in operation.get("parameters", ()):
                one["schema"] = _without_null(one["schema"])
    return made


def _without_null(schema: Schema) -> Schema:
    """A parameter's schema: what is not asked for is left out, and never null."""
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**kinds[0], **rest}
