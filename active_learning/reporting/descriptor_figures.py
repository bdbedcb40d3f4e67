"""The correlation map of the descriptors that matter most."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from active_learning.reporting import style
from active_learning.reporting.descriptor_tables import Descriptors
from active_learning.reporting.numbers import short_name

__all__ = ["clustered", "correlation_figure"]

Floats = NDArray[np.float64]

# Read on white and on black: cells are an image inside the drawing, as strong as the correlation and clear at 0.
_POSITIVE, _NEGATIVE = "#2f86d0", "#e0752d"

_LONGEST_NAME = 48
# Inches: room above and below the map, for the bars beside it, and between.
_ABOVE, _BELOW, _PANEL, _GAP = 0.7, 0.6, 1.5, 0.2


def clustered(correlations: Floats) -> NDArray[np.intp]:
    """Rows so that those most correlated stand together, (n,): average linkage of 1 - |r|, leaves in the best order."""
    if len(correlations) < 3:
        return np.arange(len(correlations))
    distance = 1.0 - np.abs(correlations)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.intp)


def correlation_figure(found: Descriptors | None) -> Figure | None:
    """Correlations among descriptors on the labels, and of each with the target. None if there is none to show.

    Descriptors that were left out are in gray italics, and their bars empty.
    """
    if found is None or not found.shown.names:
        return None
    values = np.array(found.shown.values)
    order = clustered(values)
    names = [found.shown.names[i] for i in order]
    n = len(names)
    side = n * float(np.clip(6.4 / n, 0.16, 0.28))
    labels = [f"{style.drawable(short_name(name, _LONGEST_NAME))}  {i + 1}" for i, name in enumerate(names)]
    left = 0.2 + 0.06 * max(map(len, labels))
    width, height = left + side + _GAP + _PANEL + 0.3, side + _ABOVE + _BELOW
    figure, (ax,) = style.new_figure(width, height)
    # In inches: the automatic layout does not see what stands beside and above the map.
    figure.set_layout_engine("none")
    ax.set_position((left / width, _BELOW / height, side / width, side / height))
    ax.imshow(_colors(values[np.ix_(order, order)]), interpolation="nearest", aspect="equal")
    for line in np.arange(n + 1) - 0.5:
        ax.axhline(line, color=style.PAPER, linewidth=0.8)
        ax.axvline(line, color=style.PAPER, linewidth=0.8)
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
    _name_rows(ax, labels, [name in found.kept for name in names])
    _draw_target(ax, side, [(found.target.get(name, 0.0), name in found.kept) for name in names])
    _draw_scale(ax, side)
    return figure


def _colors(values: Floats) -> Floats:
    """(..., 4): the color of the sign, as opaque as the value is large."""
    rgb = np.where((values >= 0)[..., None], to_rgb(_POSITIVE), to_rgb(_NEGATIVE))
    return np.concatenate([rgb, np.abs(values)[..., None]], axis=-1)


def _name_rows(ax: Axes, labels: list[str], is_kept: list[bool]) -> None:
    """Names at the rows; the columns bear their numbers, which always have room."""
    places = np.arange(len(labels))
    ax.set_yticks(places, labels)
    ax.set_xticks(places, [str(i + 1) for i in places])
    ax.tick_params(length=0, labelsize=7.5)
    ax.tick_params(axis="x", labelsize=6.5, labelcolor=style.MUTED)
    for text, kept in zip(ax.get_yticklabels(), is_kept, strict=True):
        text.set_parse_math(False)
        text.set_color(style.INK if kept else style.MUTED)
        text.set_fontstyle("normal" if kept else "italic")


def _panel(ax: Axes, bounds: tuple[float, float, float, float]) -> Axes:
    panel = ax.inset_axes(bounds)
    panel.set_facecolor("none")
    panel.tick_params(colors=style.MUTED, labelcolor=style.INK, labelsize=7.5, length=2)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return panel


def _draw_target(ax: Axes, side: float, rows: list[tuple[float, bool]]) -> None:
    panel = _panel(ax, (1.0 + _GAP / side, 0.0, _PANEL / side, 1.0))
    for row, (value, is_kept) in enumerate(rows):
        color = _POSITIVE if value >= 0 else _NEGATIVE
        panel.barh(row, value, height=0.62, color=color if is_kept else "none", edgecolor=color, linewidth=0.8)
    panel.axvline(0, color=style.MUTED, linewidth=0.8)
    panel.set_xlim(-1, 1)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_yticks([])
    panel.set_xticks([-1, 0, 1], ["−1", "0", "1"])
    panel.set_xlabel("rank correlation\nwith the target", fontsize=8, color=style.INK)


def _draw_scale(ax: Axes, side: float) -> None:
    scale = _panel(ax, (0.0, 1.0 + 0.14 / side, 2.2 / side, 0.11 / side))
    values = np.linspace(-1, 1, 201)
    scale.imshow(_colors(values[None, :]), extent=(-1, 1, 0, 1), aspect="auto", interpolation="nearest")
    scale.set_yticks([])
    scale.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
    scale.xaxis.tick_top()
    scale.set_title("Pearson correlation on the labels", fontsize=8, color=style.INK, loc="left")
