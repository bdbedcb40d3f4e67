"""Figures of what the learning knows of itself, round by round: its errors, and how honest its std is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest

from active_learning.api.record import CampaignRecord
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.reporting import style
from active_learning.reporting.classes import prospective_classes
from active_learning.reporting.learned import is_corrected
from active_learning.reporting.links import answers, candidate_requests
from active_learning.reporting.numbers import unit_text

__all__ = ["errors_figure", "honesty_figure"]

Floats = NDArray[np.float64]

_LINE: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.6}
_BROKEN = (0, (4, 3))
# A mean z² beyond these is drawn at them: on a logarithmic axis 0 has no place.
_LEAST, _MOST = 1e-3, 1e6
# The miscalibration area of right stds is this over the root of the number of labels, by chance alone.
_CHANCE_AREA = 0.31


def errors_figure(record: CampaignRecord) -> Figure | None:
    """The error of each round's model against the labels it was trained on: held out, on the test set, by the control.

    The mean absolute error; of a classification the share of right classes. Each small triangle is a control label
    beside what the model of its round had predicted; the line across is their mean, the band its 95 % interval. None if
    fewer than two rounds have an error.
    """
    is_classes = record.target.goal is Goal.CLASSIFY
    key = "accuracy" if is_classes else "mae"
    rounds = [r for r in record.rounds if key in r.metrics or key in r.test_metrics]
    if len(rounds) < 2:
        return None
    figure, (ax,) = style.new_figure(8.4, 3.2)
    for name, color, errors in (
        ("held out", style.ACCENT, [(r.n_labels, r.metrics.get(key)) for r in rounds]),
        ("test set", style.TEST, [(r.n_labels, r.test_metrics.get(key)) for r in rounds]),
    ):
        known = [(n, error) for n, error in errors if error is not None]
        if known:
            ax.plot(*zip(*known, strict=True), color=color, label=name, **_LINE)
    if is_classes:
        _draw_control_classes(ax, record)
        ax.set_ylim(0, 1.03)
    else:
        _draw_control(ax, record)
        ax.set_ylim(bottom=0)
    unit = f" ({unit_text(record.target.unit)})" if record.target.unit else ""
    style.label_axes(ax, "labels trained on", "share of right classes" if is_classes else f"mean absolute error{unit}")
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, columnspacing=1.2)
    return figure


def _draw_control(ax: Axes, record: CampaignRecord) -> None:
    labels, n_trained = answers(record), {r.number: r.n_labels for r in record.rounds}
    marks = [
        (n_trained[r.round], abs(labels[r.id].value - r.mean))
        for r in candidate_requests(record)
        if r.arm is Arm.CONTROL and r.id in labels and r.mean is not None and r.round in n_trained
    ]
    if not marks:
        return
    n, errors = np.array(marks).T
    options: dict[str, Any] = {"s": 24, "marker": "^", "linewidths": 0, "alpha": 0.75, "zorder": 3}
    ax.scatter(n, errors, color=style.CONTROL, label=f"control, each label ({len(n)})", **options)
    found = record.control.get("error")
    if found is not None:
        _draw_interval(ax, found["mae"], found["low"], found["high"])


def _draw_control_classes(ax: Axes, record: CampaignRecord) -> None:
    true, predicted = prospective_classes(record, Arm.CONTROL)
    if not len(true):
        return
    n_right = int((true == predicted).sum())
    # The exact interval of Clopper and Pearson: few labels, and often all of them right.
    interval = binomtest(n_right, len(true)).proportion_ci(0.95, method="exact")
    _draw_interval(ax, n_right / len(true), float(interval.low), float(interval.high), f" ({len(true)} labels)")


def _draw_interval(ax: Axes, middle: float, low: float, high: float, note: str = "") -> None:
    ax.axhspan(low, high, color=style.CONTROL, alpha=0.13, linewidth=0)
    ax.axhline(middle, color=style.CONTROL, linewidth=1.2, linestyle=_BROKEN, label=f"control, mean and 95 %{note}")


def honesty_figure(record: CampaignRecord) -> Figure | None:
    """Mean z² with its 95 % interval and miscalibration area of each round's model, without and with the correction.

    Left, 1 is right; right, 0 is, and the dotted line is what chance alone makes of right stds. None if fewer than two
    rounds have a calibration.
    """
    rounds = [(r, r.calibration) for r in record.rounds if r.calibration is not None]
    if len(rounds) < 2:
        return None
    figure, (left, right) = style.new_figure(8.4, 3.3, n_columns=2)
    n = np.array([r.n_labels for r, _ in rounds])
    before, after = [c["before"] for _, c in rounds], [c["after"] for _, c in rounds]
    left.axhline(1.0, color=style.MUTED, linewidth=1, linestyle=_BROKEN)
    chance = [_CHANCE_AREA / c["n"] ** 0.5 for _, c in rounds]
    right.plot(n, chance, color=style.MUTED, linewidth=1, linestyle=(0, (1, 2)), label="by chance")
    with_name = "with the correction" if is_corrected(record) else "with a correction (not in use)"
    _draw_honesty(left, right, n - _offset(n), before, style.MUTED, "as the model says")
    _draw_honesty(left, right, n + _offset(n), after, style.ACCENT, with_name)
    left.set_yscale("log")
    _ticks_around_one(left)
    right.set_ylim(bottom=0)
    style.label_axes(left, "labels trained on", "mean z² (1 is right, above: too sure)")
    style.label_axes(right, "labels trained on", "miscalibration area (0 is right)")
    for ax in (left, right):
        style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0)
    return figure


def _offset(n: NDArray[np.intp]) -> float:
    """Half of the distance between two intervals of one round, so that neither hides the other."""
    return 0.004 * float(np.ptp(n))


def _draw_honesty(left: Axes, right: Axes, n: Floats, sides: list[Mapping[str, float]], color: str, name: str) -> None:
    middle = _drawable([side["mean_z2"] for side in sides])
    low = _drawable([side.get("mean_z2_low", side["mean_z2"]) for side in sides])
    high = _drawable([side.get("mean_z2_high", side["mean_z2"]) for side in sides])
    left.vlines(n, low, high, color=color, linewidth=1.2, alpha=0.6)
    left.plot(n, middle, color=color, label=name, **_LINE)
    right.plot(n, [side["miscalibration_area"] for side in sides], color=color, label=name, **_LINE)


def _drawable(values: list[float]) -> Floats:
    return np.asarray(np.clip(values, _LEAST, _MOST))


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
