"""Rows of a study as the columns of their table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from atlas.tables import TABLES


def table_of(name: str, rows: Sequence[Mapping[str, Any]], run: str) -> pa.Table:
    """Rows as a table of a bundle, each with the run's name.

    Args:
        name: a key of TABLES.
        rows: a value for every column but `run`; more are passed over.
        run: the run.
    """
    arrays = []
    for column in TABLES[name]:
        values = [run if column.name == "run" else row[column.name] for row in rows]
        if pa.types.is_dictionary(column.type):
            arrays.append(pa.array(values, column.type.value_type).dictionary_encode())
        else:
            arrays.append(pa.array(values, column.type))
    return pa.table(arrays, schema=TABLES[name])
