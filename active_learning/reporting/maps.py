"""The pool on a plane: descriptors of all candidates in two dimensions, and where the campaign went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from active_learning.api.record import CampaignRecord
from active_learning.domain.request import Arm
from active_learning.domain.seeds import rng_for
from active_learning.reporting import style
from active_learning.reporting.best import distinct_best, is_told
from active_learning.reporting.links import arm_of, candidate_requests, design_rounds, given_up
from active_learning.reporting.umap_map import umap_plane

__all__ = ["MAP_ROWS", "MapMethod", "Plane", "map_figure", "map_plane", "pca_plane", "roles", "standardized"]

Floats = NDArray[np.float64]
MapMethod = Literal["pca", "umap"]

# Reads on white and on black: the points of the pool are an image inside the drawing, of one color for both pages.
_POOL = "#8b95a3"
# What became of a candidate that was asked for or labeled.
_CHOSEN, _KNOWN, _TOLD, _LOST = "chosen by the model", "known before", "told", "given up"
_ROLES = {Arm.DESIGN: "first design", Arm.CHOSEN: _CHOSEN, Arm.CONTROL: "control", Arm.TEST: "test set"}
# Role, marker, size and color of what the model did not choose; its own choices bear the color of their round.
_MARKS = (
    ("first design", "s", 34, style.MUTED),
    ("control", "^", 34, style.CONTROL),
    ("test set", "v", 34, style.TEST),
    (_KNOWN, "s", 26, style.GOOD),
    (_TOLD, "D", 34, style.GOOD),
)

MAP_ROWS = 20_000
"""A larger pool is thinned to this many candidates, at random and reproducibly; those asked for always stay."""


def standardized(X: NDArray[np.floating[Any]]) -> Floats:
    """Columns with mean 0 and std 1, (n, n_features); a constant column becomes 0, and so does a missing value."""
    values = np.array(X, dtype=np.float64)
    for column in np.flatnonzero(np.isnan(values).any(axis=0)):
        missing = np.isnan(values[:, column])
        values[missing, column] = 0.0 if missing.all() else values[~missing, column].mean()
    centered = values - values.mean(axis=0)
    spread = centered.std(axis=0)
    is_constant = spread <= 1e-9 * np.maximum(np.abs(values).max(axis=0), 1e-300)
    return np.where(is_constant, 0.0, centered / np.where(is_constant, 1.0, spread))


def pca_plane(X: Floats) -> tuple[Floats, tuple[float, float]]:
    """First two principal components, (n, 2), and the share of the variance each explains.

    The sign of a component is the one that makes its largest loading positive. A component that does not exist
    (one feature, one candidate) is 0 and explains nothing.
    """
    centered = X - X.mean(axis=0)
    variances, axes = np.linalg.eigh(centered.T @ centered)
    variances, axes = np.maximum(variances[::-1][:2], 0.0), axes[:, ::-1][:, :2]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    plane = np.zeros((len(X), 2))
    plane[:, : axes.shape[1]] = centered @ axes
    total = float(np.square(centered).sum())
    shares = [float(v) / total if total > 0 else 0.0 for v in variances] + [0.0]
    return plane, (shares[0], shares[1])


def _rows_to_show(record: CampaignRecord) -> NDArray[np.intp]:
    """All rows of a pool that is small enough; of a larger one the requested and labeled, and a sample."""
    n = len(record.candidate_ids)
    if n <= MAP_ROWS:
        return np.arange(n)
    keep = {request.candidate_id for request in record.requests}
    keep |= {label.candidate_id for label in record.target_labels}
    is_kept = np.array([candidate in keep for candidate in record.candidate_ids])
    others = np.flatnonzero(~is_kept)
    size = max(MAP_ROWS - int(is_kept.sum()), 0)
    sample = rng_for(record.seed, 0, "map").choice(others, size=min(size, len(others)), replace=False)
    return np.sort(np.concatenate([np.flatnonzero(is_kept), sample]))


@dataclass(frozen=True, eq=False)
class Plane:
    """Candidates in two dimensions.

    Parameters
    ----------
    rows : (n,), of the record
    points : (n, 2)
    names : of the two axes
    """

    rows: NDArray[np.intp]
    points: Floats
    names: tuple[str, str]


def map_plane(record: CampaignRecord, *, method: MapMethod = "pca") -> Plane | None:
    """PCA or UMAP of the standardized descriptors; pools above `MAP_ROWS` are thinned. None without a candidate.

    Raises
    ------
    UserError
        If `method` is "umap" and umap-learn is not installed.
    """
    rows = _rows_to_show(record)
    if not len(rows) or not record.X.shape[1]:
        return None
    X = standardized(record.X[rows])
    if method == "umap":
        return Plane(rows, umap_plane(X, seed=record.seed), ("UMAP 1", "UMAP 2"))
    points, shares = pca_plane(X)
    names = (f"principal component 1 ({shares[0]:.0%} of variance)", f"component 2 ({shares[1]:.0%})")
    return Plane(rows, points, names)


def map_figure(record: CampaignRecord, *, method: MapMethod = "pca", on: Plane | None = None) -> Figure | None:
    """The pool in two dimensions with the first design, what was chosen (by round), failures and the best.

    On the plane `on`, or on a new one made as `map_plane` says. None if there is no candidate.
    """
    found = on or map_plane(record, method=method)
    if found is None:
        return None
    rows, plane, names = found.rows, found.points, found.names
    figure, (ax,) = style.new_figure(6.2, 5.0)
    shown = f"pool ({len(record.candidate_ids):,})"
    if len(rows) < len(record.candidate_ids):
        shown = f"pool ({len(rows):,} of {len(record.candidate_ids):,})"
    size = float(np.clip(12000 / len(rows), 3, 14))
    ax.scatter(plane[:, 0], plane[:, 1], s=size, color=_POOL, alpha=0.45, linewidths=0, rasterized=True)
    ax.scatter([], [], s=14, color=_POOL, linewidths=0, label=shown)
    position = {record.candidate_ids[row]: xy for row, xy in zip(rows, plane, strict=True)}
    _draw_requests(figure, ax, record, position)
    style.label_axes(ax, *names)
    ax.grid(False)
    style.legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0)
    return figure


def roles(record: CampaignRecord) -> dict[str, tuple[str, int | None]]:
    """Of each candidate that was asked for or labeled, what it is on the map, and the round that asked for it."""
    failed, designs = given_up(record), design_rounds(record)
    found: dict[str, tuple[str, int | None]] = {}
    for request in candidate_requests(record):
        is_lost = request.candidate_id in failed
        found[request.candidate_id] = (_LOST if is_lost else _ROLES[arm_of(request, designs)], request.round)
    for label in record.target_labels:
        found.setdefault(label.candidate_id, (_TOLD if is_told(label) else _KNOWN, None))
    return found


def _of_each_role(record: CampaignRecord, position: Mapping[str, Floats]) -> dict[str, dict[str, int | None]]:
    """Role -> candidates on the map that have it -> their round."""
    found: dict[str, dict[str, int | None]] = {}
    for candidate, (role, number) in roles(record).items():
        if candidate in position:
            found.setdefault(role, {})[candidate] = number
    return found


def _scatter(ax: Axes, points: Sequence[Floats], **options: Any) -> PathCollection:
    table = np.array(points, dtype=np.float64).reshape(-1, 2)
    return ax.scatter(table[:, 0], table[:, 1], **options)


def _draw_requests(figure: Figure, ax: Axes, record: CampaignRecord, position: dict[str, Floats]) -> None:
    found = _of_each_role(record, position)
    best = [position[b.label.candidate_id] for b in distinct_best(record) if b.label.candidate_id in position][:1]
    edge: dict[str, Any] = {"edgecolors": style.PAPER, "linewidths": 0.6}
    for name, marker, size, color in _MARKS:
        if name in found:
            points = [position[c] for c in found[name]]
            _scatter(ax, points, s=size, marker=marker, color=color, label=name, zorder=3, **edge)
    if _CHOSEN in found:
        _draw_chosen(figure, ax, found[_CHOSEN], position, edge)
    if _LOST in found:
        lost = [position[c] for c in found[_LOST]]
        _scatter(ax, lost, s=34, marker="x", color=style.FAILED, linewidths=1.5, label=_LOST, zorder=4)
    if best:
        _scatter(ax, best, s=190, marker="*", color=style.BEST, label="best", zorder=5, **edge)


def _draw_chosen(
    figure: Figure, ax: Axes, chosen: Mapping[str, int | None], position: dict[str, Floats], edge: dict[str, Any]
) -> None:
    numbers = np.array(list(chosen.values()))
    # The ends of the color map vanish on a dark or on a light page.
    colors = colormaps[style.ROUND_COLORS](np.linspace(0.18, 0.95, 256))
    points = _scatter(
        ax,
        [position[c] for c in chosen],
        c=numbers,
        cmap=ListedColormap(colors),
        vmin=min(int(numbers.min()), 1),
        vmax=max(int(numbers.max()), 2),
        s=36,
        label=_CHOSEN,
        zorder=3,
        **edge,
    )
    bar = figure.colorbar(points, ax=ax, pad=0.02, aspect=30, ticks=MaxNLocator(integer=True, nbins=6))
    bar.outline.set_visible(False)
    bar.set_label("round", color=style.INK, fontsize=9)
    bar.ax.tick_params(colors=style.MUTED, labelcolor=style.INK, labelsize=8, length=2)
