"""How to make a run again: its settings as the file that `atlas ingest` takes."""

import json
from collections.abc import Mapping
from typing import Any


def job_toml(config: Mapping[str, Any]) -> str:
    """A job's settings as TOML; what is None stays out, which is what its default says."""
    return "\n".join(_lines(config, ())) + "\n"


def _lines(config: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """Plain values first, then one section for each part."""
    plain = {name: value for name, value in config.items() if not isinstance(value, Mapping)}
    lines = [f"{name} = {_value(value)}" for name, value in plain.items() if value is not None]
    for name, part in config.items():
        if isinstance(part, Mapping):
            lines += ["", f"[{'.'.join((*path, name))}]", *_lines(part, (*path, name))]
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
