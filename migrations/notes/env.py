"""Runs the migrations of people's notes, on the connection given or on the URL of alembic.ini."""

from alembic import context
from sqlalchemy import Connection, create_engine

from atlas.store.notes_schema import Base


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url")).begin() as opened:
        _run(opened)
