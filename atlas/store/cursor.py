"""Marks that say where a page of results ended, good for one query on one snapshot only."""

import base64
import binascii
import hashlib
import json
from dataclasses import replace
from typing import NamedTuple, TypeVar

from atlas.errors import QueryError
from atlas.types import PairQuery, Query

AnyQuery = TypeVar("AnyQuery", Query, PairQuery)


class Mark(NamedTuple):
    """The last row of a page: its sort value and its row in the lists, which breaks ties."""

    value: float
    row: int


def _fingerprint(query: AnyQuery, snapshot: str) -> str:
    """Of what decides the order of all results; the page size does not."""
    text = f"{snapshot} {replace(query, after='', limit=1)!r}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(mark: Mark, query: AnyQuery, snapshot: str) -> str:
    """The mark as text for a URL."""
    content = [_fingerprint(query, snapshot), mark.value.hex(), mark.row]
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def read(query: AnyQuery, snapshot: str) -> Mark | None:
    """The mark that `query.after` holds; None on the first page.

    Raises:
        QueryError: it is no mark, or one of another query or snapshot.
    """
    if not query.after:
        return None
    padded = query.after + "=" * (-len(query.after) % 4)
    try:
        owner, value, row = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        mark = Mark(float.fromhex(value), int(row))
        if not 0 <= mark.row < 2**63:
            raise ValueError(mark)
    except (ValueError, TypeError, binascii.Error) as error:
        raise QueryError(
            f"not a page mark: {query.after[:40]!r}", "start from the first page"
        ) from error
    if owner != _fingerprint(query, snapshot):
        raise QueryError(
            f"this page mark belongs to another query or to another snapshot than {snapshot}",
            "start from the first page",
        )
    return mark
