"""Everything a snapshot holds about one SAE, table by table, in batches of rows.

The tables are those of a bundle: the same columns, with the SAE by its lasting id.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import pyarrow as pa

from atlas.ids import SaeId
from atlas.store.evidence import Evidence
from atlas.tables import TABLES

Table = Literal[
    "feature", "feature_head", "example", "context", "neighbour", "label", "label_score"
]
BATCH = 8192
"""Rows that are in memory at once."""

_ROWS = {
    "feature": "SELECT $id AS sae, t.* EXCLUDE (sae) FROM feature t WHERE sae = $sae"
    " ORDER BY feature",
    "feature_head": "SELECT $id AS sae, t.* EXCLUDE (sae) FROM feature_head t WHERE sae = $sae"
    " ORDER BY feature, head",
    "example": "SELECT $id AS sae, t.* EXCLUDE (sae) FROM example t WHERE sae = $sae"
    " ORDER BY feature, kind, band, rank",
    "context": "SELECT t.* FROM context t"
    " WHERE ctx IN (SELECT ctx FROM example WHERE sae = $sae) AND $id IS NOT NULL ORDER BY ctx",
    "neighbour": "SELECT $id AS sae, t.* EXCLUDE (sae, other_sae), o.id AS other_sae"
    " FROM neighbour t JOIN sae o ON o.sae = t.other_sae WHERE t.sae = $sae"
    " ORDER BY feature, o.id, rank",
    "label": "SELECT $id AS sae, t.* EXCLUDE (sae) FROM label t WHERE sae = $sae"
    " ORDER BY feature, side, method, model, prompt",
    "label_score": "SELECT $id AS sae, t.* EXCLUDE (sae) FROM label_score t WHERE sae = $sae"
    " ORDER BY feature, method, model, prompt, scorer",
}


class Rows(NamedTuple):
    """Rows of one table that are read as they are taken."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def rows(evidence: Evidence, name: str | SaeId, table: Table) -> Rows:
    """The rows of `table` about one SAE.

    Raises:
        NotFound: no such SAE.
        StoreError: the snapshot cannot be read.
    """
    sae = evidence.sae(name)
    schema = pa.schema([_plain(column) for column in TABLES[table]])
    found = evidence.batches(_ROWS[table], BATCH, id=str(sae.id), sae=sae.number)
    return Rows(schema, (batch.select(schema.names).cast(schema) for batch in found))


def _plain(column: pa.Field) -> pa.Field:
    """Names as text: a stream of batches has no dictionary of all names."""
    return column.with_type(pa.string()) if pa.types.is_dictionary(column.type) else column
