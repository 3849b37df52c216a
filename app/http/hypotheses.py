"""The addresses that test a hypothesis about firings: one that is given, or one that was saved."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.http.answer import OfBoth, OfEvidence
from app.http.document import answers
from app.http.parameters import LARGEST
from atlas.hypothesis import MAX_TEXT
from atlas.hypothesis_types import Trial

router = APIRouter()
Statement = Annotated[
    str,
    Query(
        max_length=MAX_TEXT,
        description="Such as: src.before == dst.token and distance > 5; README has the language.",
        examples=["src.before == dst.token"],
    ),
]


@router.get("/test", responses=answers(Trial))
def try_hypothesis(
    hypothesis: Statement,
    target: Annotated[str, Query(description="Id of a feature, a head or an SAE.")],
    asked: OfEvidence,
    seed: Annotated[int, Query(ge=0, le=LARGEST, description="Of what is drawn.")] = 0,
) -> Response:
    """A hypothesis tested against kept firings and places without: precision, recall, lift."""
    return asked.answer(asked.atlas.test(hypothesis, target, seed))


@router.get("/notes/{note}/test", responses=answers(Trial))
def try_saved(note: str, asked: OfBoth) -> Response:
    """A saved hypothesis tested on the snapshot that answers."""
    return asked.answer(asked.atlas.test_saved(note))
