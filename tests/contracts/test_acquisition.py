"""The built-in acquisitions keep the laws of an acquisition."""

from __future__ import annotations

from typing import Any

import pytest

from active_learning.acquisition.classes import ClassEntropy, ClassMargin, ClassUncertainty, Disagreement
from active_learning.acquisition.level_set import ProbabilityWithin, Straddle
from active_learning.acquisition.modal import ModalStrategy
from active_learning.acquisition.model_gain import ExpectedModelGain
from active_learning.acquisition.rules import (
    ExpectedImprovement,
    LogExpectedImprovement,
    ProbabilityOfImprovement,
    RandomScore,
    Uncertainty,
    UpperConfidenceBound,
)
from active_learning.acquisition.thompson import Thompson
from active_learning.domain.choosing import Acquisition, ScoresAreGains, ScoresByRow
from active_learning.testing.acquisition import AcquisitionContract

RULES: dict[Any, tuple[bool, bool]] = {
    ExpectedImprovement: (True, True),
    LogExpectedImprovement: (True, False),
    ProbabilityOfImprovement: (True, True),
    UpperConfidenceBound: (True, False),
    Uncertainty: (True, True),
    RandomScore: (True, False),
    ProbabilityWithin: (True, True),
    Straddle: (True, False),
    Thompson: (False, False),
    ExpectedModelGain: (False, True),
    ClassUncertainty: (True, True),
    ClassMargin: (True, False),
    ClassEntropy: (True, True),
    Disagreement: (False, True),
}
"""Each rule, whether it scores by row, and whether its scores are gains."""

MODAL_STRATEGIES = [
    "modAL.acquisition:max_EI",
    "modAL.acquisition:max_PI",
    "modAL.acquisition:max_UCB",
    "modAL.uncertainty:uncertainty_sampling",
    "modAL.uncertainty:margin_sampling",
    "modAL.uncertainty:entropy_sampling",
    "modAL.disagreement:max_std_sampling",
    "modAL.disagreement:vote_entropy_sampling",
    "modAL.disagreement:consensus_entropy_sampling",
    "modAL.disagreement:max_disagreement_sampling",
    "modAL.batch:uncertainty_batch_sampling",
]


@pytest.mark.parametrize("rule", RULES)
class TestRules(AcquisitionContract):
    @pytest.fixture
    def acquisition(self, rule: Any) -> Acquisition:
        built: Acquisition = rule(rule.Options())
        return built

    def test_it_says_what_it_can(self, acquisition: Acquisition, rule: Any) -> None:
        assert (isinstance(acquisition, ScoresByRow), isinstance(acquisition, ScoresAreGains)) == RULES[rule]


class TestDivergence(AcquisitionContract):
    @pytest.fixture
    def acquisition(self) -> Acquisition:
        return Disagreement(Disagreement.Options(measure="divergence"))


@pytest.mark.parametrize("strategy", MODAL_STRATEGIES)
class TestModalStrategies(AcquisitionContract):
    @pytest.fixture
    def acquisition(self, strategy: str) -> Acquisition:
        return ModalStrategy(ModalStrategy.Options(strategy=strategy))
