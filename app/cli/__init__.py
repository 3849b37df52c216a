"""The command line: the one place where all parts meet.

One file per kind of command; each imports what it needs when it is called, to start fast.
"""

# They register their commands; the order is that of the help.
from app.cli import make, study, look, sql, labels, web, notes, files  # noqa: F401, I001
from app.cli.base import cli, main

__all__ = ["cli", "main"]
