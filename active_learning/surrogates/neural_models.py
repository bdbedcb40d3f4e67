"""Trained neural networks: what they believe of a number, and of a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.surrogates.checks import checked_features
from active_learning.surrogates.neural_functions import Perceptrons
from active_learning.surrogates.neural_losses import noise_variance
from active_learning.surrogates.standardized import StandardTarget, taken

__all__ = ["FittedNeuralClassifier", "FittedNeuralNetwork"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedNeuralNetwork:
    """Functions of the features whose mean is the belief and whose spread the doubt; it can travel as arrays.

    Parameters
    ----------
    functions : of the standardized target, and as a second output, if there is one, the noise of a label
    target : of the labels; if all were equal, every prediction is what they were

    Raises
    ------
    ContractError
        If there are not one or two outputs.
    """

    functions: Perceptrons
    target: StandardTarget

    def __post_init__(self) -> None:
        n_outputs = self.functions.layers[-1][0].shape[2]
        if n_outputs not in (1, 2):
            raise ContractError(f"a network for a number has one output, or two with its noise; got {n_outputs}")

    @property
    def knows_noise(self) -> bool:
        """Whether the noise of the labels was learned, and is in the std."""
        return bool(self.functions.layers[-1][0].shape[2] == 2)

    def predict(self, X: Floats) -> Prediction:
        """Mean and standard deviation, in the target's unit.

        The variance is that of the functions (divided by their number), plus the mean of the noise's variance if that
        was learned: the variance of the equal mixture of the functions' normal distributions (Lakshminarayanan,
        Pritzel & Blundell 2017, section 2.4).

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features, or a row that is not finite (it is named).
        """
        X = self._checked(X)
        mean, variance = np.empty(len(X)), np.empty(len(X))
        for rows, outputs in self.functions.tiles(X):
            # Measured from the first function, so that the std is exactly 0 where all agree.
            apart = outputs[..., 0] - outputs[0, :, 0]
            mean[rows], variance[rows] = outputs[0, :, 0] + apart.mean(axis=0), apart.var(axis=0)
            if self.knows_noise:
                variance[rows] += noise_variance(outputs[..., 1]).mean(axis=0)
        center, spread = self.target.center, self.target.spread
        return Prediction((center + spread * mean)[:, None], (spread * np.sqrt(variance))[:, None])

    def draws(self, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
        """What `n` of the functions say of each row, (n, n_candidates), in the target's unit.

        They come in random order, each once before any comes again. The noise of labels is no part of a function.

        Raises
        ------
        ContractError
            If `n` is below 1, or as `predict`.
        """
        if n < 1:
            raise ContractError(f"cannot draw {n} functions; it takes 1 or more")
        X, n_functions = self._checked(X), self.functions.n_functions
        chosen = rng.permuted(np.tile(np.arange(n_functions), (-(-n // n_functions), 1)), axis=1).ravel()[:n]
        values = np.empty((n, len(X)))
        for rows, outputs in self.functions.tiles(X, chosen):
            values[:, rows] = outputs[..., 0]
        drawn: Floats = self.target.center + self.target.spread * values
        return drawn

    def covariance_factor(self, X: Floats) -> Floats:
        """The functions around their mean, by the root of their number, (n_candidates, n_functions).

        Raises
        ------
        ContractError
            As `predict`.
        """
        X, n_functions = self._checked(X), self.functions.n_functions
        factor = np.empty((len(X), n_functions))
        for rows, outputs in self.functions.tiles(X):
            apart = outputs[..., 0] - outputs[0, :, 0]
            factor[rows] = (apart - apart.mean(axis=0)).T
        scaled: Floats = self.target.spread * factor / np.sqrt(n_functions)
        return scaled

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of `Perceptrons` and of `StandardTarget`."""
        return self.functions.to_arrays() | self.target.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `to_arrays` wrote; PyTorch plays no part.

        Raises
        ------
        ContractError
            If an array is missing, or they are no network for a number.
        """
        return cls(Perceptrons.from_arrays(arrays), StandardTarget.from_arrays(arrays))

    def _checked(self, X: Floats) -> Floats:
        return checked_features(X, n_features=self.functions.features.n_features)


@dataclass(frozen=True, eq=False)
class FittedNeuralClassifier:
    """Functions whose mean probability of each class is the belief; it can travel as arrays.

    Parameters
    ----------
    functions : with one output for each class
    classes : (n_classes,), as the labels have them, ascending

    Raises
    ------
    ContractError
        If there is not one output for each class, or the classes do not ascend.
    """

    functions: Perceptrons
    classes: Floats

    def __post_init__(self) -> None:
        classes = np.array(self.classes, dtype=np.float64)
        classes.flags.writeable = False
        object.__setattr__(self, "classes", classes)
        n_outputs = self.functions.layers[-1][0].shape[2]
        if classes.shape != (n_outputs,) or not np.isfinite(classes).all() or (np.diff(classes) <= 0).any():
            raise ContractError(f"{n_outputs} classes are needed, finite and ascending; got {classes.tolist()}")

    def predict(self, X: Floats) -> Prediction:
        """Probabilities of the classes: the mean over the functions of the softmax of their outputs.

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features, or a row that is not finite (it is named).
        """
        X = self._checked(X)
        probabilities = np.empty((len(X), len(self.classes)))
        for rows, outputs in self.functions.tiles(X):
            probabilities[rows] = _softmax(outputs).mean(axis=0)
        return Prediction.of_classes(self.classes, probabilities)

    def member_probabilities(self, X: Floats) -> Floats:
        """What each function says, (n_functions, n_candidates, n_classes): each row sums to 1.

        Raises
        ------
        ContractError
            As `predict`.
        """
        X = self._checked(X)
        probabilities = np.empty((self.functions.n_functions, len(X), len(self.classes)))
        for rows, outputs in self.functions.tiles(X):
            probabilities[:, rows] = _softmax(outputs)
        return probabilities

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of `Perceptrons`, and the classes."""
        return self.functions.to_arrays() | {"classes": self.classes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `to_arrays` wrote; PyTorch plays no part.

        Raises
        ------
        ContractError
            If an array is missing, or they are no network for these classes.
        """
        return cls(Perceptrons.from_arrays(arrays), *taken(arrays, "classes"))

    def _checked(self, X: Floats) -> Floats:
        return checked_features(X, n_features=self.functions.features.n_features)


def _softmax(outputs: Floats) -> Floats:
    """Probabilities of the classes, over the last axis."""
    weights = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    probabilities: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities
