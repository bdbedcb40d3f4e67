"""scikit-learn forests whose ``predict`` takes ``return_std``: what modAL's strategies and optimizers ask for.

A plain ``RandomForestRegressor`` has no ``return_std``, so modAL's ``max_std_sampling`` and ``BayesianOptimizer`` fail
with it. These do not, and behave like their parents otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["StdExtraTreesRegressor", "StdRandomForestRegressor"]

Floats = NDArray[np.float64]

_BLOCK_ROWS = 2048
"""Rows predicted at once: a block of 500 trees takes 8 MB a thread, however many candidates there are."""


def _tree_values(trees: list[Any], X: Any) -> Floats:
    """(n_trees, n_rows, n_outputs) predicted by each tree; `X` is validated, float32."""
    values = np.stack([tree.predict(X, check_input=False) for tree in trees]).astype(np.float64, copy=False)
    return values.reshape(len(trees), X.shape[0], -1)


def _moments(trees: list[Any], X: Any) -> tuple[Floats, Floats]:
    """Mean and population standard deviation over the trees, (n_rows, n_outputs) each."""
    values = _tree_values(trees, X)
    # Measured from the first tree, so that the std is exactly 0 where all trees agree: ties must be ties, not rounding.
    first = values[0].copy()
    values -= first
    return first + values.mean(axis=0), values.std(axis=0)


class _StdOverTrees:
    """Adds the spread of the trees to a forest of regression trees."""

    n_jobs: int | None
    estimators_: list[Any]
    n_outputs_: int

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the mean over the trees, and on request their standard deviation.

        Unlike its parent's, the result does not depend on `n_jobs`, not even in the last digit.

        Parameters
        ----------
        X : array-like or sparse matrix, (n_samples, n_features)
        return_std : also return the standard deviation over the trees (divided by n_trees), in the unit of ``y``
            It is the spread of the ensemble: not calibrated, and no noise of the labels is in it.

        Returns
        -------
        mean, or (mean, std), each (n_samples,), or (n_samples, n_outputs) after training on a two-dimensional ``y``
        """
        blocks = list(self._blocks(X))
        run = Parallel(n_jobs=self.n_jobs, require="sharedmem")
        parts = run(delayed(_moments)(self.estimators_, block) for block in blocks)
        mean, std = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if self.n_outputs_ == 1:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean

    def predict_trees(self, X: Any) -> Floats:
        """What each tree predicts, (n_trees, n_samples, n_outputs). Holds all of it in memory."""
        return np.concatenate([_tree_values(self.estimators_, block) for block in self._blocks(X)], axis=1)

    def _blocks(self, X: Any) -> Iterator[Any]:
        check_is_fitted(self)
        allow_nan = cast(Any, self).__sklearn_tags__().input_tags.allow_nan
        X = validate_data(
            self,
            X,
            dtype=np.float32,
            accept_sparse="csr",
            reset=False,
            ensure_all_finite="allow-nan" if allow_nan else True,
        )
        for start in range(0, X.shape[0], _BLOCK_ROWS):
            yield X[start : start + _BLOCK_ROWS]


class StdRandomForestRegressor(_StdOverTrees, RandomForestRegressor):  # type: ignore[misc]
    """``sklearn.ensemble.RandomForestRegressor`` with ``predict(X, return_std=True)``.

    >>> import numpy as np
    >>> X = np.arange(6.0).reshape(-1, 1)
    >>> mean, std = StdRandomForestRegressor(n_estimators=10, random_state=0).fit(X, X[:, 0]).predict(X, True)
    >>> mean.shape, bool((std >= 0).all())
    ((6,), True)
    """


class StdExtraTreesRegressor(_StdOverTrees, ExtraTreesRegressor):  # type: ignore[misc]
    """``sklearn.ensemble.ExtraTreesRegressor`` with ``predict(X, return_std=True)``."""
