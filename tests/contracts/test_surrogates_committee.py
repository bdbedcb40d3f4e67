"""Committees keep the laws of a surrogate, whoever their members are."""

from __future__ import annotations

import pytest

from active_learning.domain.protocols import Surrogate
from active_learning.surrogates.committee import Committee
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.surrogates.gaussian_process import GaussianProcess
from active_learning.surrogates.modal import ModalLearner
from active_learning.testing.surrogates import SurrogateContract


def _forests() -> list[RandomForest | ExtraTrees]:
    return [
        RandomForest(RandomForest.Options(n_trees=15, n_jobs=1)),
        ExtraTrees(ExtraTrees.Options(n_trees=15, n_jobs=1)),
    ]


class TestCommittee(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Committee(Committee.Options()).with_members([*_forests(), GaussianProcess(GaussianProcess.Options())])


class TestCommitteeThatDoubtsByDisagreement(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Committee(Committee.Options(doubt="disagreement")).with_members(_forests())


class TestCommitteeOfOneThatCannotTravel(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        forest = "active_learning.surrogates.estimators:StdRandomForestRegressor"
        options = ModalLearner.Options(estimator=forest, estimator_options={"n_estimators": 10})
        return Committee(Committee.Options()).with_members([ModalLearner(options)])


class TestCommitteeOfCommittees(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        inner = [Committee(Committee.Options()).with_members([forest]) for forest in _forests()]
        return Committee(Committee.Options()).with_members(inner)
