"""The built-in acquisitions keep the laws of an acquisition."""

from __future__ import annotations

from typing import Any

import pytest

from active_learning.acquisition.modal import ModalStrategy
from active_learning.acquisition.rules import ExpectedImprovement, RandomScore, Uncertainty, UpperConfidenceBound
from active_learning.domain.protocols import Acquisition
from active_learning.testing.acquisition import AcquisitionContract

MODAL_STRATEGIES = [
    "modAL.acquisition:max_EI",
    "modAL.acquisition:max_PI",
    "modAL.acquisition:max_UCB",
    "modAL.uncertainty:uncertainty_sampling",
    "modAL.uncertainty:margin_sampling",
    "modAL.uncertainty:entropy_sampling",
    "modAL.disagreement:max_std_sampling",
    "modAL.batch:uncertainty_batch_sampling",
]


@pytest.mark.parametrize("rule", [ExpectedImprovement, UpperConfidenceBound, Uncertainty, RandomScore])
class TestRules(AcquisitionContract):
    @pytest.fixture
    def acquisition(self, rule: Any) -> Acquisition:
        built: Acquisition = rule(rule.Options())
        return built


@pytest.mark.parametrize("strategy", MODAL_STRATEGIES)
class TestModalStrategies(AcquisitionContract):
    @pytest.fixture
    def acquisition(self, strategy: str) -> Acquisition:
        return ModalStrategy(ModalStrategy.Options(strategy=strategy))
