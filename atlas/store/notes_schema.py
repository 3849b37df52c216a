"""The tables of people's notes: one row in `note` for what all share, one in the kind's own table.

The sentence of each table and column is its comment here; schema pages and PostgreSQL show it.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC in Python, a timestamp without zone in the database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value and value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Root of the tables."""

    type_annotation_map = {str: Text, datetime: UtcTime, dict[str, Any]: JSON}


def _column(comment: str, *args: Any, **options: Any) -> Any:
    return mapped_column(*args, comment=comment, **options)


class NoteRow(Base):
    """What every note has."""

    __tablename__ = "note"
    __table_args__ = {"comment": "What every note has, whatever its kind."}
    __mapper_args__ = {"polymorphic_on": "kind"}

    id: Mapped[str] = _column("Id of the note", primary_key=True)
    kind: Mapped[str] = _column("Table that holds the rest of it")
    target: Mapped[str | None] = _column(
        "Id it speaks of, such as gpt2/L5H1 or gpt2/5-att-kk/123", index=True
    )
    author: Mapped[str] = _column("Who wrote it first")
    version: Mapped[int] = _column("Number of its changes, from 1")
    created_at: Mapped[datetime] = _column("When it was first written, UTC")
    changed_at: Mapped[datetime] = _column("When it was last changed, UTC")
    changed_by: Mapped[str] = _column("Who changed it last")
    deleted: Mapped[bool] = _column("Whether it was removed; its last words stay")
    searchable: Mapped[str] = _column("Its words in lower case, for searching")


class TagRow(NoteRow):
    """A word on anything."""

    __tablename__ = "tag"
    __table_args__ = {
        "comment": "Words on heads and features; one row per author, target and name."
    }
    __mapper_args__ = {"polymorphic_identity": "tag", "polymorphic_load": "inline"}

    id: Mapped[str] = _column("note.id", ForeignKey("note.id"), primary_key=True)
    name: Mapped[str] = _column("The tag", index=True)


class RoleClaimRow(NoteRow):
    """What a head is said to do."""

    __tablename__ = "role_claim"
    __table_args__ = {"comment": "What somebody says a head does, where, and how surely."}
    __mapper_args__ = {"polymorphic_identity": "role_claim", "polymorphic_load": "inline"}

    id: Mapped[str] = _column("note.id", ForeignKey("note.id"), primary_key=True)
    role: Mapped[str] = _column("Role, from the fixed vocabulary, such as induction")
    words: Mapped[str] = _column("The claim in the author's own words")
    dataset: Mapped[str] = _column("Text it is claimed for; empty for any")
    condition: Mapped[str] = _column("Condition it is claimed under; empty for none")
    confidence: Mapped[float] = _column("The author's confidence, 0 to 1")
    status: Mapped[str] = _column("open, confirmed or withdrawn")
    evidence: Mapped[list["RoleEvidenceRow"]] = relationship(
        order_by="RoleEvidenceRow.rank", cascade="all, delete-orphan", lazy="selectin"
    )


class RoleEvidenceRow(Base):
    """What a claim rests on."""

    __tablename__ = "role_evidence"
    __table_args__ = {"comment": "What a role claim rests on, one row per link."}

    claim: Mapped[str] = _column("role_claim.id", ForeignKey("role_claim.id"), primary_key=True)
    rank: Mapped[int] = _column("Order within the claim, from 0", primary_key=True)
    kind: Mapped[str] = _column("target, example, metric or query")
    target: Mapped[str] = _column(
        "Id it speaks of: any id, for an example its feature, for a metric its head"
    )
    ref: Mapped[str] = _column(
        "An example's kind and rank such as top/3, a metric's name, or saved_query.id"
    )
    sentence: Mapped[str] = _column("What it shows")
    snapshot: Mapped[str] = _column("Name of the snapshot it was seen in; may be empty")


class HumanLabelRow(NoteRow):
    """A person's label."""

    __tablename__ = "human_label"
    __table_args__ = {"comment": "Labels of features that people wrote."}
    __mapper_args__ = {"polymorphic_identity": "human_label", "polymorphic_load": "inline"}

    id: Mapped[str] = _column("note.id", ForeignKey("note.id"), primary_key=True)
    side: Mapped[str] = _column("title, when (it fires), fetches or says, as in label.side")
    text: Mapped[str] = _column("The label")


class CommentRow(NoteRow):
    """A remark."""

    __tablename__ = "comment"
    __table_args__ = {"comment": "Remarks on heads, features, SAEs and models."}
    __mapper_args__ = {"polymorphic_identity": "comment", "polymorphic_load": "inline"}

    id: Mapped[str] = _column("note.id", ForeignKey("note.id"), primary_key=True)
    text: Mapped[str] = _column("The remark")


