"""The batch that teaches the model most about the pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.choosing import Batch
from active_learning.domain.prediction import Prediction
from active_learning.selection.variance_reduction import VarianceReduction

Floats = NDArray[np.float64]

N, RANK = 30, 4


def _batch(factor: Floats, noise: Floats, n: int, n_pending: int = 0, seed: int = 0) -> Batch:
    """Candidates, and the last rows pending, with this covariance of the function and this variance of the noise."""
    n_rows = len(factor) - n_pending
    std = np.sqrt(np.square(factor).sum(axis=1) + noise)[:, None]
    everything = Prediction(np.zeros_like(std), std)

    def some(rows: NDArray[np.intp]) -> Floats:
        return np.concatenate([factor[rows], factor[n_rows:]])

    return Batch(
        n=n,
        scores=np.arange(n_rows, dtype=np.float64),
        X=np.arange(2.0 * n_rows).reshape(-1, 2),
        X_pending=np.ones((n_pending, 2)),
        rng=np.random.default_rng(seed),
        prediction=everything.rows(np.arange(n_rows)),
        pending=everything.rows(np.arange(n_rows, len(factor))),
        factor=some,
    )


def _selection(**options: Any) -> VarianceReduction:
    return VarianceReduction(VarianceReduction.Options(**options))


def _left(factor: Floats, noise: Floats, given: list[int], rows: int) -> float:
    """The variance of the function that is left at the first rows, summed, by plain conditioning."""
    cov = factor @ factor.T
    if not given:
        return float(np.trace(cov[:rows, :rows]))
    K = cov[np.ix_(given, given)] + np.diag(noise[given])
    k = cov[:rows][:, given]
    return float(np.trace(cov[:rows, :rows] - k @ np.linalg.solve(K, k.T)))


@pytest.mark.parametrize("n_pending", [0, 3])
def test_each_pick_leaves_the_least_variance_of_all_it_could_have_been(n_pending: int) -> None:
    rng = np.random.default_rng(5)
    factor = rng.normal(size=(N + n_pending, RANK)) * rng.uniform(0.1, 3.0, size=(N + n_pending, 1))
    noise = rng.uniform(0.01, 0.5, size=N + n_pending)
    rows = _selection(sample=N).choose(_batch(factor, noise, 5, n_pending)).tolist()
    given = list(range(N, N + n_pending))
    for row in rows:
        left = {k: _left(factor, noise, [*given, k], N) for k in range(N) if k not in given}
        assert row == min(left, key=lambda k: left[k])
        given.append(row)


def test_of_twins_one_is_taken_and_none_if_its_twin_is_being_labeled() -> None:
    factor = np.eye(6)[[0, 0, 1, 2, 3, 0]] * np.array([[9.0], [9.0], [2.0], [1.5], [1.0], [9.0]])
    noise = np.full(6, 1e-6)
    rows = _selection(sample=6).choose(_batch(factor, noise, 3)).tolist()
    assert len({0, 1, 5} & set(rows)) == 1
    assert {2, 3} <= set(rows)
    pending = _selection(sample=5).choose(_batch(factor, noise, 3, n_pending=1)).tolist()
    assert pending == [2, 3, 4]


def test_an_outlier_that_tells_of_nobody_else_is_passed_over() -> None:
    factor = np.zeros((20, 2))
    factor[:19, 0], factor[19, 1] = 1.0, 1.5
    assert 19 not in _selection(sample=20).choose(_batch(factor, np.full(20, 0.1), 1)).tolist()


def test_where_nothing_is_left_to_learn_the_highest_scores_follow() -> None:
    rows = _selection().choose(_batch(np.zeros((8, 2)), np.ones(8), 3)).tolist()
    assert rows == [7, 6, 5]
