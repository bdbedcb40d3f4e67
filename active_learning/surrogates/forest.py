"""Forests as surrogates: the mean over the trees is the belief, their spread the doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.surrogates.checks import checked_features, checked_training
from active_learning.surrogates.estimators import StdExtraTreesRegressor, StdRandomForestRegressor

__all__ = ["ExtraTrees", "FittedForest", "ForestOptions", "RandomForest"]

Floats = NDArray[np.float64]
Fraction = Annotated[float, Field(gt=0, le=1)]


class ForestOptions(Options):
    """Keys of ``[surrogate]`` for a forest."""

    n_trees: int = Field(300, ge=2, le=10_000, description="Number of trees.")
    max_features: Fraction | Literal["sqrt"] | None = Field(
        1.0,
        description="Features looked at for each split: a fraction of them, or 'sqrt'. Fewer is faster; with few "
        "labels it is also less accurate.",
    )
    min_samples_leaf: int = Field(1, ge=1, description="Fewest labels in a leaf.")
    n_jobs: int | None = Field(None, ge=1, description="Threads; all cores without it. Does not change any result.")


@dataclass(frozen=True, eq=False)
class FittedForest:
    """A trained forest. Its trees predict ``(y - low) / span``; `predict` and `draws` give the target's unit."""

    forest: StdRandomForestRegressor | StdExtraTreesRegressor
    low: float
    span: float

    def predict(self, X: Floats) -> Prediction:
        """Mean and standard deviation over the trees, in the target's unit.

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features, or a row that is not finite (it is named).
        """
        X = self._checked(X)
        if not len(X):
            return Prediction(np.empty((0, 1)), np.empty((0, 1)))
        mean, std = self.forest.predict(X, return_std=True)
        return Prediction((self.low + self.span * mean)[:, None], (self.span * std)[:, None])

    def draws(self, X: Floats) -> Floats:
        """What each tree predicts, (n_trees, n_candidates, 1), in the target's unit. Held in memory as a whole."""
        values: Floats = self.low + self.span * self.forest.predict_trees(self._checked(X))
        return values

    @property
    def importances(self) -> Floats:
        """(n_features,), the normalized mean decrease in impurity; all 0 if no tree has a split."""
        return np.asarray(self.forest.feature_importances_, dtype=np.float64)

    def _checked(self, X: Floats) -> Floats:
        return checked_features(X, n_features=self.forest.n_features_in_)


class _Forest:
    Options = ForestOptions
    _estimator: ClassVar[Any]

    def __init__(self, options: ForestOptions) -> None:
        self.options = options

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedForest:
        """Train a new forest.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), in the target's unit

        Raises
        ------
        ContractError
            If shapes do not match, there is no label, or a number is not finite (its row is named).
        """
        X, y = checked_training(X, y)
        low, span = float(y.min()), float(np.ptp(y)) or 1.0
        options = self.options
        forest = self._estimator(
            n_estimators=options.n_trees,
            max_features=options.max_features,
            min_samples_leaf=options.min_samples_leaf,
            n_jobs=options.n_jobs or -1,
            random_state=int(rng.integers(2**31)),
        )
        # scikit-learn stops to split where the variance is below 2.2e-16, whatever the unit: labels of 1e-9 would give
        # one leaf. On [0, 1] the unit does not matter, and a constant target is met exactly.
        return FittedForest(forest.fit(X, (y - low) / span), low, span)


class RandomForest(_Forest):
    """Bootstrapped trees with the best splits.

    References
    ----------
    Breiman (2001), doi:10.1023/A:1010933404324.
    """

    _estimator = StdRandomForestRegressor


class ExtraTrees(_Forest):
    """Trees with random splits, each grown on all labels: smoother, and about twice as fast to train.

    References
    ----------
    Geurts, Ernst & Wehenkel (2006), doi:10.1007/s10994-006-6226-1.
    """

    _estimator = StdExtraTreesRegressor
