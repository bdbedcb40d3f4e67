"""The built-in surrogates keep the laws of a surrogate."""

from __future__ import annotations

import pytest

from active_learning.domain.protocols import Surrogate
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.surrogates.modal import ModalLearner
from active_learning.testing.surrogates import SurrogateContract

FOREST = "active_learning.surrogates.estimators:StdRandomForestRegressor"
GAUSSIAN_PROCESS = "sklearn.gaussian_process:GaussianProcessRegressor"


class TestRandomForest(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return RandomForest(RandomForest.Options(n_trees=20))


class TestExtraTrees(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return ExtraTrees(ExtraTrees.Options(n_trees=20, max_features="sqrt"))


class TestModalActiveLearner(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        options = {"estimator": FOREST, "estimator_options": {"n_estimators": 20}}
        return ModalLearner(ModalLearner.Options(**options))


class TestModalBayesianOptimizer(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        options = {
            "learner": "modAL.models:BayesianOptimizer",
            "estimator": GAUSSIAN_PROCESS,
            "estimator_options": {"alpha": 1e-6, "normalize_y": True, "optimizer": None},
        }
        return ModalLearner(ModalLearner.Options(**options))


class TestModalCommittee(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        options = {
            "learner": "modAL.models:CommitteeRegressor",
            "estimator": ["sklearn.ensemble:RandomForestRegressor", "sklearn.tree:DecisionTreeRegressor"],
            "estimator_options": [{"n_estimators": 10}, {}],
            "bootstrap": True,
        }
        return ModalLearner(ModalLearner.Options(**options))
