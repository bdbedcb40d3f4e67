"""Scores weighed by the chance that a label succeeds, and by what it costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["weighed"]

Floats = NDArray[np.float64]


def weighed(
    scores: Floats, success: Floats | None, cost: Floats | None, *, typical_cost: float | None = None
) -> Floats:
    """What a label is expected to gain, if it may fail, for each unit of what it costs.

    ``scores * success / (cost / typical_cost)``. For scores that are gains only (`ScoresAreGains`): a bound or a
    logarithm that is negative would rise by a small chance of success.

    Parameters
    ----------
    scores : (n_candidates,), >= 0
    success : (n_candidates,), 0 to 1, or None if every label succeeds
    cost : (n_candidates,), > 0, in any unit, or None if all cost the same
    typical_cost : in the unit of `cost`; the median of `cost` without it
        Give it where candidates are weighed block by block, so that all blocks are weighed alike.

    Returns
    -------
    (n_candidates,), >= 0, in the unit of `scores`; a new array

    Raises
    ------
    ContractError
        If there is not one number for each candidate, or one is out of its range or not finite (the row is named).

    >>> weighed(np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.5, 1.0]), np.array([1.0, 1.0, 4.0])).tolist()
    [1.0, 0.5, 0.25]
    """
    scores = np.asarray(scores, dtype=np.float64)
    _check("score", scores, scores.shape[:1], scores >= 0, "at least 0: only gains can be weighed")
    result = scores.copy()
    if success is not None:
        success = np.asarray(success, dtype=np.float64)
        _check("probability of success", success, scores.shape, (success >= 0) & (success <= 1), "from 0 to 1")
        result *= success
    if cost is not None and len(scores):
        cost = np.asarray(cost, dtype=np.float64)
        _check("cost", cost, scores.shape, cost > 0, "above 0")
        typical = float(np.median(cost)) if typical_cost is None else typical_cost
        _check("typical cost", np.array([typical]), (1,), np.array([typical > 0]), "above 0")
        with np.errstate(over="ignore"):
            cheapness = typical / cost
            np.multiply(result, cheapness, out=result, where=result > 0)
        _check("weighed score", result, scores.shape, result >= 0, "finite")
    return result


def _check(what: str, values: Floats, shape: tuple[int, ...], is_right: NDArray[np.bool_], allowed: str) -> None:
    if values.shape != shape:
        raise ContractError(f"there is not one {what} for each candidate: shape {values.shape}, not {shape}")
    bad = np.flatnonzero(~(is_right & np.isfinite(values)))
    if bad.size:
        raise ContractError(
            f"the {what} of row {bad[0]} is {values[bad[0]]}; it must be {allowed} ({bad.size} rows in all)"
        )
