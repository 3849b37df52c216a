"""The addresses that read what is known of labels: methods, judgements, failures, reviews."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.http.answer import OfBoth, OfEvidence
from app.http.document import answers
from atlas import label_types

router = APIRouter()


@router.get("/labels/methods", responses=answers(tuple[label_types.LabelMethod, ...]))
def label_methods(asked: OfEvidence) -> Response:
    """Ways of labelling compared: one per method and scorer, best mean first."""
    return asked.answer(asked.atlas.label_methods())


@router.get(
    "/features/{model}/{sae}/{index}/judgements",
    responses=answers(tuple[label_types.JudgedScore, ...]),
)
def judgements(model: str, sae: str, index: str, asked: OfEvidence) -> Response:
    """Every single judgement behind the scores of a feature's labels."""
    return asked.answer(asked.atlas.judged(f"{model}/{sae}/{index}"))


@router.get(
    "/features/{model}/{sae}/{index}/label-failures",
    responses=answers(tuple[label_types.LabelFailure, ...]),
)
def label_failures(model: str, sae: str, index: str, asked: OfEvidence) -> Response:
    """What labellers could not do for a feature."""
    return asked.answer(asked.atlas.label_failures(f"{model}/{sae}/{index}"))


@router.get("/review", responses=answers(tuple[label_types.ReviewItem, ...]))
def review(
    asked: OfBoth,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 25,
    sae: Annotated[str | None, Query(description="Only features of this SAE.")] = None,
    reason: Annotated[
        label_types.ReviewReason | None, Query(description="Only those that wait for this reason.")
    ] = None,
) -> Response:
    """Features whose label, weights and measurement call for a person, most urgent first."""
    return asked.answer(asked.atlas.review_queue(limit, sae, reason))
