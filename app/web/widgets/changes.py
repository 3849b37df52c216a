"""Changes of notes: who did what when, with the way to each note."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtNotes
from app.web.widgets.html import a, a_id, html
from app.web.widgets.roles import role_name
from app.web.widgets.table import Column, table
from app.web.widgets.text import when
from atlas.ids import parse
from atlas.note_types import (
    Change,
    Collection,
    Comment,
    Content,
    HumanLabel,
    RoleClaim,
    SavedQuery,
    Tag,
    Vote,
)

_COLUMNS = (Column("when"), Column("who"), Column("did"), Column("what"), Column("about"))


def changes_table(changes: Sequence[Change], snapshot: str) -> Markup:
    """One line a change, latest first."""
    return table(_COLUMNS, (_line(one, snapshot) for one in changes))


def _line(change: Change, snapshot: str) -> tuple[object, ...]:
    content = change.after or change.before
    return (
        when(change.changed_at),
        change.author,
        html(
            "{} {}", _DID[change.action], a(AtNotes(change.note), kind_word(change.kind), snapshot)
        ),
        said(content) if content else "",
        _about(content, snapshot) if content else "",
    )


def _about(content: Content, snapshot: str) -> Markup | str:
    """What it was written on: a feature, a head and so on, or for a vote the note it judges."""
    if isinstance(content, Vote):
        return a(AtNotes(content.about), "the note it is on", snapshot)
    target = getattr(content, "target", None)
    return a_id(parse(target), snapshot) if target else ""


_DID = {
    "add": "wrote a",
    "edit": "changed a",
    "remove": "took away a",
    "undo": "undid a change of a",
    "import": "imported a",
}


def kind_word(kind: str) -> str:
    """A kind of note as a word for people."""
    return kind.replace("_", " ").replace("human ", "")


def said(content: Content) -> str:
    """A note in a few words."""
    match content:
        case Tag(name=text) | HumanLabel(text=text) | Comment(text=text):
            return _short(text)
        case RoleClaim():
            words = f": {content.words}" if content.words else ""
            return _short(role_name(content.role) + words)
        case Vote():
            return _short(f"{content.choice} {content.reason}")
        case Collection(name=name) | SavedQuery(name=name):
            return _short(name)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "…"
