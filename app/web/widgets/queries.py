"""Queries that people saved."""

from app.web.url import AtSql, AtTest, Place, search_of
from atlas.note_types import SavedQuery


def place_of(saved: SavedQuery) -> Place:
    """The page of a saved query. Raises QueryError for a search that is none."""
    if saved.form == "search":
        return search_of(saved.text)
    if saved.form == "hypothesis":
        given = saved.parameters
        return AtTest(saved.text, str(given["target"]), int(given.get("seed") or 0))
    return AtSql(saved.text, {name: str(value) for name, value in saved.parameters.items()})
