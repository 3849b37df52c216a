"""The first tables of people's notes: what all share, one per kind, history, counter."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables, and the one row of the counter."""
    op.create_table(
        "change_counter",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False, comment="Always 1"),
        sa.Column(
            "changes", sa.Integer(), nullable=False, comment="Number of the last row of history"
        ),
        sa.PrimaryKeyConstraint("id"),
        comment="One row: how many changes this store holds.",
    )
    op.create_table(
        "note",
        sa.Column("id", sa.Text(), nullable=False, comment="Id of the note"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Table that holds the rest of it"),
        sa.Column(
            "target",
            sa.Text(),
            nullable=True,
            comment="Id it speaks of, such as gpt2/L5H1 or gpt2/5-att-kk/123",
        ),
        sa.Column("author", sa.Text(), nullable=False, comment="Who wrote it first"),
        sa.Column("version", sa.Integer(), nullable=False, comment="Number of its changes, from 1"),
        sa.Column(
            "created_at", sa.DateTime(), nullable=False, comment="When it was first written, UTC"
        ),
        sa.Column(
            "changed_at", sa.DateTime(), nullable=False, comment="When it was last changed, UTC"
        ),
        sa.Column("changed_by", sa.Text(), nullable=False, comment="Who changed it last"),
        sa.Column(
            "deleted",
            sa.Boolean(),
            nullable=False,
            comment="Whether it was removed; its last words stay",
        ),
        sa.Column(
            "searchable",
            sa.Text(),
            nullable=False,
            comment="Its words in lower case, for searching",
        ),
        sa.PrimaryKeyConstraint("id"),
        comment="What every note has, whatever its kind.",
    )
    op.create_index("ix_note_target", "note", ["target"])

    op.create_table(
        "collection",
        sa.Column("id", sa.Text(), nullable=False, comment="note.id"),
        sa.Column("name", sa.Text(), nullable=False, comment="Its name"),
        sa.Column("description", sa.Text(), nullable=False, comment="What it is for"),
        sa.ForeignKeyConstraint(["id"], ["note.id"]),
        sa.PrimaryKeyConstraint("id"),
        comment="Named, ordered lists of heads and features.",
    )
    op.create_table(
        "comment",
        sa.Column("id", sa.Text(), nullable=False, comment="note.id"),
        sa.Column("text", sa.Text(), nullable=False, comment="The remark"),
        sa.ForeignKeyConstraint(["id"], ["note.id"]),
        sa.PrimaryKeyConstraint("id"),
        comment="Remarks on heads, features, SAEs and models.",
    )
    op.create_table(
        "history",
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Order in which this store learned of the changes, from 1",
        ),
        sa.Column("note", sa.Text(), nullable=False, comment="Id of the note"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Table of the note"),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="Number of the change within the note, from 1",
        ),
        sa.Column("action", sa.Text(), nullable=False, comment="add, edit, remove, undo or import"),
        sa.Column("author", sa.Text(), nullable=False, comment="Who did it"),
        sa.Column("changed_at", sa.DateTime(), nullable=False, comment="When, UTC"),
        sa.Column(
            "before",
            sa.Text(),
            nullable=True,
            comment="The note before, as JSON; NULL where there was none",
        ),
        sa.Column(
            "after",
            sa.Text(),
            nullable=True,
            comment="The note after, as JSON; NULL where it was removed",
        ),
        sa.ForeignKeyConstraint(["note"], ["note.id"]),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("note", "version", name="history_note_version"),
        comment="Every change of every note: who, when, what it was before and after.",
    )
    op.create_table(
        "human_label",
        sa.Column("id", sa.Text(), nullable=False, comment="note.id"),
        sa.Column(
            "side",
            sa.Text(),
            nullable=False,
            comment="title, when (it fires), fetches or says, as in label.side",
        ),
        sa.Column("text", sa.Text(), nullable=False, comment="The label"),
        sa.ForeignKeyConstraint(["id"], ["note.id"]),
        sa.PrimaryKeyConstraint("id"),
        comment="Labels of features that people wrote.",
    )
    op.create_table(
        "role_claim",
        sa.Column("id", sa.Text(), nullable=False, comment="note.id"),
        sa.Column(
            "role",
            sa.Text(),
            nullable=False,
            comment="Role, from the fixed vocabulary, such as induction",
        ),
        sa.Column(
            "words", sa.Text(), nullable=False, comment="The claim in the author's own words"
        ),
        sa.Column(
            "dataset", sa.Text(), nullable=False, comment="Text it is claimed for; empty for any"
        ),
        sa.Column(
            "condition",
            sa.Text(),
            nullable=False,
            comment="Condition it is claimed under; empty for none",
        ),
        sa.Column(
            "confidence", sa.Double(), nullable=False, comment="The author's confidence, 0 to 1"
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="open, confirmed or withdrawn"),
        sa.ForeignKeyConstraint(["id"], ["note.id"]),
        sa.PrimaryKeyConstraint("id"),
        comment="What somebody says a head does, where, and how surely.",
    )
    op.create_table(
        "saved_query",
        sa.Column("id", sa.Text(), nullable=False, comment="note.id"),
        sa.Column("name", sa.Text(), nullable=False, comment="Its name"),
        sa.Column("form", sa.Text(), nullable=False, comment="sql or search"),
        sa.Column("text", sa.Text(), nullable=False, comment="The SQL, or the URL of the search"),
        sa.Column(
            "parameters", sa.JSON(), nullable=False, comment="Parameter name to default, as JSON"
        ),
        sa.Column("description", sa.Text(), nullable=False, comment="What it answers"),
        sa.ForeignKeyConstraint(["id"], ["note.id"]),
        sa.PrimaryKeyConstraint("id"),
        comment="Queries that people keep, with the defaults of their parameters.",
    )
    op.create_table(
        "tag",
        sa.Column("id", sa.Text(), nullable=False, comment="note.id"),
        sa.Column("name", sa.Text(), nullable=False, comment="The tag"),
        sa.ForeignKeyConstraint(["id"], ["note.id"]),
        sa.PrimaryKeyConstraint("id"),
        comment="Words on heads and features; one row per author, target and name.",
    )
    op.create_index("ix_tag_name", "tag", ["name"])

    op.create_table(
        "vote",
        sa.Column("id", sa.Text(), nullable=False, comment="note.id"),
        sa.Column("about", sa.Text(), nullable=False, comment="role_claim.id or human_label.id"),
        sa.Column("choice", sa.Text(), nullable=False, comment="agree or dispute"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why; may be empty"),
        sa.ForeignKeyConstraint(["about"], ["note.id"]),
        sa.ForeignKeyConstraint(["id"], ["note.id"]),
        sa.PrimaryKeyConstraint("id"),
        comment="Who agrees with or disputes a role claim or a label; one row per author of it.",
    )
    op.create_index("ix_vote_about", "vote", ["about"])

    op.create_table(
        "collection_member",
        sa.Column("collection", sa.Text(), nullable=False, comment="collection.id"),
        sa.Column(
            "rank", sa.Integer(), nullable=False, comment="Order within the collection, from 0"
        ),
        sa.Column("target", sa.Text(), nullable=False, comment="Id of the member"),
        sa.Column("sentence", sa.Text(), nullable=False, comment="Why it is in; may be empty"),
        sa.ForeignKeyConstraint(["collection"], ["collection.id"]),
        sa.PrimaryKeyConstraint("collection", "rank"),
        comment="What is in a collection, one row per place.",
    )
    op.create_index("ix_collection_member_target", "collection_member", ["target"])

    op.create_table(
        "role_evidence",
        sa.Column("claim", sa.Text(), nullable=False, comment="role_claim.id"),
        sa.Column("rank", sa.Integer(), nullable=False, comment="Order within the claim, from 0"),
        sa.Column("kind", sa.Text(), nullable=False, comment="target, example, metric or query"),
        sa.Column(
            "target",
            sa.Text(),
            nullable=False,
            comment="Id it speaks of: any id, for an example its feature, for a metric its head",
        ),
        sa.Column(
            "ref",
            sa.Text(),
            nullable=False,
            comment="An example's kind and rank such as top/3, a metric's name, or saved_query.id",
        ),
        sa.Column("sentence", sa.Text(), nullable=False, comment="What it shows"),
        sa.Column(
            "snapshot",
            sa.Text(),
            nullable=False,
            comment="Name of the snapshot it was seen in; may be empty",
        ),
        sa.ForeignKeyConstraint(["claim"], ["role_claim.id"]),
        sa.PrimaryKeyConstraint("claim", "rank"),
        comment="What a role claim rests on, one row per link.",
    )
    op.execute("INSERT INTO change_counter (id, changes) VALUES (1, 0)")
