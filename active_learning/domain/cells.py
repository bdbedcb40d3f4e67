"""Cells of tables as people and programs write them: what counts as empty, and which number stands there."""

from __future__ import annotations

import math
from typing import Any

from active_learning.domain.label import LARGEST_VALUE

__all__ = ["is_missing", "number_in", "text_of"]

_MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-"})


def text_of(cell: Any) -> str:
    """The cell as text without blanks around it; None is the empty text."""
    return "" if cell is None else str(cell).strip()


def is_missing(cell: Any) -> bool:
    """Whether a cell of numbers is empty: no text, a dash, NaN, "n/a", "none", "null".

    Not for formulas: NaN is sodium nitride.
    """
    return text_of(cell).lower() in _MISSING


def number_in(cell: Any) -> float:
    """The number in a cell that is not empty.

    Raises
    ------
    ValueError
        If what stands there is not a finite number, or larger than any property; true and false are none.
    """
    try:
        value = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{' '.join(str(cell).split())[:40]!r} is not a finite number")
    if abs(value) > LARGEST_VALUE:
        raise ValueError(f"{value:g} is larger than any property: at most {LARGEST_VALUE:g}")
    return value
