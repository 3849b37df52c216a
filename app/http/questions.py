"""The addresses that ask in SQL: one SELECT, the schema that it sees, the saved queries."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from app.http.answer import FRESH, SNAPSHOT_HEADER, OfEvidence
from app.http.document import answers
from atlas import types
from atlas.api import Atlas
from atlas.errors import QueryError
from atlas.store.describe import TablePage, to_markdown
from atlas.store.recipes import Recipe
from atlas.store.sql_formats import FORMATS

router = APIRouter()
Form = Literal["json", "ndjson", "csv", "parquet", "arrow"]
Limit = Annotated[int, Field(ge=1, le=10_000, description="Most rows of the result.")]


class Question(BaseModel):
    """A SELECT with its parameters."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="One SELECT over the tables of /schema.")
    parameters: dict[str, Any] = Field(default={}, description="Values by name, for $name.")
    limit: Limit = 1000
    format: Form = "json"


@router.get("/sql", responses=answers(types.SqlResult))
def sql(
    asked: OfEvidence,
    query: Annotated[str, Query(description="One SELECT over the tables of /schema.")],
    limit: Annotated[int, Query(ge=1, le=10_000, description="Most rows.")] = 1000,
    format: Annotated[Form, Query(description="Form of the answer.")] = "json",
) -> Response:
    """Run one SELECT; the address is a permalink when it names a snapshot."""
    return _result(asked.atlas, query, {}, limit, format)


@router.post("/sql", responses=answers(types.SqlResult))
def sql_with_parameters(request: Request, question: Annotated[Question, Body()]) -> Response:
    """Run one SELECT with parameters."""
    atlas = request.app.state.snapshots.at(None)
    return _result(atlas, question.query, question.parameters, question.limit, question.format)


def _result(
    atlas: Atlas, query: str, parameters: dict[str, Any], limit: int, form: Form
) -> Response:
    result = atlas.sql(query, parameters, limit=limit)
    write, media = FORMATS[form]
    headers = {**FRESH, SNAPSHOT_HEADER: result.snapshot}
    return Response(write(result), 200, headers, media)


@router.get("/schema", responses=answers(tuple[TablePage, ...]))
def schema(
    asked: OfEvidence,
    format: Annotated[Literal["json", "markdown"], Query(description="json or markdown.")] = "json",
) -> Response:
    """Every table that SQL sees, with a sentence per column."""
    pages = asked.atlas.schema()
    if format == "markdown":
        return PlainTextResponse(to_markdown(pages), 200, asked.headers, "text/markdown")
    return asked.answer(pages)


@router.get("/cookbook", responses=answers(tuple[Recipe, ...]))
def cookbook(asked: OfEvidence) -> Response:
    """Saved queries that answer research questions."""
    return asked.answer(tuple(asked.atlas.cookbook().values()))


@router.get("/cookbook/{name}", responses=answers(types.SqlResult))
def recipe(
    name: str,
    asked: OfEvidence,
    given: Annotated[list[str], Query(alias="param", description="A value: layer=5.")] = [],  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=10_000, description="Most rows.")] = 1000,
    format: Annotated[Form, Query(description="Form of the answer.")] = "json",
) -> Response:
    """Run a saved query, with its defaults or with values given."""
    found = asked.atlas.cookbook().get(name)
    if found is None:
        raise QueryError(f"no saved query {name[:80]!r}", "see /cookbook")
    values = dict(_pair(one) for one in given)
    defaults = {one.name: one.default for one in found.parameters}
    typed = {name: _typed(value, defaults.get(name)) for name, value in values.items()}
    return _result(asked.atlas, found.sql, found.values(**typed), limit, format)


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise QueryError(f"param {text[:80]!r} has no '='", "write param=layer=5")
    return name, value


def _typed(value: str, default: Any) -> Any:
    """The value in the type of the parameter's default."""
    if isinstance(default, bool):
        return value == "true"
    for kind in (int, float):
        if isinstance(default, kind):
            try:
                return kind(value)
            except ValueError:
                raise QueryError(f"{value[:80]!r} is no {kind.__name__}") from None
    return value
