"""The periodic table: what was tried, and where the best lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from active_learning.domain.elements import ATOMIC_NUMBERS, SYMBOLS
from active_learning.domain.target import Target
from active_learning.reporting import style
from active_learning.reporting.elements import Elements
from active_learning.reporting.numbers import plain, property_title, shortened

__all__ = ["best_elements_figure", "place_of", "tried_elements_figure"]

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
_LANTHANUM, _ACTINIUM = 57, 89
_LONG = 7
_GAP = 0.35
"""Between the table and the two rows below it, in cells."""

# The strongest cell is no more opaque than lets its text be read, on a light page and on a dark one.
_FAINTEST, _STRONGEST = 0.10, 0.62
_CELL = 0.45
"""Inches."""


def place_of(symbol: str) -> tuple[int, int]:
    """Row and column of an element in the table, both from 1; lanthanides are in row 8, actinides in row 9.

    >>> place_of("H"), place_of("O"), place_of("Hf"), place_of("Ce")
    ((1, 1), (2, 16), (6, 4), (8, 4))
    """
    z = ATOMIC_NUMBERS[symbol]
    for row, first in ((8, _LANTHANUM), (9, _ACTINIUM)):
        if first <= z < first + 15:
            return row, 3 + z - first
    period = next(i for i, last in enumerate(_NOBLE) if z <= last)
    before, last = _NOBLE[period - 1], _NOBLE[period]
    # From the left as far as the s block goes, from the right otherwise; the fourth period's d block has no gap.
    is_left = z - before <= 2 and z != last
    return period, z - before if is_left else 18 - (last - z)


def tried_elements_figure(found: Elements) -> Figure | None:
    """How many labeled candidates hold each element. None if no formula of a label could be read."""
    if not found.rows:
        return None
    counts = {row.symbol: row.n_labels for row in found.rows}
    most = max(counts.values())
    strength = {symbol: np.log1p(n) / np.log1p(most) for symbol, n in counts.items()}
    texts = {symbol: f"{n:,}" for symbol, n in counts.items()}
    title = f"labeled candidates that hold the element, of {found.n_labels:,}"
    return _table(found, title, texts, strength, style.ACCENT)


def best_elements_figure(found: Elements, target: Target) -> Figure | None:
    """The best value among the labeled candidates that hold each element, the stronger the better.

    None for a goal without a best.
    """
    best = {row.symbol: row.best.label.value for row in found.rows if row.best is not None}
    if not best:
        return None
    merits = target.merit(np.array(list(best.values())))
    spread = float(np.ptp(merits)) or 1.0
    strength = {symbol: (merit - merits.min()) / spread for symbol, merit in zip(best, merits.tolist(), strict=True)}
    if float(np.ptp(merits)) == 0.0:
        strength = dict.fromkeys(best, 1.0)
    texts = {symbol: _short(value) for symbol, value in best.items()}
    title = f"best {property_title(target.property, target.unit)} with the element"
    return _table(found, title, texts, strength, style.BEST)


def _short(value: float) -> str:
    """A number with room in a cell: of three digits, or of two where these would have to be tiny."""
    texts = [plain(value, n_digits).replace("-", "−") for n_digits in (3, 2)]
    return shortened(next((text for text in texts if len(text) < _LONG), texts[-1]), 9)


def _table(found: Elements, title: str, texts: Mapping[str, str], strength: Mapping[str, float], color: str) -> Figure:
    height = 9 + _GAP + 0.7
    figure, (ax,) = style.new_figure(18 * _CELL + 0.2, height * _CELL)
    # One drawing without anything beside it: no layout to find.
    figure.set_layout_engine("none")
    ax.set_position((0.01, 0.01, 0.98, 0.98))
    ax.set_axis_off()
    ax.set_xlim(0.95, 19.05)
    ax.set_ylim(10 + _GAP, 1 - 0.7)
    ax.set_aspect("equal")
    for symbol in SYMBOLS:
        row, column = place_of(symbol)
        top = row + (_GAP if row > 7 else 0.0)
        _draw_cell(ax, column, top, symbol, texts.get(symbol), strength.get(symbol), color, symbol in found.untried)
    text = ax.text(3.2, 0.95, style.drawable(title), fontsize=9, color=style.INK, va="center")
    text.set_parse_math(False)
    if found.untried:
        ax.add_patch(Rectangle((3.2, 1.55), 0.5, 0.5, facecolor="none", edgecolor=style.MUTED, linewidth=1.1))
        ax.text(3.9, 1.8, "in the pool, not labeled yet", fontsize=8, color=style.MUTED, va="center")
    return figure


def _draw_cell(
    ax: Axes, x: float, y: float, symbol: str, text: str | None, strength: float | None, color: str, is_untried: bool
) -> None:
    face = "none" if strength is None else to_rgba(color, _FAINTEST + (_STRONGEST - _FAINTEST) * strength)
    is_there = strength is not None or is_untried
    edge = style.GRID if not is_there else style.MUTED if is_untried else color
    width = 1.1 if is_there else 0.7
    ax.add_patch(Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, facecolor=face, edgecolor=edge, linewidth=width))
    options: dict[str, Any] = {"ha": "center", "va": "center", "color": style.INK if is_there else style.MUTED}
    if text is None:
        ax.text(x + 0.5, y + 0.5, symbol, fontsize=8.5, alpha=1.0 if is_there else 0.85, **options)
        return
    ax.text(x + 0.5, y + 0.36, symbol, fontsize=9.5, fontweight="bold", **options)
    ax.text(x + 0.5, y + 0.74, text, fontsize=6.4 if len(text) < _LONG else 5.6, **options)
