"""The built-in stopping rules keep the laws of a stopping rule."""

from __future__ import annotations

import pytest

from active_learning.domain.campaign import Progress
from active_learning.domain.protocols import StoppingRule
from active_learning.stopping.accuracy import ErrorBelow, ErrorPlateau
from active_learning.stopping.budgets import Cost, WallTime
from active_learning.stopping.finding import Found
from active_learning.stopping.foresight import ExpectedGainBelow, Stabilized
from active_learning.stopping.rules import Labels, NoImprovement, PoolExhausted, UncertaintyBelow
from active_learning.testing.stopping import StoppingContract, progress_of


class TestLabels(StoppingContract):
    kind = "labels"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return Labels(Labels.Options(max=20))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(n_labels=20)


class TestNoImprovement(StoppingContract):
    kind = "no_improvement"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return NoImprovement(NoImprovement.Options(rounds=2))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(best=(-1.0, -1.0, -1.0))


class TestUncertaintyBelow(StoppingContract):
    kind = "uncertainty_below"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return UncertaintyBelow(UncertaintyBelow.Options(std=0.05))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(max_std=0.04)


class TestPoolExhausted(StoppingContract):
    kind = "pool_exhausted"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return PoolExhausted(PoolExhausted.Options())

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(n_candidates=5, n_labels=4, n_available=0)


class TestCost(StoppingContract):
    kind = "cost"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return Cost(Cost.Options.model_validate({"max": "200 h"}))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(core_s=720_001.0)


class TestWallTime(StoppingContract):
    kind = "wall_time"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return WallTime(WallTime.Options.model_validate({"max": "7 days"}))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(elapsed_s=604_800.0)


class TestErrorBelow(StoppingContract):
    kind = "error_below"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return ErrorBelow(ErrorBelow.Options(max=0.1))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(errors=(0.3, 0.09))


class TestErrorPlateau(StoppingContract):
    kind = "error_plateau"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return ErrorPlateau(ErrorPlateau.Options(rounds=2))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(errors=(0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1))


class TestExpectedGainBelow(StoppingContract):
    kind = "expected_gain_below"

    @pytest.fixture(params=["min_gain", "min_gain_per_hour"])
    def rule(self, request: pytest.FixtureRequest) -> StoppingRule:
        return ExpectedGainBelow(ExpectedGainBelow.Options.model_validate({request.param: 0.01}))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(forecasts=({"expected_gain": 0.003, "run_s": 3600.0},) * 2)


class TestStabilized(StoppingContract):
    kind = "stabilized"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return Stabilized(Stabilized.Options())

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(forecasts=({}, {"stability": 0.995}, {"stability": 1.0}, {"stability": 0.991}))


class TestFound(StoppingContract):
    kind = "found"

    @pytest.fixture
    def rule(self) -> StoppingRule:
        return Found(Found.Options(value=-2.0))

    @pytest.fixture
    def stops(self) -> Progress:
        return progress_of(values=(-1.0, -2.5))
