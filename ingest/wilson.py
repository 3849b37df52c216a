"""The interval of a share that was counted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def wilson(count: NDArray[Any], total: NDArray[Any] | float) -> tuple[NDArray[Any], NDArray[Any]]:
    """95 % Wilson interval of count / total; (0, 1) where total is 0."""
    z2 = 1.96**2
    n = np.maximum(np.asarray(total, np.float64), 1e-12)
    p = count / n
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    empty = np.asarray(total) == 0
    low = np.where(empty | (p == 0), 0.0, middle - half)  # exactly, whatever the rounding
    return low, np.where(empty | (p == 1), 1.0, middle + half)
