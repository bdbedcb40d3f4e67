"""What a model of the target is, and what more it may be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction

__all__ = [
    "Classifies",
    "FittedSurrogate",
    "HasDraws",
    "HasHeldOut",
    "HasImportances",
    "HasSettings",
    "KnowsCovariance",
    "Portable",
    "Surrogate",
]

Floats = NDArray[np.float64]


@runtime_checkable
class FittedSurrogate(Protocol):
    """A trained model."""

    def predict(self, X: Floats) -> Prediction:
        """Mean and std of the target for each row of `X`, (n_candidates, n_features)."""


class Surrogate(Protocol):
    """A model of the target that knows how sure it is."""

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedSurrogate:
        """A new trained model; this object does not change.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), in the target's unit

        Laws: the same data and the same state of `rng` give the same predictions; two labels are enough.
        """


@runtime_checkable
class Classifies(Protocol):
    """A surrogate that can tell classes apart: the goal `classify` needs one."""

    def classifier(self) -> Surrogate:
        """The same surrogate for classes.

        Laws: its `fit` takes the class of each label as a number, (n_labels,); a model that was trained on it gives
        predictions with `probabilities`; one class alone is enough.
        """


@runtime_checkable
class HasSettings(Protocol):
    """A surrogate whose hyper-parameters can be searched for."""

    @property
    def settings(self) -> Mapping[str, tuple[Any, ...]]:
        """Name of an option -> the values worth trying, one of which is its default; ordered, if they have an order."""

    def with_settings(self, settings: Mapping[str, Any]) -> Surrogate:
        """The same surrogate with these options; each is one of `settings`, with one of its values."""


@runtime_checkable
class HasImportances(Protocol):
    """A trained model that knows how much each feature told it."""

    @property
    def importances(self) -> Floats:
        """(n_features,), non-negative, summing to 1 (or all 0, if no feature told anything)."""


@runtime_checkable
class HasHeldOut(Protocol):
    """A trained model that knows what it would have said of each label without it: out of bag, or by its own folds."""

    @property
    def held_out(self) -> Prediction | None:
        """(n_labels, 1), in the order of the labels it was trained on; None if it cannot tell for every label."""


@runtime_checkable
class HasDraws(Protocol):
    """A trained model that can draw whole functions from its belief: trees of a forest, samples of a process."""

    def draws(self, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
        """What `n` functions say of each row, (n, n_candidates), in the target's unit.

        Laws: the same state of `rng` gives the same functions, whichever rows are asked for; over many draws their
        mean at a row is that of `predict`, and their spread that of not knowing the function: noise of a label is no
        part of it.
        """


@runtime_checkable
class KnowsCovariance(Protocol):
    """A trained model that knows how its beliefs about candidates hang together."""

    def covariance_factor(self, X: Floats) -> Floats:
        """(n_candidates, rank): ``factor @ factor.T`` is the covariance of the beliefs about the rows of `X`.

        Law: its diagonal is the square of the std that comes of not knowing the function (noise of a label left out):
        at most that of `predict`.
        """


@runtime_checkable
class Portable(Protocol):
    """A trained model that can be written down as arrays and built again elsewhere, so that others can predict too."""

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """All that it takes to predict; no array of objects."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `to_arrays` wrote. Law: it predicts exactly the same."""
