"""How fast a campaign finds the best materials, where all values are known: discovery curves and their area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.target import Target
from active_learning.errors import ContractError

__all__ = ["DiscoverySummary", "discovery_area", "discovery_curve", "summarize_curves"]

Floats = NDArray[np.float64]


def _material_merits(values: Mapping[str, float], materials: Mapping[str, str], target: Target) -> dict[str, float]:
    """The best merit among the candidates of each distinct material."""
    merits = target.merit(np.array(list(values.values()), dtype=np.float64))
    best: dict[str, float] = {}
    for candidate, merit in zip(values, merits, strict=True):
        key = materials.get(candidate, candidate)
        best[key] = max(best.get(key, -np.inf), float(merit))
    return best


def discovery_curve(
    labeled: Sequence[str], values: Mapping[str, float], materials: Mapping[str, str], target: Target, *, k: int
) -> Floats:
    """Fraction of the true best `k` distinct materials found after each label.

    Several candidates may be one material (they relax to one crystal): it counts once, with its best value, and is
    found by a label of any of them. All materials that tie with the k-th best count as best, and any `k` of them
    make the fraction 1.

    Parameters
    ----------
    labeled : candidate ids in the order they were labeled
    values : candidate id -> true value of every candidate, labeled or not, in the target's unit
    materials : candidate id -> key of the material it is; a candidate that is absent is a material of its own

    Returns
    -------
    (n_labeled,), never falling, in [0, 1].

    Raises
    ------
    ContractError
        If there are fewer than `k` materials, a labeled candidate has no true value, a value is not finite, or the
        goal has no best.
    """
    unknown = [candidate for candidate in labeled if candidate not in values]
    if unknown:
        raise ContractError(f"no true value of labeled candidate {unknown[0]} ({len(unknown)} in all)")
    if not np.isfinite(list(values.values())).all():
        raise ContractError("true values must be finite")
    merits = _material_merits(values, materials, target)
    if not 1 <= k <= len(merits):
        raise ContractError(f"the best {k} of {len(merits)} distinct materials; k lies in [1, {len(merits)}]")
    bar = sorted(merits.values(), reverse=True)[k - 1]
    found: set[str] = set()
    counts = []
    for candidate in labeled:
        key = materials.get(candidate, candidate)
        if merits[key] >= bar:
            found.add(key)
        counts.append(min(len(found), k))
    return np.array(counts, dtype=np.float64) / k


def discovery_area(curve: Floats, *, n_labels: int | None = None) -> float:
    """Mean height of a discovery curve over the first `n_labels` labels (all of them by default), in [0, 1].

    A curve that ended earlier stays where it ended: a campaign that stopped finds nothing more.

    Raises
    ------
    ContractError
        If the curve is empty or `n_labels` < 1.
    """
    return float(_to_length(curve, n_labels).mean())


def _to_length(curve: Floats, n_labels: int | None) -> Floats:
    curve = np.asarray(curve, dtype=np.float64)
    n = len(curve) if n_labels is None else n_labels
    if not len(curve) or n < 1:
        raise ContractError(f"a discovery area needs at least one label, got {len(curve)} and n_labels = {n_labels}")
    return np.concatenate([curve[:n], np.full(max(n - len(curve), 0), curve[-1])])


@dataclass(frozen=True, eq=False)
class DiscoverySummary:
    """Discovery curves of many seeds: their mean, and bootstrap intervals of that mean.

    Parameters
    ----------
    mean, low, high : (n_labels,), the mean curve and its interval, label by label
    area, area_low, area_high : the mean area under the curves and its interval
    level : confidence level of the intervals
    """

    n_seeds: int
    mean: Floats
    low: Floats
    high: Floats
    area: float
    area_low: float
    area_high: float
    level: float


def summarize_curves(
    curves: Sequence[Floats],
    *,
    n_labels: int,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> DiscoverySummary:
    """Mean discovery curve and area over seeds, with percentile bootstrap intervals over the seeds.

    One seed gives an interval of no width: it says nothing about other seeds. With few seeds (below about ten) the
    percentile bootstrap is too narrow.

    Parameters
    ----------
    curves : one discovery curve a seed
    n_labels : length to which all curves are cut or prolonged (see `discovery_area`)

    Raises
    ------
    ContractError
        If there is no curve, one is empty, `level` is not in (0, 1) or `n_resamples` < 1.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if not curves:
        raise ContractError("no discovery curve to summarize")
    if not 0 < level < 1 or n_resamples < 1:
        raise ContractError(f"level lies in (0, 1) and n_resamples >= 1, got {level} and {n_resamples}")
    table = np.stack([_to_length(curve, n_labels) for curve in curves])
    n = len(table)
    # How often each seed is drawn in each resample: one matrix product then gives every resampled mean curve.
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples) / n
    means = weights @ table
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(means, tails, axis=0)
    area_low, area_high = np.quantile(means.mean(axis=1), tails)
    return DiscoverySummary(
        n_seeds=n,
        mean=table.mean(axis=0),
        low=low,
        high=high,
        area=float(table.mean()),
        area_low=float(area_low),
        area_high=float(area_high),
        level=level,
    )
