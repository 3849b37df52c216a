"""What a note may say: every content is checked here, and put into its one spelling.

Raises NotesError with the bad value and the way out; touches no database.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, cast

from atlas import ids
from atlas.errors import NotesError, QueryError
from atlas.hypothesis import parse
from atlas.note_types import (
    CHOICES,
    EVIDENCE_KINDS,
    KINDS,
    QUERY_FORMS,
    ROLES,
    SIDES,
    STATUSES,
    C,
    Comment,
    Content,
    HumanLabel,
    Member,
    RoleClaim,
    RoleEvidence,
    SavedQuery,
    Tag,
    Vote,
)
from atlas.note_types import Collection as CollectionContent

MAX_TEXT = 20_000
MAX_NAME = 200
MAX_AUTHOR = 80
MAX_ID = 400
MAX_LINKS = 200
MAX_MEMBERS = 10_000
MAX_PARAMETERS = 50
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_NOTE_ID = re.compile(r"[0-9a-f]{32}")


def author_name(author: object) -> str:
    """An author's name, stripped. Raises NotesError when it is no name of 1 to 80 characters."""
    return _line("author", author, MAX_AUTHOR)


def note_id(text: object) -> str:
    """The id of a note. Raises NotesError when it has not the form of one."""
    if not isinstance(text, str) or not _NOTE_ID.fullmatch(text):
        raise NotesError(f"not the id of a note: {_shown(text)}", "it has 32 digits from 0 to f")
    return text


def checked(content: C) -> C:
    """The content in its one spelling: text stripped, ids in full form.

    Raises:
        NotesError: a text is empty, too long or has control characters, an id is none, or a value
            is not among those allowed.
    """
    return cast("C", _CHECKS[type(content)](content))


def state(content: Content) -> str:
    """The content as JSON, the same text for the same content."""
    return dumps(asdict(content))


def content(kind: str, state: str) -> Content:
    """The content that a text made by `state` holds."""
    try:
        values = json.loads(state)
    except ValueError as error:
        raise NotesError(f"a {kind} that is not JSON: {error}") from error
    return content_of(kind, values)


def content_of(kind: str, values: object) -> Content:
    """The content of `kind` with these values, not checked yet.

    Raises:
        NotesError: a value is missing or unknown.
    """
    made = cast("Content", _made(KINDS[kind], kind, values))
    match made:
        case RoleClaim():
            links = (_made(RoleEvidence, "role evidence", v) for v in _list(made.evidence))
            return replace(made, evidence=tuple(links))
        case CollectionContent():
            places = (_made(Member, "member", v) for v in _list(made.members))
            return replace(made, members=tuple(places))
        case _:
            return made


def dumps(value: object) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def searchable(content: Content) -> str:
    """Everything a person would look for in a content, folded, one line per part."""
    match content:
        case Tag(name=name):
            parts = [name]
        case RoleClaim():
            sentences = [link.sentence for link in content.evidence]
            role = content.role.replace("_", " ")
            parts = [role, content.words, content.dataset, content.condition, *sentences]
        case HumanLabel(text=text) | Comment(text=text):
            parts = [text]
        case Vote(reason=reason):
            parts = [reason]
        case CollectionContent():
            sentences = [member.sentence for member in content.members]
            parts = [content.name, content.description, *sentences]
        case SavedQuery():
            parts = [content.name, content.description, content.text]
    return folded("\n".join(part for part in parts if part))


def folded(text: str) -> str:
    """Text as it is searched: one spelling per letter, no upper case."""
    return unicodedata.normalize("NFC", text).casefold()


def _made(kind: type, name: str, values: object) -> Any:
    known = {field.name for field in fields(kind)}
    if not isinstance(values, Mapping) or set(values) != known:
        raise NotesError(f"not a {name}: {_shown(values)}", f"it has {', '.join(sorted(known))}")
    return kind(**values)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise NotesError(f"not a list: {_shown(value)}")
    return value


def _tag(tag: Tag) -> Tag:
    return Tag(_target(tag.target), _line("tag", tag.name, MAX_NAME))


def _role_claim(claim: RoleClaim) -> RoleClaim:
    confidence = claim.confidence
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise NotesError(f"confidence must be a number: {_shown(confidence)}", "give 0 to 1")
    if not 0 <= confidence <= 1:
        raise NotesError(f"confidence is out of range: {confidence}", "give 0 to 1")
    if claim.role == "other" and not claim.words:
        raise NotesError("the role other says nothing by itself", "say it in words")
    if len(claim.evidence) > MAX_LINKS:
        raise NotesError(f"more than {MAX_LINKS} links of evidence", "keep the best ones")
    return replace(
        claim,
        target=_target(claim.target, ids.HeadId),
        role=_one_of("role", claim.role, ROLES),
        words=_text("claim", claim.words, empty=True),
        dataset=_line("dataset", claim.dataset, MAX_NAME, empty=True),
        condition=_line("condition", claim.condition, MAX_NAME, empty=True),
        confidence=float(confidence),
        status=cast("Any", _one_of("status", claim.status, STATUSES)),
        evidence=tuple(_link(link) for link in claim.evidence),
    )


