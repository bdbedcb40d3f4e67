"""Missing values for whoever cannot do with them: the same number stands in wherever a candidate is looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Filling", "filled"]

Floats = NDArray[np.float64]


class Filling:
    """What stands in for a missing value: the median of some candidates.

    Those that a model was trained on, mostly: then a candidate is shown to strategies as the preparation shows it to
    the model, in whatever company it is scored.

    Parameters
    ----------
    X : (n_rows, n_features), NaN where a value is missing; a feature that all rows lack becomes 0

    >>> Filling(np.array([[1.0, np.nan], [3.0, np.nan]]))(np.array([[np.nan, 5.0], [7.0, np.nan]])).tolist()
    [[2.0, 5.0], [7.0, 0.0]]
    """

    def __init__(self, X: Floats) -> None:
        missing = np.isnan(X)
        self.values: Floats = np.zeros(X.shape[1])
        has_value = ~missing.all(axis=0)
        self.values[has_value] = np.nanmedian(X[:, has_value], axis=0) if has_value.any() else 0.0

    def __call__(self, X: Floats) -> Floats:
        """`X`, (n, n_features), with nothing missing; itself if nothing is."""
        missing = np.isnan(X)
        return np.where(missing, self.values, X) if missing.any() else X


def filled(X: Floats) -> Floats:
    """`X`, (n, n_features), with the medians of its own rows where a value is missing; itself if nothing is."""
    return Filling(X)(X) if np.isnan(X).any() else X
