"""Gaussian processes and support vector machines keep the laws of a surrogate."""

from __future__ import annotations

import pytest

from active_learning.domain.protocols import Surrogate
from active_learning.surrogates.gaussian_process import GaussianProcess
from active_learning.surrogates.support_vector import SupportVector
from active_learning.testing.surrogates import SurrogateContract


class TestGaussianProcess(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return GaussianProcess(GaussianProcess.Options())


class TestGaussianProcessWithOneLengthScale(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return GaussianProcess(GaussianProcess.Options(kernel="rbf", length_scales="common"))


class TestSupportVector(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return SupportVector(SupportVector.Options(n_members=15))