def _link(link: RoleEvidence) -> RoleEvidence:
    _one_of("kind of evidence", link.kind, EVIDENCE_KINDS)
    needed: dict[str, type[Any] | None] = {"example": ids.FeatureId, "metric": ids.HeadId}
    if link.kind == "query":
        target, ref = "", note_id(link.ref)
    else:
        target = _target(link.target, needed.get(link.kind))
        ref = _line("reference", link.ref, MAX_NAME, empty=link.kind == "target")
    sentence = _text("sentence", link.sentence, empty=True)
    snapshot = _line("snapshot", link.snapshot, MAX_NAME, empty=True)
    return RoleEvidence(link.kind, target, ref, sentence, snapshot)


def _human_label(label: HumanLabel) -> HumanLabel:
    _one_of("side", label.side, SIDES)
    return HumanLabel(_target(label.target, ids.FeatureId), _text("label", label.text), label.side)


def _comment(comment: Comment) -> Comment:
    return Comment(_target(comment.target), _text("comment", comment.text))


def _vote(vote: Vote) -> Vote:
    _one_of("vote", vote.choice, CHOICES)
    return Vote(note_id(vote.about), vote.choice, _text("reason", vote.reason, empty=True))


def _collection(collection: CollectionContent) -> CollectionContent:
    if len(collection.members) > MAX_MEMBERS:
        raise NotesError(f"more than {MAX_MEMBERS} members", "make a second collection")
    return CollectionContent(
        _line("name", collection.name, MAX_NAME),
        _text("description", collection.description, empty=True),
        tuple(
            Member(_target(member.target), _text("sentence", member.sentence, empty=True))
            for member in collection.members
        ),
    )


def _saved_query(query: SavedQuery) -> SavedQuery:
    if query.form == "hypothesis":
        _hypothesis(query)
    return SavedQuery(
        _line("name", query.name, MAX_NAME),
        _text("query", query.text),
        cast("Any", _one_of("form", query.form, QUERY_FORMS)),
        _parameters(query.parameters),
        _text("description", query.description, empty=True),
    )


def _hypothesis(query: SavedQuery) -> None:
    """It must be in the language, name its target, and may give the seed of what is drawn."""
    try:
        parse(_text("hypothesis", query.text))
    except QueryError as error:
        raise NotesError(error.message, error.hint) from error
    given = query.parameters if isinstance(query.parameters, dict) else {}
    if "target" not in given:
        raise NotesError("a hypothesis needs a target", "give its id as parameter target")
    _target(given["target"])
    if unknown := set(given) - {"target", "seed"}:
        raise NotesError(f"a hypothesis has no parameter {min(unknown)!r}", "known: target, seed")
    seed = given.get("seed", 0)
    if type(seed) is not int:
        raise NotesError(f"seed is {seed!r}", "give a whole number")


def _parameters(parameters: object) -> dict[str, Any]:
    if not isinstance(parameters, dict) or len(parameters) > MAX_PARAMETERS:
        raise NotesError(f"parameters must map at most {MAX_PARAMETERS} names to their defaults")
    for name, value in parameters.items():
        if not isinstance(name, str) or not _PARAMETER.fullmatch(name):
            raise NotesError(f"not a parameter name: {_shown(name)}", "use letters, digits and _")
        if isinstance(value, str):
            _text(f"parameter {name}", value, empty=True, strip=False)
        elif isinstance(value, float) and not math.isfinite(value):
            raise NotesError(f"parameter {name} is not finite: {value}", "give a number")
        elif value is not None and not isinstance(value, bool | int | float):
            raise NotesError(f"parameter {name} is no plain value: {_shown(value)}")
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise NotesError(f"parameter {name} does not fit 64 bits: {value}")
    return dict(sorted(parameters.items()))


def _target(text: object, kind: type[Any] | None = None) -> str:
    line = _line("id", text, MAX_ID)
    found = ids.parse(line)
    if kind and not isinstance(found, kind):
        wanted = {ids.HeadId: "head: gpt2/L5H1", ids.FeatureId: "feature: gpt2/5-att-kk/123"}
        raise NotesError(f"{found} is of the wrong kind", f"give the id of a {wanted[kind]}")
    return str(found)


def _one_of(what: str, value: object, allowed: Collection[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise NotesError(f"unknown {what} {_shown(value)}", f"known: {', '.join(allowed)}")
    return value


def _line(what: str, value: object, limit: int, *, empty: bool = False) -> str:
    text = _text(what, value, empty=empty, limit=limit)
    if "\n" in text or "\t" in text:
        raise NotesError(f"{what} must be one line: {_shown(text)}")
    return text


def _text(
    what: str, value: object, *, empty: bool = False, limit: int = MAX_TEXT, strip: bool = True
) -> str:
    if not isinstance(value, str):
        raise NotesError(f"{what} must be text: {_shown(value)}")
    text = value.replace("\r\n", "\n")
    text = text.strip() if strip else text
    if not text and not empty:
        raise NotesError(f"{what} is empty", "write something")
    if len(text) > limit:
        raise NotesError(f"{what} has {len(text)} characters", f"{limit} are allowed")
    bad = next((c for c in text if c not in "\n\t" and unicodedata.category(c) in _REFUSED), None)
    if bad is not None:
        raise NotesError(f"{what} has the control character U+{ord(bad):04X}", "leave it out")
    return text


_REFUSED = {"Cc", "Cs"}  # control characters, and halves of surrogate pairs that no store can hold


def _shown(value: object) -> str:
    return repr(value)[:80]


_CHECKS: dict[type, Callable[[Any], Content]] = {
    Tag: _tag,
    RoleClaim: _role_claim,
    HumanLabel: _human_label,
    Comment: _comment,
    Vote: _vote,
    CollectionContent: _collection,
    SavedQuery: _saved_query,
}
