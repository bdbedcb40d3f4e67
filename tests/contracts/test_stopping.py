"""The built-in stopping rules keep the laws of a stopping rule."""

from __future__ import annotations

import pytest

from active_learning.domain.campaign import Progress
from active_learning.domain.protocols import StoppingRule
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