class VoteRow(NoteRow):
    """One person's judgement."""

    __tablename__ = "vote"
    __table_args__ = {
        "comment": "Who agrees with or disputes a role claim or a label; one row per author of it."
    }

    id: Mapped[str] = _column("note.id", ForeignKey("note.id"), primary_key=True)
    about: Mapped[str] = _column(
        "role_claim.id or human_label.id", ForeignKey("note.id"), index=True
    )
    choice: Mapped[str] = _column("agree or dispute")
    reason: Mapped[str] = _column("Why; may be empty")

    __mapper_args__ = {
        "polymorphic_identity": "vote",
        "polymorphic_load": "inline",
        "inherit_condition": id == NoteRow.id,
    }


class CollectionRow(NoteRow):
    """A named list."""

    __tablename__ = "collection"
    __table_args__ = {"comment": "Named, ordered lists of heads and features."}
    __mapper_args__ = {"polymorphic_identity": "collection", "polymorphic_load": "inline"}

    id: Mapped[str] = _column("note.id", ForeignKey("note.id"), primary_key=True)
    name: Mapped[str] = _column("Its name")
    description: Mapped[str] = _column("What it is for")
    members: Mapped[list["CollectionMemberRow"]] = relationship(
        order_by="CollectionMemberRow.rank", cascade="all, delete-orphan", lazy="selectin"
    )


class CollectionMemberRow(Base):
    """One place of a collection."""

    __tablename__ = "collection_member"
    __table_args__ = {"comment": "What is in a collection, one row per place."}

    collection: Mapped[str] = _column(
        "collection.id", ForeignKey("collection.id"), primary_key=True
    )
    rank: Mapped[int] = _column("Order within the collection, from 0", primary_key=True)
    target: Mapped[str] = _column("Id of the member", index=True)
    sentence: Mapped[str] = _column("Why it is in; may be empty")


class SavedQueryRow(NoteRow):
    """A query worth keeping."""

    __tablename__ = "saved_query"
    __table_args__ = {"comment": "Queries that people keep, with the defaults of their parameters."}
    __mapper_args__ = {"polymorphic_identity": "saved_query", "polymorphic_load": "inline"}

    id: Mapped[str] = _column("note.id", ForeignKey("note.id"), primary_key=True)
    name: Mapped[str] = _column("Its name")
    form: Mapped[str] = _column("sql or search")
    text: Mapped[str] = _column("The SQL, or the URL of the search")
    parameters: Mapped[dict[str, Any]] = _column("Parameter name to default, as JSON")
    description: Mapped[str] = _column("What it answers")


class HistoryRow(Base):
    """One change of one note. Rows are only ever added."""

    __tablename__ = "history"
    __table_args__ = (
        UniqueConstraint("note", "version", name="history_note_version"),
        {"comment": "Every change of every note: who, when, what it was before and after."},
    )

    number: Mapped[int] = _column(
        "Order in which this store learned of the changes, from 1",
        primary_key=True,
        autoincrement=False,
    )
    note: Mapped[str] = _column("Id of the note", ForeignKey("note.id"))
    kind: Mapped[str] = _column("Table of the note")
    version: Mapped[int] = _column("Number of the change within the note, from 1")
    action: Mapped[str] = _column("add, edit, remove, undo or import")
    author: Mapped[str] = _column("Who did it")
    changed_at: Mapped[datetime] = _column("When, UTC")
    before: Mapped[str | None] = _column("The note before, as JSON; NULL where there was none")
    after: Mapped[str | None] = _column("The note after, as JSON; NULL where it was removed")


class ChangeCounter(Base):
    """Holds one row, the number of changes in all.

    Every writer changes that row first, so writers take turns on PostgreSQL as they do on SQLite,
    and whoever remembers the number can tell cheaply whether anything is new.
    """

    __tablename__ = "change_counter"
    __table_args__ = {"comment": "One row: how many changes this store holds."}

    id: Mapped[int] = _column("Always 1", primary_key=True, autoincrement=False)
    changes: Mapped[int] = _column("Number of the last row of history")


ROWS: dict[str, type[NoteRow]] = {
    "tag": TagRow,
    "role_claim": RoleClaimRow,
    "human_label": HumanLabelRow,
    "comment": CommentRow,
    "vote": VoteRow,
    "collection": CollectionRow,
    "saved_query": SavedQueryRow,
}
"""Kind to its class."""
