"""The two stores: evidence snapshots in DuckDB, people's notes through SQLAlchemy."""
