"""Neural networks keep the laws of a surrogate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.models import FittedSurrogate
from active_learning.domain.protocols import Surrogate
from active_learning.surrogates.neural_network import NeuralNetwork
from active_learning.testing.surrogates import SurrogateContract

Floats = NDArray[np.float64]
pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'motherlode[nn]'")


def _small(**options: Any) -> NeuralNetwork:
    few = {"hidden": (16, 16), "n_members": 3, "n_draws": 20, "epochs": 100, "learning_rate": 0.01}
    return NeuralNetwork(NeuralNetwork.Options(**few | options))


class TestDeepEnsemble(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return _small()


class TestMonteCarloDropout(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return _small(uncertainty="mc_dropout")


class TestDeepEnsembleOfMedians(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return _small(loss="mae", validation=0.0, epochs=40)


class TestGaussianLikelihood(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return _small(loss="gaussian_nll", uncertainty="mc_dropout", epochs=60)


class _OfWholeNumbers:
    """A classifier to which the suite's labels are rounded: those of a number it refuses."""

    def __init__(self, classifier: Surrogate) -> None:
        self._classifier = classifier

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedSurrogate:
        is_number = np.ndim(y) == 1 and np.isfinite(y).all() and len(np.unique(y)) > 1
        whole = np.round(y) if is_number else y
        return self._classifier.fit(X, whole, rng=rng)


class TestClassifier(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return _OfWholeNumbers(_small().classifier())
