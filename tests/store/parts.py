"""Small bundles that hold only some tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from atlas.bundle import Bundle, seal, write_table
from atlas.tables import TABLES


def a_part(folder: Path, of: str, **tables: Mapping[str, list[Any]]) -> Bundle:
    """A sealed bundle of the given tables; columns left out are NULL."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        rows = len(next(iter(columns.values())))
        arrays = {}
        for field in TABLES[name]:
            kind = pa.string() if pa.types.is_dictionary(field.type) else field.type
            array = pa.array(columns.get(field.name, [None] * rows), kind)
            arrays[field.name] = array.dictionary_encode() if kind is not field.type else array
        write_table(folder, name, pa.table(arrays))
    return seal(folder, of)


def a_label(text: str, sae: str = "toy/1-t", feature: int = 1, **changes: Any) -> dict[str, Any]:
    """One title label by a language model."""
    row = {"sae": sae, "feature": feature, "side": "title", "method": "llm", "model": "m"}
    row |= {"prompt": "p1", "text": text, "support": 0.5, "n": 10} | changes
    return {name: [value] for name, value in row.items()}
