"""Neural networks keep the laws of a surrogate."""

from __future__ import annotations

from typing import Any

import pytest

from active_learning.domain.protocols import Surrogate
from active_learning.surrogates.neural_network import NeuralNetwork
from active_learning.testing.surrogates import SurrogateContract

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


class TestClassifier(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return _small().classifier()
