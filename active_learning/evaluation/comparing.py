"""Two strategies compared seed by seed: means, and how much sooner one of them gets where the other got.

Curves are tables (n_seeds, n_steps), one row a seed, one column a number of labels. A resample draws seeds with
replacement, the same ones for both strategies: what a seed has in common (first design, luck of the labels) is no part
of the interval.

References
----------
Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: the percentile interval.
Rohr et al., Chem. Sci. 11, 2696 (2020), doi:10.1039/c9sc05999g: acceleration and enhancement factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = [
    "Curves",
    "Estimate",
    "Resamples",
    "acceleration",
    "difference",
    "enhancement",
    "labels_to_reach",
    "mean_of",
    "resamples",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; `low` and `high` are None if the number does not exist in too many resamples."""

    value: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """A JSON value."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each seed is drawn in each resample, as a share: (n_resamples, n_seeds), rows sum to 1."""

    weights: Floats
    level: float

    def interval(self, values: Floats) -> tuple[float | None, float | None]:
        """Of a number that was computed in each resample, (n_resamples,); NaN where it does not exist.

        Those are left out, and there is no interval if they are more than would fall outside of it.
        """
        exists = np.isfinite(values)
        if exists.mean() < self.level:
            return None, None
        low, high = np.quantile(values[exists], [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


def resamples(n_seeds: int, rng: np.random.Generator, *, level: float = 0.95, n: int = 2000) -> Resamples:
    """Draw resamples of the seeds. One seed gives intervals of no width: it says nothing about other seeds.

    Raises
    ------
    ContractError
        If there is no seed, `level` is not in (0, 1), or `n` < 1.
    """
    if n_seeds < 1 or not 0 < level < 1 or n < 1:
        raise ContractError(f"n_seeds >= 1, level in (0, 1), n >= 1; got {n_seeds}, {level} and {n}")
    return Resamples(rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n) / n_seeds, level)


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of one strategy.

    Parameters
    ----------
    n_labels : (n_steps,), ascending
    table : (n_seeds, n_steps), finite; higher is better
    """

    n_labels: NDArray[np.intp]
    table: Floats

    def __post_init__(self) -> None:
        n_labels, table = np.asarray(self.n_labels, dtype=np.intp), np.asarray(self.table, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(n_labels) or not table.size or not np.isfinite(table).all():
            raise ContractError(f"curves are finite, (n_seeds, {len(n_labels)}), and not empty; got {table.shape}")
        if (np.diff(n_labels) <= 0).any():
            raise ContractError("numbers of labels ascend")
        object.__setattr__(self, "n_labels", n_labels)
        object.__setattr__(self, "table", table)

    @property
    def mean(self) -> Floats:
        """(n_steps,)"""
        return np.asarray(self.table.mean(axis=0))

    def band(self, drawn: Resamples) -> tuple[Floats, Floats]:
        """Step by step the interval of the mean, (n_steps,) each."""
        means = drawn.weights @ self.table
        low, high = np.quantile(means, [(1 - drawn.level) / 2, (1 + drawn.level) / 2], axis=0)
        return low, high


def mean_of(values: Sequence[float] | Floats, drawn: Resamples) -> Estimate:
    """The mean of one number a seed."""
    array = np.asarray(values, dtype=np.float64)
    return Estimate(float(array.mean()), *drawn.interval(drawn.weights @ array))


def difference(values: Sequence[float] | Floats, others: Sequence[float] | Floats, drawn: Resamples) -> Estimate:
    """The mean of ``values - others``, seed by seed."""
    return mean_of(np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64), drawn)


def labels_to_reach(n_labels: NDArray[np.intp], curve: Floats, level: float) -> float:
    """How many labels it takes until a curve is as high as `level`, between two steps in proportion; infinite if it
    never is.

    >>> labels_to_reach(np.array([0, 10, 20]), np.array([0.0, 0.5, 0.7]), 0.6)
    15.0
    """
    reached = np.flatnonzero(curve >= level)
    if not len(reached):
        return math.inf
    at = int(reached[0])
    if at == 0:
        return float(n_labels[0])
    step = float(n_labels[at] - n_labels[at - 1])
    return float(n_labels[at - 1] + step * (level - curve[at - 1]) / (curve[at] - curve[at - 1]))


def _factor(n_labels: NDArray[np.intp], curve: Floats, other: Floats, level: float | None, least: float) -> float:
    """See `acceleration`; NaN where it does not exist."""
    level = min(float(curve.max()), float(other.max())) if level is None else level
    if level <= least:
        return math.nan
    mine, theirs = labels_to_reach(n_labels, curve, level), labels_to_reach(n_labels, other, level)
    return theirs / mine if math.isfinite(theirs) and math.isfinite(mine) and mine > 0 else math.nan


def acceleration(
    curves: Curves, others: Curves, drawn: Resamples, *, level: float | None = None, least: float = -math.inf
) -> Estimate | None:
    """The acceleration factor of Rohr et al.: labels that the others need, divided by labels that these need, until
    their mean curves are as high as `level`.

    Parameters
    ----------
    curves, others : of the same seeds, in the same order, at the same numbers of labels
    level : the highest that both reach without it, in each resample anew
    least : a height that says nothing, such as no discovery at all

    Returns
    -------
    None if one of them never comes so high.
    """
    _check_pair(curves, others)
    value = _factor(curves.n_labels, curves.mean, others.mean, level, least)
    if not math.isfinite(value):
        return None
    mine, theirs = drawn.weights @ curves.table, drawn.weights @ others.table
    found = [_factor(curves.n_labels, a, b, level, least) for a, b in zip(mine, theirs, strict=True)]
    return Estimate(value, *drawn.interval(np.array(found)))


def enhancement(curves: Curves, others: Curves, drawn: Resamples, *, at: int) -> Estimate | None:
    """The enhancement factor of Rohr et al.: the mean of these divided by the mean of the others, in column `at`; None
    if the others' is not positive."""
    _check_pair(curves, others)
    a, b = curves.table[:, at], others.table[:, at]
    if b.mean() <= 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (drawn.weights @ a) / (drawn.weights @ b)
    return Estimate(float(a.mean() / b.mean()), *drawn.interval(ratios))


def _check_pair(curves: Curves, others: Curves) -> None:
    if curves.table.shape != others.table.shape or (curves.n_labels != others.n_labels).any():
        raise ContractError(f"curves of the same seeds and steps are compared; got {curves.table.shape} and others")
