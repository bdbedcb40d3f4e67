"""Figures of how a campaign went: values label by label, and model errors round by round."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from active_learning.api.record import CampaignRecord
from active_learning.domain.target import Goal
from active_learning.reporting import style
from active_learning.reporting.best import is_told
from active_learning.reporting.links import design_rounds, failed_attempts, round_of_label
from active_learning.reporting.numbers import property_title

__all__ = ["discovery_figure", "learning_figure"]

Floats = NDArray[np.float64]

_DIRECTION = {
    Goal.MINIMIZE: "lower is better ↓",
    Goal.MAXIMIZE: "higher is better ↑",
    Goal.WITHIN: "inside the band is best",
}
_MOST_ROUND_MARKS = 28
_MOST_VECTOR_POINTS = 2000


def discovery_figure(record: CampaignRecord, *, width: float = 8.4, height: float = 3.5) -> Figure:
    """The value of each label in the order they came, the best so far, the rounds, and the failed attempts.

    A broken line marks where a round was opened: labels to its right may have been chosen by that round's model. A
    failed attempt is a cross at the foot, between the labels it fell between. Without a best (`learn`, `classify`)
    there is no line of the best.
    """
    figure, (ax,) = style.new_figure(width, height)
    values = np.array([label.value for label in record.target_labels])
    title = property_title(record.target.property, record.target.unit)
    direction = _DIRECTION.get(record.target.goal)
    style.label_axes(ax, "labels, in the order they came in", title + (f"\n{direction}" if direction else ""))
    if not len(values):
        style.no_data(ax, "no label yet")
        return figure
    _draw_band(ax, record)
    _draw_labels(ax, record, values)
    if record.target.goal.has_best:
        _draw_best(ax, record, values)
    _draw_rounds(ax, record, len(values))
    _draw_failures(ax, record)
    ax.set_xlim(0.2, len(values) + 0.8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(False, axis="x")
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=5, columnspacing=1.2)
    return figure


def _draw_band(ax: Axes, record: CampaignRecord) -> None:
    low, high = record.target.low, record.target.high
    if low is not None and high is not None:
        ax.axhspan(low, high, color=style.GOOD, alpha=0.14, linewidth=0, label="wanted")


def _draw_labels(ax: Axes, record: CampaignRecord, values: Floats) -> None:
    rounds = np.array([-1 if r is None else r for r in round_of_label(record)])
    is_design = np.isin(rounds, list(design_rounds(record)))
    told = np.array([is_told(label) for label in record.target_labels])
    x = np.arange(1, len(values) + 1)
    kinds = [
        ((rounds < 0) & ~told, "known before", style.GOOD, "s"),
        (is_design, "first design", style.MUTED, "o"),
        ((rounds >= 0) & ~is_design, "chosen by the model", style.ACCENT, "o"),
        ((rounds < 0) & told, "told", style.GOOD, "D"),
    ]
    size = float(np.clip(4000 / len(values), 5, 26))
    for rows, name, color, marker in kinds:
        if rows.any():
            ax.scatter(
                x[rows],
                values[rows],
                s=size,
                color=color,
                marker=marker,
                linewidths=0,
                label=name,
                zorder=3,
                rasterized=len(values) > _MOST_VECTOR_POINTS,
            )


def _draw_best(ax: Axes, record: CampaignRecord, values: Floats) -> None:
    merits = record.target.merit(values)
    running = np.maximum.accumulate(merits)
    # The label that holds the best so far: the first one to reach the running merit.
    holder = np.maximum.accumulate(np.where(np.r_[True, running[1:] > running[:-1]], np.arange(len(values)), 0))
    x = np.arange(1, len(values) + 1)
    ax.step(
        np.r_[x, len(values) + 0.8],
        np.r_[values[holder], values[holder[-1]]],
        where="post",
        color=style.BEST,
        linewidth=1.8,
        label="best so far",
        zorder=4,
    )
    ax.scatter([holder[-1] + 1], [values[holder[-1]]], marker="*", s=110, color=style.BEST, linewidths=0, zorder=5)


def _draw_rounds(ax: Axes, record: CampaignRecord, n_labels: int) -> None:
    opened = [(r.number, r.n_labels) for r in record.rounds if r.predictions and r.n_picks and r.n_labels < n_labels]
    text: dict[str, Any] = {"fontsize": 7, "color": style.MUTED, "va": "bottom", "textcoords": "offset points"}
    if opened:
        ax.annotate("round", (0, 1), xycoords="axes fraction", xytext=(-5, 2), ha="right", **text)
    last = -float("inf")
    for number, after in opened:
        if after - last < n_labels / _MOST_ROUND_MARKS:
            continue
        last = after
        ax.axvline(after + 0.5, color=style.MUTED, linewidth=0.6, linestyle=(0, (4, 4)), alpha=0.7, zorder=1)
        place = (after + 0.5, 1.0)
        ax.annotate(str(number), place, xycoords=("data", "axes fraction"), xytext=(0, 2), ha="center", **text)


def _draw_failures(ax: Axes, record: CampaignRecord) -> None:
    times = [label.time for label in record.target_labels]
    settled = [request.settled_at for request in failed_attempts(record) if request.settled_at is not None]
    if settled:
        # A lane of their own below the labels.
        low, high = ax.get_ylim()
        ax.set_ylim(low - 0.07 * (high - low), high)
        x = _between_labels(settled, times)
        ax.plot(
            x,
            np.full(len(x), 0.025),
            "x",
            transform=ax.get_xaxis_transform(),
            color=style.FAILED,
            markersize=4.5,
            markeredgewidth=1.3,
            label=f"failed attempt ({len(x)})",
            zorder=3,
            clip_on=False,
        )


def _between_labels(settled: Sequence[datetime], times: Sequence[datetime]) -> Floats:
    """Where each failure falls on the axis of labels; several between two labels stand side by side."""
    after = np.array([sum(t <= moment for t in times) for moment in settled], dtype=np.float64)
    x = after.copy()
    for n in np.unique(after):
        rows = np.flatnonzero(after == n)
        x[rows] = n + np.arange(1, len(rows) + 1) / (len(rows) + 1)
    return x


def learning_figure(record: CampaignRecord) -> Figure | None:
    """Cross-validated mean absolute error and mean z² of each round's model against the labels it was trained on.

    None if fewer than two rounds have them.
    """
    rounds = [r for r in record.rounds if "mae" in r.metrics and "mean_z2" in r.metrics]
    if len(rounds) < 2:
        return None
    figure, (left, right) = style.new_figure(8.4, 2.9, n_columns=2)
    n = [r.n_labels for r in rounds]
    line: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.6}
    left.plot(n, [r.metrics["mae"] for r in rounds], color=style.ACCENT, **line)
    left.set_ylim(bottom=0)
    unit = f" ({record.target.unit})" if record.target.unit else ""
    style.label_axes(left, "labels trained on", f"mean absolute error{unit}")
    right.axhline(1.0, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    right.plot(n, [r.metrics["mean_z2"] for r in rounds], color=style.ACCENT, **line)
    right.set_yscale("log")
    _ticks_around_one(right)
    style.label_axes(right, "labels trained on", "mean z² (1 is right, above: too sure)")
    return figure


def _ticks_around_one(ax: Axes) -> None:
    """A few plain numbers on a logarithmic axis, whatever its range."""
    low, high = ax.get_ylim()
    low, high = min(low, 0.45), max(high, 2.2)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [m * 10.0**e for e in decades for m in steps if low <= m * 10.0**e <= high]
    ax.set_ylim(low, high)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
