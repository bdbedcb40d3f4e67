"""Forests as surrogates: the mean over the trees is the belief, their spread the doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.surrogates.checks import checked_features, checked_training
from active_learning.surrogates.trees import Trees

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
    """A trained forest, which can travel as arrays. Its trees predict ``(y - low) / span``; `predict` and `draws` give
    the target's unit.

    Everything goes through the compiled kernel, ten rows as well as a million: a row then has the same prediction to
    the last digit, in whatever company and in whichever process. The first prediction of a process waits for the
    machine code to be loaded, and once on a machine for it to be made.

    Parameters
    ----------
    importances : (n_features,)
        The normalized mean decrease in impurity; all 0 if no tree has a split.
    n_jobs : threads; all cores without it. Does not change any result.

    Raises
    ------
    ContractError
        If the numbers are not finite, or the trees look at features that there are not.
    """

    trees: Trees
    low: float
    span: float
    importances: Floats
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.importances) != 1 or not np.isfinite([self.low, self.span, *self.importances]).all():
            raise ContractError("low, span and the (n_features,) importances of a trained forest must be finite")
        if self.trees.feature.max() >= len(self.importances):
            raise ContractError(
                f"a tree looks at feature {self.trees.feature.max()}; there are {len(self.importances)}, counted from 0"
            )

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
        mean, std = self.trees.moments(self._checked(X), self.n_jobs)
        return Prediction((self.low + self.span * mean)[:, None], (self.span * std)[:, None])

    def draws(self, X: Floats) -> Floats:
        """What each tree predicts, (n_trees, n_candidates, 1), in the target's unit. Held in memory as a whole."""
        values: Floats = self.low + self.span * self.trees.draws(self._checked(X), self.n_jobs)
        return values[:, :, None]

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of `Trees`, and those of this class; 0 is the `n_jobs` of all cores."""
        numbers = {"low": self.low, "span": self.span, "n_jobs": self.n_jobs or 0, "importances": self.importances}
        return self.trees.to_arrays() | {name: np.array(number) for name, number in numbers.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The forest that `to_arrays` wrote; scikit-learn plays no part.

        Raises
        ------
        ContractError
            If an array is missing, or they are no forest.
        """
        missing = sorted({"low", "span", "importances", "n_jobs"} - arrays.keys())
        if missing or any(np.size(arrays[name]) != 1 for name in ("low", "span", "n_jobs")):
            raise ContractError(
                "the arrays of a forest hold importances and one number each of low, span and n_jobs; there are "
                + ", ".join(f"{name} {np.shape(array)}" for name, array in sorted(arrays.items()))
            )
        low, span, n_jobs = (np.asarray(arrays[name]).item() for name in ("low", "span", "n_jobs"))
        importances = np.array(arrays["importances"], dtype=np.float64)
        return cls(Trees.from_arrays(arrays), float(low), float(span), importances, int(n_jobs) or None)

    def _checked(self, X: Floats) -> Floats:
        return checked_features(X, n_features=len(self.importances))


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
        forest.fit(X, (y - low) / span)
        importances = np.asarray(forest.feature_importances_, dtype=np.float64)
        return FittedForest(Trees.of(forest), low, span, importances, options.n_jobs)


class RandomForest(_Forest):
    """Bootstrapped trees with the best splits.

    References
    ----------
    Breiman (2001), doi:10.1023/A:1010933404324.
    """

    _estimator = RandomForestRegressor


class ExtraTrees(_Forest):
    """Trees with random splits, each grown on all labels: smoother, and about twice as fast to train.

    References
    ----------
    Geurts, Ernst & Wehenkel (2006), doi:10.1007/s10994-006-6226-1.
    """

    _estimator = ExtraTreesRegressor
