"""The figure of how a campaign went: values label by label."""

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
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.reporting import style
from active_learning.reporting.best import is_told
from active_learning.reporting.links import arm_of, design_rounds, failed_attempts, request_of_label
from active_learning.reporting.numbers import property_title

__all__ = ["discovery_figure", "kinds_of_labels"]

Floats = NDArray[np.float64]

_DIRECTION = {
    Goal.MINIMIZE: "lower is better ↓",
    Goal.MAXIMIZE: "higher is better ↑",
    Goal.WITHIN: "inside the band is best",
}
# Whose label it is: name, color, marker.
_KINDS = (
    ("known before", style.GOOD, "s"),
    ("first design", style.MUTED, "o"),
    ("chosen by the model", style.ACCENT, "o"),
    ("control", style.CONTROL, "^"),
    ("test set", style.TEST, "v"),
    ("told", style.GOOD, "D"),
)
_ARM_KINDS = {
    Arm.DESIGN: "first design",
    Arm.CHOSEN: "chosen by the model",
    Arm.CONTROL: "control",
    Arm.TEST: "test set",
}
_MOST_CLASS_TICKS = 12
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
    classes = np.unique(values)
    if record.target.goal is Goal.CLASSIFY and len(classes) <= _MOST_CLASS_TICKS:
        ax.set_yticks(classes)
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=5, columnspacing=1.2)
    return figure


def _draw_band(ax: Axes, record: CampaignRecord) -> None:
    low, high = record.target.low, record.target.high
    if low is not None and high is not None:
        ax.axhspan(low, high, color=style.GOOD, alpha=0.14, linewidth=0, label="wanted")


def _draw_labels(ax: Axes, record: CampaignRecord, values: Floats) -> None:
    kinds = np.array(kinds_of_labels(record))
    x = np.arange(1, len(values) + 1)
    size = float(np.clip(4000 / len(values), 5, 26))
    for name, color, marker in _KINDS:
        rows = kinds == name
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


def kinds_of_labels(record: CampaignRecord) -> list[str]:
    """Whose label each of the target's is, in their order. One that was told counts for what it was asked for."""
    designs = design_rounds(record)
    pairs = zip(record.labels, request_of_label(record), strict=True)
    return [
        ("told" if is_told(label) else "known before") if request is None else _ARM_KINDS[arm_of(request, designs)]
        for label, request in pairs
        if label.property == record.target.property
    ]


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
