"""What people write about heads and features: the content of a note, and the note around it.

A person gives a content (frozen, whole); the store adds who, when and which version. Targets are
ids of atlas.ids as text.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeVar

from atlas.types import LabelSide

ROLES: dict[str, str] = {
    "induction": "After [A][B] … [A] it attends to the earlier [B] and raises it.",
    "long_prefix_induction": "Induction that needs several matching tokens before [B], not one.",
    "previous_token": "Attends to the token just before.",
    "duplicate_token": "Attends to an earlier copy of the current token.",
    "current_token": "Attends to the token itself and writes what follows from it alone.",
    "successor": "Raises the next element of an ordered list, such as Tuesday after Monday.",
    "name_mover": "Attends to a name and raises that name.",
    "backup_name_mover": "Moves names once the usual name movers are taken away.",
    "negative_name_mover": "Attends to a name and lowers that name.",
    "s_inhibition": "Tells later heads which name is repeated, so that they look at the other one.",
    "copy_suppression": "Attends to a token that is already predicted and lowers it.",
    "letter_mover": "Copies letters, such as the first letters that make an acronym.",
    "local_context": "Reads the last few tokens: short phrases and fixed expressions.",
    "long_range_context": "Gathers from far back what the text is about.",
    "syntax": "Links words by grammar or brackets: a verb to its subject, a close to its open.",
    "attention_sink": "Rests on the first token when it has nothing to add.",
    "positional": "Attends by position or distance alone, whatever the tokens are.",
    "other": "None of these: the claim's own words say it.",
}
"""The vocabulary of roles, each with its sentence."""

Status = Literal["open", "confirmed", "withdrawn"]
Choice = Literal["agree", "dispute"]
EvidenceKind = Literal["target", "example", "metric", "query"]
QueryForm = Literal["sql", "search", "hypothesis"]
Scalar = str | int | float | bool | None
Action = Literal["add", "edit", "remove", "undo", "import"]

STATUSES: tuple[Status, ...] = ("open", "confirmed", "withdrawn")
CHOICES: tuple[Choice, ...] = ("agree", "dispute")
EVIDENCE_KINDS: tuple[EvidenceKind, ...] = ("target", "example", "metric", "query")
QUERY_FORMS: tuple[QueryForm, ...] = ("sql", "search", "hypothesis")
SIDES: tuple[LabelSide, ...] = ("title", "when", "fetches", "says")
ACTIONS: tuple[Action, ...] = ("add", "edit", "remove", "undo", "import")


@dataclass(frozen=True, slots=True)
class Tag:
    """A word on anything that has an id; one per author, target and name."""

    target: str
    name: str


@dataclass(frozen=True, slots=True)
class RoleEvidence:
    """One thing a role claim rests on."""

    kind: EvidenceKind
    target: str = ""
    """Id it speaks of: any id, for an example its feature, for a metric its head; else empty."""
    ref: str = ""
    """For an example `kind/rank` such as top/3, for a metric its name, for a query its note id."""
    sentence: str = ""
    """What it shows."""
    snapshot: str = ""
    """Name of the snapshot it was seen in."""


@dataclass(frozen=True, slots=True)
class RoleClaim:
    """What somebody says a head does, where, and why."""

    target: str
    """A head."""
    role: str
    """A key of ROLES."""
    words: str = ""
    """The claim in the author's own words."""
    dataset: str = ""
    """Text it is claimed for; empty for any."""
    condition: str = ""
    """Condition it is claimed under; empty for none."""
    confidence: float = 0.5
    """0 to 1."""
    status: Status = "open"
    evidence: tuple[RoleEvidence, ...] = ()


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """A person's label of a feature."""

    target: str
    """A feature."""
    text: str
    side: LabelSide = "title"


