"""Frozen types as JSON: ids as their text, times in ISO form, numbers that JSON lacks as null."""

import json
import math
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from atlas.ids import FeatureId, HeadId, ModelId, SaeId


def to_plain(value: Any) -> Any:
    """`value` with only dicts, lists, strings, numbers, booleans and None in it."""
    if isinstance(value, ModelId | HeadId | SaeId | FeatureId | Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(inner) for inner in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: Any) -> str:
    """`value` as indented JSON."""
    return json.dumps(to_plain(value), indent=1, ensure_ascii=False)
