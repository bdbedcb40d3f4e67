"""Forests for classes: the mean over the trees of the shares in their leaves is the probability of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.surrogates.checks import checked_classes, checked_features, checked_training
from active_learning.surrogates.forest_bags import Bags
from active_learning.surrogates.forest_growing import ForestOptions, grown
from active_learning.surrogates.trees import Trees

__all__ = ["FittedForestClassifier", "ForestClassifier"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedForestClassifier:
    """A trained forest for classes, which can travel as arrays.

    A row has the same probabilities to the last digit in whatever company, as with `FittedForest`.

    Parameters
    ----------
    trees : a leaf says the share of each class
    classes : (n_classes,), as labels have them, ascending
    importances : (n_features,)
    n_jobs : threads; all cores without it. Does not change any result.
    bags : what `held_out` takes; does not travel

    Raises
    ------
    ContractError
        If the shares in a leaf do not sum to 1, the classes do not ascend or are not as many as shares, or the trees
        look at features that there are not.
    """

    trees: Trees
    classes: Floats
    importances: Floats
    n_jobs: int | None = None
    bags: Bags | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shares = self.trees.value[np.isinf(self.trees.threshold)]
        if self.classes.shape != shares.shape[1:] or not (np.diff(self.classes) > 0).all():
            raise ContractError(
                f"classes ascend, one for each of the {shares.shape[1]} shares in a leaf; got {self.classes.tolist()}"
            )
        if not np.isfinite(self.classes).all() or (shares < 0).any() or (np.abs(shares.sum(axis=1) - 1) > 1e-9).any():
            raise ContractError("classes are finite, and their shares in each leaf sum to 1")
        if np.ndim(self.importances) != 1 or not np.isfinite(self.importances).all():
            raise ContractError("the (n_features,) importances of a trained forest must be finite")
        if self.trees.feature.max() >= len(self.importances):
            raise ContractError(
                f"a tree looks at feature {self.trees.feature.max()}; there are {len(self.importances)}, counted from 0"
            )

    def predict(self, X: Floats) -> Prediction:
        """The probability of each class, and mean and std of the class as a number.

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features, or a row that is not finite (it is named).
        """
        probabilities, _std = self.trees.moments(self._checked(X), self.n_jobs)
        return Prediction.of_classes(self.classes, probabilities)

    def member_probabilities(self, X: Floats) -> Floats:
        """What each tree says, (n_trees, n_candidates, n_classes): each row sums to 1. Held in memory as a whole.

        Parameters as `predict`.
        """
        return self.trees.draws(self._checked(X), self.n_jobs)

    @cached_property
    def held_out(self) -> Prediction | None:
        """What the trees without a label in their bags say of it, (n_labels, 1) with probabilities.

        None without bootstrap, if a label is in every bag, and for a forest that has traveled.
        """
        shares = None if self.bags is None else self.bags.held_out_shares(self.trees)
        return None if shares is None else Prediction.of_classes(self.classes, shares)

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of `Trees`, and those of this class; 0 is the `n_jobs` of all cores."""
        own = {"classes": self.classes, "importances": self.importances, "n_jobs": self.n_jobs or 0}
        return self.trees.to_arrays() | {name: np.array(array) for name, array in own.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The forest that `to_arrays` wrote.

        Raises
        ------
        ContractError
            If an array is missing, or they are no forest for classes.
        """
        missing = sorted({"classes", "importances", "n_jobs"} - arrays.keys())
        if missing or np.size(arrays["n_jobs"]) != 1:
            raise ContractError(
                "the arrays of a forest for classes hold classes, importances and one number n_jobs; there are "
                + ", ".join(f"{name} {np.shape(array)}" for name, array in sorted(arrays.items()))
            )
        classes, importances = (np.array(arrays[name], dtype=np.float64) for name in ("classes", "importances"))
        n_jobs = int(np.asarray(arrays["n_jobs"]).item()) or None
        return cls(Trees.from_arrays(arrays), classes, importances, n_jobs)

    def _checked(self, X: Floats) -> Floats:
        return checked_features(X, n_features=len(self.importances))


@dataclass(frozen=True)
class ForestClassifier:
    """A surrogate for classes.

    Parameters
    ----------
    options : as of the forest for numbers; `uncertainty` plays no part
    kind : scikit-learn's class
    """

    options: ForestOptions
    kind: Any

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedForestClassifier:
        """Train a new forest; one class alone is enough, and then certain.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), the class of each label as a number

        Raises
        ------
        ContractError
            If shapes do not match, there is no label, or a number is not finite (its row is named).
        UserError
            If the labels look like values of a number, see `checked_classes`.
        """
        X, y = checked_training(X, y)
        classes, codes = checked_classes(y)
        forest = grown(self.kind, self.options, X, codes, rng)
        importances = np.asarray(forest.feature_importances_, dtype=np.float64)
        return FittedForestClassifier(
            Trees.of(forest), classes, importances, self.options.n_jobs, Bags.of(forest, X, y)
        )
