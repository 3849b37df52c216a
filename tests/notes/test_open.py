"""Making, upgrading and refusing a store of notes."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from atlas.errors import NotesError, StoreError
from atlas.note_types import Comment, HumanLabel
from atlas.store.notes import Notes
from atlas.store.notes_open import migrations, open_engine
from atlas.store.notes_schema import Base
from tests.notes.conftest import Clock

NEXT = '''"""A revision of the future, for this test."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    with op.batch_alter_table("comment", recreate="{recreate}") as batch:
        batch.add_column(sa.Column("mood", sa.Text(), server_default="calm"))
{more}'''


@pytest.fixture
def future(tmp_path):
    """The migrations with one more at the end."""
    return _with_next(tmp_path / "future")


def _with_next(folder, more=""):
    from alembic.script import ScriptDirectory

    head = ScriptDirectory(str(migrations())).get_current_head()
    shutil.copytree(migrations(), folder)
    recreate = "always" if not more else "never"
    text = NEXT.format(revision="9999", before=head, more=more, recreate=recreate)
    (folder / "versions" / "9999_next.py").write_text(text)
    return folder


def test_the_migrations_make_the_tables_that_the_program_uses(place):
    Notes.open(place).close()
    engine = open_engine(place)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_a_file_of_an_older_revision_is_copied_then_upgraded_with_all_its_notes(tmp_path, future):
    path = tmp_path / "notes.sqlite"
    with Notes.open(path, now=Clock()) as notes:
        note = notes.add(Comment("gpt2", "precious"), "ann")
        text = notes.export()
    engine = open_engine(path, scripts=future)
    with Notes(engine) as notes, engine.connect() as connection:
        assert notes.get(note.id) == note
        assert notes.export() == text
        assert connection.exec_driver_sql("SELECT mood FROM comment").scalar() == "calm"
    with Notes.open(tmp_path / "notes.sqlite.before-9999") as copy:
        assert copy.export() == text
    assert not list(tmp_path.glob("*.partial"))


def test_a_copy_put_aside_earlier_is_not_overwritten(tmp_path, future):
    path = tmp_path / "notes.sqlite"
    Notes.open(path).close()
    (tmp_path / "notes.sqlite.before-9999").write_text("an older copy")
    open_engine(path, scripts=future).dispose()
    assert (tmp_path / "notes.sqlite.before-9999").read_text() == "an older copy"
    assert (tmp_path / "notes.sqlite.before-9999-2").exists()


def test_a_migration_that_fails_halfway_leaves_the_notes_as_they_were(tmp_path):
    path = tmp_path / "notes.sqlite"
    with Notes.open(path) as notes:
        note = notes.add(Comment("gpt2", "precious"), "ann")
    broken = _with_next(tmp_path / "broken", "    op.execute('SELECT * FROM nowhere')\n")
    with pytest.raises(StoreError, match="no such table: nowhere"):
        open_engine(path, scripts=broken)
    with Notes.open(path) as notes:
        assert notes.get(note.id) == note
    with closing(sqlite3.connect(path)) as raw:
        assert "mood" not in [row[1] for row in raw.execute("PRAGMA table_info(comment)")]


def test_a_database_of_an_older_revision_waits_for_whoever_looks_after_it(server, future):
    from tests.notes.conftest import empty_database

    place = empty_database(server, "old")
    with Notes.open(place) as notes:
        note = notes.add(Comment("gpt2", "precious"), "ann")
    with pytest.raises(StoreError, match="older version .*atlas notes upgrade"):
        open_engine(place, scripts=future)
    with Notes(open_engine(place, scripts=future, upgrade=True)) as notes:
        assert notes.get(note.id) == note
    with pytest.raises(StoreError, match=r"newer version \(9999\).*upgrade feature-atlas"):
        Notes.open(place)


def test_a_file_of_a_newer_revision_is_refused_and_left_alone(tmp_path, future):
    path = tmp_path / "notes.sqlite"
    open_engine(path, scripts=future).dispose()
    with pytest.raises(StoreError, match=r"newer version \(9999\)"):
        Notes.open(path)
    assert not list(tmp_path.glob("*before*"))


def _filled(path):
    with Notes.open(path) as notes:
        for n in range(40):
            notes.add(HumanLabel("gpt2/5-att-kk/7", f"label {n} " + "x" * 4000), "ann")


def _overwrite_middle(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xa5" * (len(data) - len(data) // 2)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[: 10 * 4096]),
        _overwrite_middle,
    ],
    ids=["other bytes", "cut short", "second half overwritten"],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "notes.sqlite"
    _filled(path)
    damage(path)
    with pytest.raises(StoreError, match="notes.sqlite are damaged.*restore a backup"):
        Notes.open(path)


def test_some_other_database_is_not_taken_for_notes(tmp_path):
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE recipe (name TEXT)")
    with pytest.raises(StoreError, match="something else than notes"):
        Notes.open(path)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/nowhere/at/all/notes.sqlite", "no folder /nowhere/at/all"),
        ("mysql://localhost/notes", "cannot live in mysql"),
        ("postgresql+nosuch://localhost/notes", "no driver for postgresql.nosuch"),
        ("://", "does not parse"),
    ],
)
def test_a_place_that_cannot_hold_notes_is_refused(place, message):
    with pytest.raises(StoreError, match=message):
        Notes.open(place)


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=r"ann:\*\*\*@.*cannot be used") as caught:
        Notes.open(f"postgresql+psycopg://ann:secret@/notes?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_notes_that_another_writer_holds_too_long_are_busy_not_broken(tmp_path, monkeypatch):
    monkeypatch.setattr("atlas.store.notes_open.BUSY_SECONDS", 0.05)
    path = tmp_path / "notes.sqlite"
    with Notes.open(path) as notes, closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotesError, match="busy.*try again"):
            notes.add(Comment("gpt2", "x"), "ann")
        assert notes.every(Comment) == ()
        holder.rollback()
        notes.add(Comment("gpt2", "x"), "ann")
