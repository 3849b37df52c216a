"""Evidence migrations: in order, each whole or not at all, fresh equals upgraded."""

import duckdb
import pytest

from atlas.errors import StoreError
from atlas.store.schema import Step, migrate, steps, version_of


def layout(con):
    return con.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        " ORDER BY table_name, column_index"
    ).fetchall()


def test_migrations_bring_an_empty_database_to_the_last_version():
    con = duckdb.connect()
    assert version_of(con) == 0
    assert migrate(con) == len(steps())
    assert version_of(con) == len(steps())
    assert migrate(con) == 0


@pytest.mark.parametrize("n", range(1, len(steps())))
def test_a_database_of_any_older_version_becomes_the_same_as_a_fresh_one(n):
    fresh, upgraded = duckdb.connect(), duckdb.connect()
    migrate(fresh)
    migrate(upgraded, steps()[:n])
    migrate(upgraded)
    assert layout(upgraded) == layout(fresh)


def test_a_migration_that_fails_leaves_nothing_and_stays_pending():
    con = duckdb.connect()
    broken = Step(2, "broken", "CREATE TABLE half (a INTEGER); SELECT * FROM nowhere")
    with pytest.raises(duckdb.CatalogException):
        migrate(con, (steps()[0], broken))
    assert version_of(con) == 1
    assert "half" not in {row[0] for row in layout(con)}


def test_a_database_of_a_newer_program_is_refused_with_both_versions():
    con = duckdb.connect()
    migrate(con, (*steps(), Step(len(steps()) + 1, "future", "CREATE TABLE future (a INTEGER)")))
    with pytest.raises(StoreError, match=rf"version {len(steps()) + 1}.* up to {len(steps())}"):
        migrate(con)
