"""Stored values against recomputed ones: how far apart, and how far they may be."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from atlas.verification import Checked, Difference

ABSOLUTE, RELATIVE = 1e-4, 1e-3
"""A value may be off by ABSOLUTE + RELATIVE * the larger of the two: float32 sums in another order,
on another machine, differ by far less, and anything a reader would notice by more."""


class Value(NamedTuple):
    """One stored value, or list of values, with what was computed now."""

    row: str
    """Names the row, such as `example gpt2/5-att/7 top 0`."""
    column: str
    stored: Any
    recomputed: Any
    slack: float = 1.0
    """Factor on what is allowed; more where the job's lower precision is in it."""


def check(what: str, values: Iterable[Value]) -> Checked:
    """Compare values of one kind."""
    rows: set[str] = set()
    count, largest, different = 0, 0.0, []
    for value in values:
        stored, now = _array(value.stored), _array(value.recomputed)
        share = _share(stored, now, value.slack)
        rows.add(value.row)
        count += max(stored.size, 1)
        largest = max(largest, share)
        if share > 1:
            told = _told(stored, now, value.slack)
            different.append(Difference(value.row, value.column, *told, share))
    return Checked(what, len(rows), count, largest, tuple(different))


def _array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, str):
        return np.array([value])
    plain = np.array(value if value is not None else np.nan, np.float64)
    return np.atleast_1d(plain).ravel()


def _share(stored: np.ndarray[Any, Any], now: np.ndarray[Any, Any], slack: float) -> float:
    """Largest deviation over what is allowed; infinite for another length, text or NULL."""
    if stored.dtype.kind == "U" or now.dtype.kind == "U":
        return 0.0 if stored.tolist() == now.tolist() else np.inf
    if stored.shape != now.shape or (np.isnan(stored) != np.isnan(now)).any():
        return np.inf
    return float(np.nanmax(_shares(stored, now, slack), initial=0.0))


def _shares(
    stored: np.ndarray[Any, Any], now: np.ndarray[Any, Any], slack: float
) -> np.ndarray[Any, Any]:
    allowed = slack * (ABSOLUTE + RELATIVE * np.maximum(np.abs(stored), np.abs(now)))
    shares: np.ndarray[Any, Any] = np.abs(stored - now) / allowed
    return shares


def _told(stored: np.ndarray[Any, Any], now: np.ndarray[Any, Any], slack: float) -> tuple[str, str]:
    """The two values, or in lists of one length the pair that is furthest apart."""
    if stored.dtype.kind == "U" or stored.shape != now.shape:
        return _list(stored), _list(now)
    shares = _shares(stored, now, slack)
    worst = int(np.argmax(np.where(np.isnan(shares), np.isnan(stored) != np.isnan(now), shares)))
    place = f" at {worst}" if len(stored) > 1 else ""
    return f"{stored[worst]:.6g}{place}", f"{now[worst]:.6g}{place}"


def _list(values: np.ndarray[Any, Any]) -> str:
    plain: Sequence[Any] = values.tolist()
    if values.dtype.kind == "U":
        return " ".join(plain)
    return f"[{', '.join(f'{one:.4g}' for one in plain[:8])}{', …' if len(plain) > 8 else ''}]"
