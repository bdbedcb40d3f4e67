"""Forests as surrogates: the mean over the trees is the belief, their disagreement the doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor

from active_learning.errors import ContractError
from active_learning.surrogates.checks import checked_training
from active_learning.surrogates.forest_bags import Bags
from active_learning.surrogates.forest_classes import ForestClassifier
from active_learning.surrogates.forest_fitted import FittedForest
from active_learning.surrogates.forest_growing import ExtraTreesOptions, ForestOptions, grown
from active_learning.surrogates.forest_noise import LeafNoise
from active_learning.surrogates.trees import Trees

__all__ = ["ExtraTrees", "ExtraTreesOptions", "FittedForest", "ForestOptions", "RandomForest"]

Floats = NDArray[np.float64]

_FRACTIONS = (0.1, 1 / 3, 2 / 3, 1.0)
"""Shares of the features worth trying: with 132 of them the first is about their root, the second Breiman's third."""
_LEAVES = (1, 2, 3, 5, 10)


class _Forest:
    Options: ClassVar[type[ForestOptions]] = ForestOptions
    _regressor: ClassVar[Any]
    _classifier: ClassVar[Any]

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
        # scikit-learn stops to split where the variance is below 2.2e-16, whatever the unit: labels of 1e-9 would give
        # one leaf. On [0, 1] the unit does not matter, and a constant target is met exactly.
        shares = (y - low) / span
        forest = grown(self._regressor, self.options, X, shares, rng)
        importances = np.asarray(forest.feature_importances_, dtype=np.float64)
        trees, bags = Trees.of(forest), Bags.of(forest, X, shares)
        if self.options.uncertainty == "total_variance":
            noise = LeafNoise.of(trees.leaves(X, self.options.n_jobs), shares, len(trees.value))
            trees = trees.with_value(np.column_stack([trees.value, noise.by_node]))
        counts = bags.counts if bags is not None and self.options.uncertainty == "jackknife" else None
        return FittedForest(trees, low, span, importances, self.options.n_jobs, counts, bags)

    def classifier(self) -> ForestClassifier:
        """The same forest for classes."""
        return ForestClassifier(self.options, self._classifier)

    @property
    def settings(self) -> Mapping[str, tuple[Any, ...]]:
        """The share of the features looked at for each split, and the fewest labels in a leaf: the present value of
        each, and others worth trying. 'sqrt' and None come first, numbers ascend."""
        share, leaf = self.options.max_features, self.options.min_samples_leaf
        is_number = isinstance(share, float)
        shares, leaves = {*_FRACTIONS}, {leaf, *_LEAVES}
        if not (self.options.bootstrap or self.options.splits_at_random):
            shares -= {1.0}  # trees that are all the same: the options refuse it
        if self.options.uncertainty == "total_variance" and not self.options.bootstrap:
            leaves -= {1}  # leaves of one label each tell no noise: the options refuse it
        return {
            "max_features": tuple(sorted({share, *shares})) if is_number else (share, *sorted(shares)),
            "min_samples_leaf": tuple(sorted(leaves)),
        }

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same forest with these options.

        Raises
        ------
        ContractError
            If one is not among `settings`, or has none of its values.
        """
        for name, value in settings.items():
            allowed = self.settings.get(name)
            if allowed is None:
                raise ContractError(f"a forest has no setting {name!r}; there are {', '.join(self.settings)}")
            if value not in allowed:
                raise ContractError(f"{name} is one of {', '.join(map(repr, allowed))}; got {value!r}")
        return type(self)(type(self.options).model_validate(self.options.model_dump() | dict(settings)))


class RandomForest(_Forest):
    """Bootstrapped trees with the best splits.

    References
    ----------
    Breiman (2001), doi:10.1023/A:1010933404324.
    """

    _regressor = RandomForestRegressor
    _classifier = RandomForestClassifier


class ExtraTrees(_Forest):
    """Trees with random splits, each grown on all labels: smoother, and about twice as fast to train.

    References
    ----------
    Geurts, Ernst & Wehenkel (2006), doi:10.1007/s10994-006-6226-1.
    """

    Options = ExtraTreesOptions
    _regressor = ExtraTreesRegressor
    _classifier = ExtraTreesClassifier
