"""The figure of how near each stopping rule came to stopping."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from active_learning.reporting import style
from active_learning.reporting.numbers import one_line, shortened, unit_text
from active_learning.reporting.rules import Measure, RuleHistory

__all__ = ["rules_figure"]

_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
_NOW = "now"


def rules_figure(rules: Sequence[RuleHistory]) -> Figure | None:
    """A panel for each rule: its value at each round, its limit, and in green where it says stop.

    A value of infinity is left out. None if no rule has a value.
    """
    shown = [rule for rule in rules if rule.measure is not None and any(map(_is_drawable, rule.values))]
    if not shown:
        return None
    n_columns = 1 if len(shown) == 1 else 2
    n_rows = -(-len(shown) // n_columns)
    figure, axes = style.new_grid(8.4 if n_columns == 2 else 6.0, 2.5 * n_rows + 0.2, len(shown), n_columns)
    for ax, rule in zip(axes, shown, strict=True):
        assert rule.measure is not None
        _draw_rule(ax, rule, rule.measure)
    return figure


def _is_drawable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _draw_rule(ax: Axes, rule: RuleHistory, measure: Measure) -> None:
    numbers = [number for number in rule.rounds if number is not None]
    places = [max(numbers, default=0) + 1 if number is None else number for number in rule.rounds]
    known = [(x, v) for x, v in zip(places, rule.values, strict=True) if v is not None and math.isfinite(v)]
    unit, scale = _scaled(measure, [v for _, v in known])
    x, y = np.array([x for x, _ in known]), np.array([v for _, v in known]) / scale
    limit = measure.limit / scale
    low, high = min(float(y.min()), limit), max(float(y.max()), limit)
    pad = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    # A count or a time has no negative values to leave room for.
    low, high = (0.0 if low == 0 else low - pad), high + pad
    stops = (limit, high) if measure.sign == "≥" else (low - pad, limit)
    ax.axhspan(*stops, color=style.GOOD, alpha=0.14, linewidth=0)
    ax.axhline(limit, color=style.GOOD, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.plot(x, y, color=style.ACCENT, marker="o", markersize=3.5, linewidth=1.6)
    ax.plot(x[-1:], y[-1:], "o", color=style.GOOD if rule.is_met else style.BEST, markersize=6)
    ax.set_ylim(low - (pad if low == 0 and measure.sign != "≥" else 0.0), high)
    ax.set_xlim(min(places) - 0.4, max(places) + 0.4)
    _ticks(ax, numbers, is_now=None in rule.rounds)
    name = shortened(one_line(rule.kind), 40) + ("" if rule.is_alone else " (with others)")
    style.label_axes(ax, "round", _wrapped(measure.what) + (f" ({unit_text(unit)})" if unit else ""), name)


def _scaled(measure: Measure, values: list[float]) -> tuple[str, float]:
    """The unit of the axis, and how many of the measure's it is."""
    if not measure.is_time:
        return measure.unit, 1.0
    longest = max([measure.limit, *values])
    return next(((unit, size) for unit, size in _UNITS if longest >= size), _UNITS[-1])


def _wrapped(text: str, width: int = 34) -> str:
    """A phrase on lines of about `width` signs: an axis is shorter than a page."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _ticks(ax: Axes, numbers: list[int], *, is_now: bool) -> None:
    if not is_now or not numbers:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        return
    step = max(1, math.ceil((max(numbers) - min(numbers)) / 7))
    ticks = list(range(min(numbers), max(numbers) + 1, step))
    end = max(numbers) + 1
    ticks = [tick for tick in ticks if end - tick >= max(1, step / 2)]
    ax.set_xticks([*ticks, end], [*map(str, ticks), _NOW])
