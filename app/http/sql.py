"""The addresses of SQL: one SELECT with a permalink, what can be asked of, and saved queries."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.http.answer import Asked, OfBoth, OfEvidence
from app.http.body import body_of
from app.http.document import GIVEN, SCHEMAS, answers, taken
from atlas.errors import NotFound, QueryError
from atlas.note_types import SavedQuery
from atlas.store.describe import TablePage, to_markdown
from atlas.store.recipes import Recipe
from atlas.store.sql_formats import FORMATS, Format
from atlas.store.sql_process import SqlLimits
from atlas.types import SqlResult

router = APIRouter()
_LIMITS = SqlLimits()
_LONGEST_LINK = 2000
_MARKDOWN = "text/markdown; charset=utf-8"

Form = Annotated[
    Format | None, Query(description="How the rows come; else what the header Accept prefers.")
]
Limit = Annotated[int, Query(ge=1, le=_LIMITS.rows, description="Most rows.")]
Seconds = Annotated[float | None, Query(gt=0, le=3600, description="A shorter time limit.")]
Values = Annotated[
    str, Query(description='Values as JSON: {"head": 1} for $head, or a list for ?.')
]


@dataclass(frozen=True, slots=True)
class Question:
    """One SELECT with the values of its parameters."""

    query: str
    parameters: dict[str, Any] | tuple[Any, ...] = ()
    """Values by name for `$name`, or in order for `?`."""
    limit: int = 1000
    """Most rows; `truncated` says whether there were more."""
    seconds: float | None = None
    """A shorter time limit than the server's own."""


def _rows() -> dict[int | str, dict[str, Any]]:
    """How every address of rows answers."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {media.partition(";")[0]: binary for _, media in FORMATS.values()}
    content["application/json"] = {"schema": SCHEMAS.of(SqlResult)}
    return {200: {"description": "Success", "content": content}}


@router.get("/sql", responses=_rows())
def sql(
    request: Request,
    asked: OfBoth,
    query: Annotated[str, Query(description="One SELECT.")],
    parameters: Values = "{}",
    limit: Limit = 1000,
    seconds: Seconds = None,
    format: Form = None,
) -> Response:
    """Run one SELECT over evidence and notes; this address is its permalink."""
    question = Question(query, _values(parameters), limit, seconds)
    return _run(request, asked, question, format)


@router.post("/sql", responses=_rows(), openapi_extra=taken(GIVEN.of(Question)))
def ask_sql(
    request: Request,
    asked: OfBoth,
    question: Annotated[Question, Depends(body_of(Question, QueryError))],
    format: Form = None,
) -> Response:
    """Run one SELECT over evidence and notes; Content-Location is its permalink."""
    return _run(request, asked, question, format)


@router.get("/schema", responses=answers(tuple[TablePage, ...], or_text="text/markdown"))
def schema(
    request: Request, asked: OfEvidence, format: Literal["json", "markdown"] | None = None
) -> Response:
    """Every table that SQL sees, with a sentence per column; as JSON or Markdown."""
    tables = asked.atlas.schema()
    if _chosen(request, format, {"json": "application/json", "markdown": _MARKDOWN}) == "json":
        return asked.answer(tables)
    return Response(to_markdown(tables), 200, asked.headers | {"Vary": "Accept"}, _MARKDOWN)


@router.get("/cookbook", responses=answers(dict[str, Recipe]))
def cookbook(asked: OfEvidence) -> Response:
    """Queries that answer research questions, by name."""
    return asked.answer(dict(asked.atlas.cookbook()))


@router.get("/cookbook/{name}", responses=answers(Recipe))
def recipe(name: str, asked: OfEvidence) -> Response:
    """One query of the cookbook."""
    return asked.answer(_recipe(asked, name))


@router.get("/cookbook/{name}/rows", responses=_rows())
def recipe_rows(
    request: Request,
    name: str,
    asked: OfBoth,
    parameters: Values = "{}",
    limit: Limit = 1000,
    format: Form = None,
) -> Response:
    """Run a query of the cookbook; what is not given has its default."""
    found = _recipe(asked, name)
    values = found.values(**_named(_values(parameters)))
    return _run(request, asked, Question(found.sql, values, limit), format)


@router.get("/notes/{note}/rows", responses=_rows())
def saved_rows(
    request: Request,
    note: str,
    asked: OfBoth,
    parameters: Values = "{}",
    limit: Limit = 1000,
    format: Form = None,
) -> Response:
    """Run a query that somebody saved among the notes; what is not given has its default."""
    found = asked.atlas.notes.get(note).content
    if not isinstance(found, SavedQuery) or found.form != "sql":
        raise QueryError(f"note {note} is no saved SQL", "list them at /notes/kinds/saved_query")
    values = {**found.parameters, **_named(_values(parameters))}
    return _run(request, asked, Question(found.text, values, limit), format)


def _recipe(asked: Asked, name: str) -> Recipe:
    recipes = asked.atlas.cookbook()
    if name not in recipes:
        raise NotFound(f"no recipe {name[:80]!r}", f"known: {', '.join(recipes)}")
    return recipes[name]


def _run(request: Request, asked: Asked, question: Question, form: Format | None) -> Response:
    result = asked.atlas.sql(
        question.query, question.parameters, limit=question.limit, seconds=question.seconds
    )
    media: dict[str, str] = {name: kind for name, (_, kind) in FORMATS.items()}
    write, kind = FORMATS[_chosen(request, form, media)]
    return Response(write(result), 200, asked.headers | _told(question, result), kind)


def _told(question: Question, result: SqlResult) -> dict[str, str]:
    """What is needed to cite the rows in any format."""
    told = {"X-Atlas-Rows": str(len(result.rows)), "Vary": "Accept"}
    told["X-Atlas-Truncated"] = str(result.truncated).lower()
    address = {
        "query": question.query,
        "parameters": json.dumps(question.parameters, ensure_ascii=False),
        "limit": question.limit,
        "snapshot": result.snapshot,
    }
    link = f"/sql?{urlencode(address)}"
    return told | ({"Content-Location": link} if len(link) <= _LONGEST_LINK else {})


def _chosen(request: Request, form: str | None, media: dict[str, str]) -> Any:
    """The format that was asked for by name, else the header's best known one, else the first."""
    if form is not None:
        return form
    wanted: list[tuple[float, str]] = []
    for one in request.headers.get("Accept", "").split(","):
        kind, *settings = (part.strip().lower() for part in one.split(";"))
        wanted.append((_weight(settings), kind))
    for weight, kind in sorted(wanted, key=lambda one: -one[0]):
        for name, own in media.items():
            if weight > 0 and kind == own.partition(";")[0]:
                return name
    return next(iter(media))


def _weight(settings: list[str]) -> float:
    """How much a media type is wanted, 0 to 1."""
    said = next((one.removeprefix("q=") for one in settings if one.startswith("q=")), "1")
    return float(said) if re.fullmatch(r"[01](\.[0-9]{0,3})?", said) else 0.0


def _values(text: str) -> dict[str, Any] | tuple[Any, ...]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise QueryError(f"parameters are not JSON: {text[:80]!r}", _LIKE) from error
    if isinstance(values, list):
        return tuple(values)
    if not isinstance(values, dict):
        raise QueryError(f"parameters are no object: {text[:80]!r}", _LIKE)
    return values


def _named(values: dict[str, Any] | tuple[Any, ...]) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise QueryError("this query's parameters have names", _LIKE)
    return values


_LIKE = 'write them as {"head": 1}'
