"""Figures of how far the model can be trusted: parity, calibration and importances."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from active_learning.api.record import CampaignRecord
from active_learning.domain.metrics import coverage, mae, miscalibration_area, r2, z_scores
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.reporting import style
from active_learning.reporting.links import Comparison, newest_round, out_of_fold, prospective
from active_learning.reporting.numbers import plain, property_title, short_name, unit_text

__all__ = ["calibration_figure", "comparisons", "enough_for_calibration", "importances_figure", "parity_figure"]

Floats = NDArray[np.float64]

_LEVELS = np.linspace(0.0, 1.0, 101)
_Z_EDGE = 4.0
_FEWEST_FOR_CALIBRATION = 5
# Those of the control are fewer, and their curve is all steps for long.
_FEWEST_OF_CONTROL = 20
_CONTROL = "control, before labeling"
_MOST_VECTOR_POINTS = 1000


def comparisons(record: CampaignRecord, number: int | None) -> list[tuple[str, str, str, Comparison]]:
    """(name, color, marker, data) of the kinds of honest prediction, where there are any; none of classes."""
    if record.target.goal is Goal.CLASSIFY:
        return []
    newest = newest_round(record, "out_of_fold", up_to=number)
    control = prospective(record, arm=Arm.CONTROL, up_to=number)
    kinds = [
        (f"out of fold, round {newest.number}" if newest else "", style.ACCENT, "o", out_of_fold(record, newest)),
        ("before labeling", style.BEST, "D", prospective(record, up_to=number)),
        (_CONTROL, style.CONTROL, "^", control),
    ]
    return [kind for kind in kinds if len(kind[3])]


def parity_figure(record: CampaignRecord, *, number: int | None = None, width: float = 5.2) -> Figure | None:
    """Predicted against labeled values, with an error bar of one predicted std. None without any, and for classes.

    Out of fold: predictions of the newest round by models that were not trained on the label. Before labeling: what
    the model said when it chose the candidate, or when it was drawn for the control. With `number`, only what was known
    of rounds up to that one.
    """
    kinds = comparisons(record, number)
    if not kinds:
        return None
    figure, (ax,) = style.new_figure(width, 4.2)
    for name, color, marker, data in kinds:
        _draw_parity(ax, name, color, marker, data, unit_text(record.target.unit))
    low = min(float(min(d.y.min(), d.mean.min())) for *_, d in kinds)
    high = max(float(max(d.y.max(), d.mean.max())) for *_, d in kinds)
    pad = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    limits = (low - pad, high + pad)
    ax.plot(limits, limits, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ax.set_xlim(*limits)
    ax.set_ylim(*limits)
    ax.set_aspect("equal")
    title = property_title(record.target.property, record.target.unit)
    style.label_axes(ax, f"labeled {title}", f"predicted {title}")
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)
    return figure


def _draw_parity(ax: Axes, name: str, color: str, marker: str, data: Comparison, unit: str) -> None:
    summary = f"{name}: n = {len(data)}, MAE {plain(mae(data.y, data.mean), 3)}{' ' + unit if unit else ''}"
    if len(data) > 1:
        summary += f", R² {r2(data.y, data.mean):.2f}".replace("-", "−")
    is_crowded = len(data) > _MOST_VECTOR_POINTS
    points, _caps, bars = ax.errorbar(
        data.y,
        data.mean,
        yerr=data.std,
        fmt=marker,
        markersize=3 if is_crowded else 4.5,
        markeredgewidth=0,
        color=color,
        ecolor=color,
        elinewidth=0.8,
        alpha=0.85,
        label="_",
        zorder=3,
    )
    for bar in bars:
        bar.set_alpha(0.4)
    for artist in (points, *bars):
        artist.set_rasterized(is_crowded)
    # An own entry for the legend, whose text may hold the user's unit: matplotlib would read "$" as mathematics.
    ax.plot([], [], marker, color=color, markersize=5, markeredgewidth=0, label=summary.replace("$", r"\$"))


def enough_for_calibration(record: CampaignRecord, number: int | None = None) -> list[tuple[str, str, str, Comparison]]:
    """Those of `comparisons` that the figure of the calibration shows."""
    return [
        kind
        for kind in comparisons(record, number)
        if len(kind[3]) >= (_FEWEST_OF_CONTROL if kind[0] == _CONTROL else _FEWEST_FOR_CALIBRATION)
    ]


def calibration_figure(record: CampaignRecord, *, number: int | None = None) -> Figure | None:
    """How honest the predicted stds are: coverage against confidence level, and the distribution of z.

    Left, the fraction of labels inside the central interval of each confidence level, with the miscalibration area;
    below the diagonal the model is too sure. The gray band holds 95 % of perfectly calibrated samples of that size
    at each level. Right, z = (label - mean) / std beside the standard normal; beyond +-4 in the last bins. None
    with fewer than five predictions of any kind (of the control it takes twenty), and for classes. With `number`, only
    what was known of rounds up to that one.
    """
    kinds = enough_for_calibration(record, number)
    if not kinds:
        return None
    figure, (left, right) = style.new_figure(8.4, 4.3, n_columns=2)
    smallest = min(len(data) for *_, data in kinds)
    spread = 1.96 * np.sqrt(_LEVELS * (1 - _LEVELS) / smallest)
    left.fill_between(
        _LEVELS, np.clip(_LEVELS - spread, 0, 1), np.clip(_LEVELS + spread, 0, 1), color=style.MUTED, alpha=0.16, lw=0
    )
    left.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for name, color, _marker, data in kinds:
        area = miscalibration_area(data.y, data.mean, data.std)
        seen = coverage(data.y, data.mean, data.std, list(_LEVELS))
        left.plot(_LEVELS, seen, color=color, linewidth=1.8, label=f"{name}: area {area:.3f}")
    left.set_xlim(0, 1)
    left.set_ylim(0, 1)
    left.set_aspect("equal")
    style.label_axes(left, "confidence level of the interval", "labels inside the interval")
    style.legend(left, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)
    _draw_z(right, kinds)
    return figure


def _draw_z(ax: Axes, kinds: list[tuple[str, str, str, Comparison]]) -> None:
    edges = np.linspace(-_Z_EDGE, _Z_EDGE, 17)
    for name, color, _marker, data in kinds:
        z = z_scores(data.y, data.mean, data.std)
        density, _ = np.histogram(np.clip(z, -_Z_EDGE, _Z_EDGE), bins=edges, density=True)
        ax.stairs(density, edges, color=color, linewidth=1.4, label=f"{name}: mean z² {plain(float((z**2).mean()), 3)}")
        ax.stairs(density, edges, color=color, fill=True, alpha=0.18)
    x = np.linspace(-_Z_EDGE, _Z_EDGE, 201)
    ax.plot(x, np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), color=style.INK, linewidth=1.2, label="standard normal")
    ax.set_xlim(-_Z_EDGE, _Z_EDGE)
    ax.set_ylim(bottom=0)
    style.label_axes(ax, "z = (label − mean) / std", "density")
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)


def importances_figure(record: CampaignRecord, n: int = 20) -> Figure | None:
    """The `n` features that told the newest model most, of the newest round that knows. None if none does."""
    newest = newest_round(record, "importances")
    if newest is None:
        return None
    top = sorted(newest.importances.items(), key=lambda item: (-item[1], item[0]))[:n]
    figure, (ax,) = style.new_figure(5.2, 0.9 + 0.185 * len(top))
    names, values = [name for name, _ in top], [value for _, value in top]
    rows = np.arange(len(top))
    ax.barh(rows, values, color=style.ACCENT, height=0.66)
    ax.set_yticks(rows, [style.drawable(short_name(name, 42)) for name in names])
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
        text.set_fontsize(8)
    ax.set_ylim(len(top) - 0.4, -0.6)
    ax.grid(False, axis="y")
    total = sum(newest.importances.values())
    share = f" ({sum(values) / total:.0%} of all)" if total > 0 and len(top) < len(newest.importances) else ""
    style.label_axes(ax, f"importance, round {newest.number}{share}", "")
    return figure
