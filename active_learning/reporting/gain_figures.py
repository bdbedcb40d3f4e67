"""The figure of what was spent and what it brought."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from active_learning.api.record import CampaignRecord
from active_learning.domain.target import Goal
from active_learning.reporting import style
from active_learning.reporting.gains import ErrorPoint, GainPoint, errors_at_cost, gains
from active_learning.reporting.numbers import property_title, unit_text

__all__ = ["gain_figure"]

_UNITS = (("core-days", 86400.0), ("core-hours", 3600.0), ("core-minutes", 60.0), ("core-seconds", 1.0))
_MOST_VECTOR_POINTS = 2000


def gain_figure(record: CampaignRecord) -> Figure | None:
    """Core time spent against the best value so far (left) and against the model's error (right).

    A panel that has nothing to show is left out; None if neither has, or no job ever held a core.
    """
    points = [point for point in gains(record) if point.best is not None]
    errors = errors_at_cost(record)
    if len(errors) < 2:
        errors = ()
    n = bool(points) + bool(errors)
    if not n:
        return None
    figure, axes = style.new_figure(8.4 if n == 2 else 6.0, 3.4, n_columns=n)
    most = max([*(p.core_s for p in points), *(e.core_s for e in errors)])
    unit, scale = next(((name, size) for name, size in _UNITS if most >= 2 * size), _UNITS[-1])
    left = iter(axes)
    if points:
        _draw_best(next(left), record, points, scale, unit)
    if errors:
        _draw_errors(next(left), record, errors, scale, unit)
    return figure


def _draw_best(ax: Axes, record: CampaignRecord, points: Sequence[GainPoint], scale: float, unit: str) -> None:
    x = np.array([point.core_s for point in points]) / scale
    best = np.array([point.best for point in points], dtype=np.float64)
    ax.scatter(
        x,
        [point.value for point in points],
        s=float(np.clip(4000 / len(points), 4, 18)),
        color=style.MUTED,
        alpha=0.55,
        linewidths=0,
        label="labels",
        rasterized=len(points) > _MOST_VECTOR_POINTS,
    )
    ax.step(x, best, where="post", color=style.BEST, linewidth=1.8, label="best so far")
    ax.plot(x[-1:], best[-1:], marker="*", markersize=10, color=style.BEST, markeredgewidth=0)
    ax.set_xlim(left=0 if x[0] < 0.5 * x[-1] else None)
    style.label_axes(ax, f"core time spent ({unit})", property_title(record.target.property, record.target.unit))
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _draw_errors(ax: Axes, record: CampaignRecord, errors: Sequence[ErrorPoint], scale: float, unit: str) -> None:
    x, y = [error.core_s / scale for error in errors], [error.error for error in errors]
    ax.plot(x, y, color=style.ACCENT, marker="o", markersize=3.5, linewidth=1.6, label="error of the model")
    low = np.minimum.accumulate(y)
    ax.step(x, low, where="post", color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), label="lowest so far")
    ax.set_ylim(bottom=0, top=None if math.isfinite(max(y)) and max(y) > 0 else 1.0)
    unit_of = f" ({unit_text(record.target.unit)})" if record.target.unit else ""
    name = "share of wrong classes" if record.target.goal is Goal.CLASSIFY else f"mean absolute error{unit_of}"
    style.label_axes(ax, f"core time spent ({unit})", name)
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