@dataclass(frozen=True, slots=True)
class Comment:
    """A remark on anything that has an id."""

    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's judgement of a role claim or a label; one per author and note."""

    about: str
    """Id of the note."""
    choice: Choice
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One place of a collection."""

    target: str
    sentence: str = ""
    """Why it is in."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A named, ordered list."""

    name: str
    description: str = ""
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query worth keeping."""

    name: str
    text: str
    """SQL, the URL of a search, or a hypothesis; that has its target among the parameters."""
    form: QueryForm = "sql"
    parameters: dict[str, Scalar] = field(default_factory=dict)
    """Parameter name to its default."""
    description: str = ""


Content = Tag | RoleClaim | HumanLabel | Comment | Vote | Collection | SavedQuery
C = TypeVar("C", bound=Content)
C_co = TypeVar("C_co", bound=Content, covariant=True)
J = TypeVar("J", bound=RoleClaim | HumanLabel)
J_co = TypeVar("J_co", bound=RoleClaim | HumanLabel, covariant=True)

KINDS: dict[str, type[Content]] = {
    "tag": Tag,
    "role_claim": RoleClaim,
    "human_label": HumanLabel,
    "comment": Comment,
    "vote": Vote,
    "collection": Collection,
    "saved_query": SavedQuery,
}
"""Kind, which is also its table, to the class of its content."""


@dataclass(frozen=True, slots=True)
class Note(Generic[C_co]):
    """A content with who wrote it and which version it is."""

    id: str
    content: C_co
    author: str
    """Who wrote it first."""
    version: int
    """Counts its changes, from 1; an edit names the version it is based on."""
    created_at: datetime
    changed_at: datetime
    changed_by: str

    @property
    def kind(self) -> str:
        """Kind of its content, a key of KINDS."""
        return next(kind for kind, made in KINDS.items() if isinstance(self.content, made))


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a note's history."""

    number: int
    """Order in which this store learned of the changes of all notes, from 1."""
    note: str
    kind: str
    version: int
    action: Action
    author: str
    changed_at: datetime
    before: Content | None
    """None where the note was not there, or was removed."""
    after: Content | None


@dataclass(frozen=True, slots=True)
class Judged(Generic[J_co]):
    """A role claim or label with the votes on it."""

    note: Note[J_co]
    votes: tuple[Note[Vote], ...] = ()

    @property
    def agree(self) -> int:
        """How many agree."""
        return sum(vote.content.choice == "agree" for vote in self.votes)

    @property
    def dispute(self) -> int:
        """How many dispute it."""
        return sum(vote.content.choice == "dispute" for vote in self.votes)


@dataclass(frozen=True, slots=True)
class NotesOn:
    """Everything people wrote about one target, oldest first."""

    target: str
    tags: tuple[Note[Tag], ...]
    claims: tuple[Judged[RoleClaim], ...]
    labels: tuple[Judged[HumanLabel], ...]
    comments: tuple[Note[Comment], ...]
    collections: tuple[Note[Collection], ...]
    """Collections it is a member of."""


@dataclass(frozen=True, slots=True)
class TagUse:
    """A tag's name and how many targets carry it."""

    name: str
    targets: int


@dataclass(frozen=True, slots=True)
class Marks:
    """What notes say of their targets in one word, by which a search can be narrowed."""

    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Tag to the ids that carry it."""
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Role to the heads it is claimed for; withdrawn claims are left out."""
    named: tuple[str, ...] = ()
    """Features with a title that a person wrote."""


@dataclass(frozen=True, slots=True)
class NoteHit:
    """A note that holds all words searched for."""

    note: str
    kind: str
    targets: tuple[str, ...]
    """What it speaks of; a collection speaks of its members, a saved query of nothing."""
    text: str
    """Its words, in one line."""
    author: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in notes."""

    added: int
    extended: int
    """Notes that were here and got the changes they lacked."""
    copied: int
    """Notes changed on both sides: ours stays, theirs stands beside it as a note of its own."""
    merged: int
    """Tags and votes changed on both sides: the later state holds, both are in the history."""
    known: int
    """Notes with nothing new."""
