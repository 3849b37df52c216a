"""What people wrote, laid over the evidence: their words in a search, their titles on features.

The title that is shown is a person's where one wrote one (most agreed with, then newest), else
the machine's that table `title` gives: those measured to be better than chance first.
"""

from collections.abc import Sequence
from dataclasses import replace

from atlas.errors import NotFound
from atlas.ids import FeatureId, parse_feature, parse_head
from atlas.note_types import Collection, Comment, HumanLabel, Marks, RoleClaim, Tag
from atlas.prompt_types import PromptSearch
from atlas.store.facets import NOBODY, Said
from atlas.store.notes import Notes
from atlas.types import Feature, FeatureRow, Head, Page, Query

MOST = 1000
"""Notes that are looked through for the words of a search, the latest first."""


def said(notes: Notes | None, query: Query, marks: Marks) -> Said:
    """What notes add to a search.

    Args:
        notes: None for a store in which nobody wrote anything yet.
        query: the search.
        marks: of these notes.
    """
    if notes is None:
        return NOBODY
    reasons = {
        feature: f"{hit.kind} by {hit.author}: {hit.text}"
        for hit in (notes.search(query.text, MOST) if query.text.strip() else ())
        for feature in _features(hit.targets)
    }
    tags = {tag: _features(targets) for tag, targets in marks.tags.items()}
    roles = {role: tuple(map(parse_head, heads)) for role, heads in marks.roles.items()}
    return Said(reasons, {tag: found for tag, found in tags.items() if found}, roles,
                _features(marks.named))  # fmt: skip


def titled_page(notes: Notes | None, page: Page) -> Page:
    """The page with people's titles."""
    rows = _titled(notes, [hit.row for hit in page.hits])
    hits = (replace(hit, row=row) for hit, row in zip(page.hits, rows, strict=True))
    return replace(page, hits=tuple(hits))


def titled_feature(notes: Notes | None, feature: Feature) -> Feature:
    """The feature and its neighbours with people's titles."""
    own, *near = _titled(notes, [feature.row, *(one.row for one in feature.neighbours)])
    pairs = zip(feature.neighbours, near, strict=True)
    neighbours = (replace(one, row=row) for one, row in pairs)
    return replace(feature, row=own, neighbours=tuple(neighbours))


def titled_search(notes: Notes | None, found: PromptSearch) -> PromptSearch:
    """The prompt search with people's titles."""
    rows = _titled(notes, [hit.row for hit in found.hits])
    hits = (replace(hit, row=row) for hit, row in zip(found.hits, rows, strict=True))
    return replace(found, hits=tuple(hits))


def titled_head(notes: Notes | None, head: Head) -> Head:
    """The head with people's titles on its features."""
    rows = _titled(notes, [one.row for one in head.features])
    pairs = zip(head.features, rows, strict=True)
    return replace(head, features=tuple(replace(one, row=row) for one, row in pairs))


def noted(notes: Notes | None) -> frozenset[FeatureId]:
    """Features that people wrote about: tags, labels, comments, collections, role evidence."""
    if notes is None:
        return frozenset()
    targets = [note.content.target for note in notes.every(Tag)]
    targets += [note.content.target for note in notes.every(Comment)]
    targets += [note.content.target for note in notes.every(HumanLabel)]
    targets += [one.target for note in notes.every(Collection) for one in note.content.members]
    targets += [one.target for note in notes.every(RoleClaim) for one in note.content.evidence]
    return frozenset(_features(targets))


def titled(notes: Notes | None) -> frozenset[FeatureId]:
    """Features that a person gave a title which is not disputed."""
    return _by_votes(notes, disputed=False)


def disputed(notes: Notes | None) -> frozenset[FeatureId]:
    """Features with a person's label that more people dispute than agree with."""
    return _by_votes(notes, disputed=True)


def _by_votes(notes: Notes | None, *, disputed: bool) -> frozenset[FeatureId]:
    found = notes.judged(HumanLabel) if notes else ()
    targets = [
        one.note.content.target
        for one in found
        if (one.dispute > one.agree) is disputed and (disputed or one.note.content.side == "title")
    ]
    return frozenset(_features(targets))


def _titled(notes: Notes | None, rows: Sequence[FeatureRow]) -> list[FeatureRow]:
    if notes is None or not rows:
        return list(rows)
    titles = notes.titles([str(row.id) for row in rows])
    return [
        replace(
            row,
            title=note.content.text,
            title_method=note.author,
            title_support=None,
            title_score=None,
        )
        if (note := titles.get(str(row.id)))
        else row
        for row in rows
    ]


def _features(targets: Sequence[str]) -> tuple[FeatureId, ...]:
    found = []
    for target in targets:
        try:
            found.append(parse_feature(target))
        except NotFound:
            continue  # a note on a head or an SAE
    return tuple(found)
