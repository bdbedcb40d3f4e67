"""Figures of a backtest, from its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from active_learning.reporting import style
from active_learning.reporting.numbers import shortened

__all__ = ["discovery_figure", "error_figure", "factors_figure", "utilization_figure"]

Summary = Mapping[str, Any]

_COLORS = (style.ACCENT, style.BEST, style.GOOD, style.FAILED)
_DASHES: Sequence[Any] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_LONGEST_NAME = 28


def _looks(summary: Summary) -> dict[str, dict[str, Any]]:
    """Color and dashes of each strategy; the baseline is gray."""
    others = [name for name in summary["strategies"] if name != summary["baseline"]]
    looks: dict[str, dict[str, Any]] = {
        name: {"color": _COLORS[n % len(_COLORS)], "linestyle": _DASHES[n // len(_COLORS) % len(_DASHES)]}
        for n, name in enumerate(others)
    }
    return {name: looks.get(name, {"color": style.MUTED, "linestyle": "-"}) for name in summary["strategies"]}


def _draw(ax: Axes, summary: Summary, which: str) -> None:
    """One kind of curve of all strategies, each with its band."""
    looks = _looks(summary)
    for name, found in summary["strategies"].items():
        curve = found["curves"].get(which)
        if curve is None:
            continue
        x = curve["n_labels"]
        ax.fill_between(x, curve["low"], curve["high"], color=looks[name]["color"], alpha=0.15, linewidth=0)
        ax.plot(x, curve["mean"], linewidth=1.8, label=shortened(name, _LONGEST_NAME), **looks[name])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _has(summary: Summary, which: str) -> bool:
    return any(which in found["curves"] for found in summary["strategies"].values())


def _legend(ax: Axes) -> None:
    """A legend above the plot."""
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.2)
    box = ax.get_legend()
    for text in () if box is None else box.get_texts():
        text.set_parse_math(False)  # a name is no mathematics


def discovery_figure(summary: Summary) -> Figure | None:
    """Fraction of the best that are found against labels, with 95 % bands; None if the goal has no best."""
    if not _has(summary, "discovery"):
        return None
    figure, (ax,) = style.new_figure(8.4, 3.9)
    _draw(ax, summary, "discovery")
    ax.set_ylim(0, None)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    style.label_axes(ax, "labels", f"found of the best {summary['n_best']}")
    _legend(ax)
    return figure


def error_figure(summary: Summary) -> Figure | None:
    """Error of the newest model on all candidates without a label; None if no strategy trained a model throughout."""
    if not _has(summary, "error"):
        return None
    figure, (ax,) = style.new_figure(8.4, 3.6)
    _draw(ax, summary, "error")
    ax.set_ylim(0, None)
    unit = summary["target"]["unit"]
    is_rate = summary["error_name"] == "error rate"
    title = "wrong classes" if is_rate else "mean absolute error" + (f" ({unit})" if unit else "")
    if is_rate:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    style.label_axes(ax, "labels", title)
    _legend(ax)
    return figure


def factors_figure(summary: Summary) -> Figure | None:
    """Acceleration at fractions found, and enhancement against labels; None if there is nothing to compare."""
    compared = {name: found["against"] for name, found in summary["strategies"].items() if found.get("against")}
    if not any(against.get("accelerations") or against.get("enhancement") for against in compared.values()):
        return None
    figure, (left, right) = style.new_figure(8.4, 3.5, n_columns=2)
    looks = _looks(summary)
    for name, against in compared.items():
        _draw_accelerations(left, [one for one in against.get("accelerations") or () if one], looks[name])
        if against.get("enhancement"):
            curve = against["enhancement"]["curve"]
            label = shortened(name, _LONGEST_NAME)
            right.plot(curve["n_labels"], curve["value"], linewidth=1.8, label=label, **looks[name])
    for ax in (left, right):
        ax.axhline(1.0, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        ax.set_ylim(0, None)
    left.set_xlim(0, None)
    left.xaxis.set_major_formatter(PercentFormatter(1.0))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.label_axes(left, "fraction of the best found", f"labels of {summary['baseline']} / labels", "acceleration")
    style.label_axes(right, "labels", f"found / found by {summary['baseline']}", "enhancement")
    if any(against.get("enhancement") for against in compared.values()):
        style.legend(right, loc="lower right")
    return figure


def _draw_accelerations(ax: Axes, points: Sequence[Mapping[str, Any]], look: Mapping[str, Any]) -> None:
    if not points:
        return
    x = np.array([point["at"] for point in points])
    ax.plot(x, [point["value"] for point in points], marker="o", markersize=3.5, linewidth=1.8, **look)
    banded = [point for point in points if point["low"] is not None]
    if banded:
        ax.fill_between(
            [point["at"] for point in banded],
            [point["low"] for point in banded],
            [point["high"] for point in banded],
            color=look["color"],
            alpha=0.15,
            linewidth=0,
        )


def utilization_figure(summary: Summary) -> Figure | None:
    """Share of the imagined workers' time that they worked; None if nobody ever waited for a label."""
    known = {name: found["utilization"] for name, found in summary["strategies"].items() if found["utilization"]}
    if not known:
        return None
    figure, (ax,) = style.new_figure(8.4, 0.9 + 0.34 * len(known))
    looks = _looks(summary)
    for place, (name, used) in enumerate(known.items()):
        ax.barh(place, used["value"], height=0.62, color=looks[name]["color"], linewidth=0)
        if used["low"] is not None:
            ax.plot([used["low"], used["high"]], [place, place], color=style.INK, linewidth=1.2)
        ax.annotate(
            f"{used['value']:.0%}",
            (1.0, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=style.INK,
            annotation_clip=False,
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(len(known) - 0.5, -0.5)
    ax.set_yticks(range(len(known)), [shortened(name, _LONGEST_NAME) for name in known])
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    ax.grid(False, axis="y")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    style.label_axes(ax, "workers busy, until the last submission", "")
    return figure
