"""The laws of a stopping rule, as tests: subclass `StoppingContract` and override its fixtures."""

from __future__ import annotations

import json

import pytest

from active_learning.domain.campaign import Progress
from active_learning.domain.protocols import BudgetRule, StoppingRule
from active_learning.domain.target import Goal, Target

__all__ = ["StoppingContract", "progress_of"]


def progress_of(
    *,
    n_candidates: int = 100,
    n_labels: int = 0,
    n_pending: int = 0,
    n_available: int | None = None,
    best: tuple[float, ...] = (),
    max_std: float | None = None,
    goal: Goal = Goal.MINIMIZE,
) -> Progress:
    """A campaign's progress; `best` is the best value after each settled round, in eV/atom."""
    target = Target("formation_energy_per_atom", goal, "eV/atom")
    return Progress(
        target=target,
        n_candidates=n_candidates,
        n_labels=n_labels,
        n_pending=n_pending,
        n_available=n_candidates - n_labels - n_pending if n_available is None else n_available,
        n_rounds=len(best),
        best_by_round=best,
        merit_by_round=tuple(-value if goal is Goal.MINIMIZE else value for value in best),
        max_std=max_std,
    )


class StoppingContract:
    """What every stopping rule promises.

    Override `rule`, `kind` (its name in the campaign file), `stops` (a progress at which it stops) and, if it can stop
    a campaign that has just begun, `goes_on`.
    """

    kind: str

    @pytest.fixture
    def rule(self) -> StoppingRule:
        """The rule under test."""
        raise NotImplementedError("override the fixture `rule`")

    @pytest.fixture
    def stops(self) -> Progress:
        """A progress at which it stops."""
        raise NotImplementedError("override the fixture `stops`")

    @pytest.fixture
    def goes_on(self) -> Progress:
        """A progress at which it goes on."""
        return progress_of()

    def test_a_campaign_that_just_began_goes_on(self, rule: StoppingRule, goes_on: Progress) -> None:
        assert rule.check(goes_on) is None

    def test_the_verdict_names_the_rule_and_says_why_in_one_sentence(self, rule: StoppingRule, stops: Progress) -> None:
        verdict = rule.check(stops)
        assert verdict is not None
        assert verdict.kind == self.kind
        assert verdict.reason.endswith(".")
        assert "\n" not in verdict.reason

    def test_the_evidence_is_a_json_object(self, rule: StoppingRule, stops: Progress) -> None:
        verdict = rule.check(stops)
        assert verdict is not None
        assert verdict.evidence
        assert json.loads(json.dumps(dict(verdict.evidence), allow_nan=False)) == dict(verdict.evidence)

    def test_the_same_progress_gives_the_same_verdict(self, rule: StoppingRule, stops: Progress) -> None:
        assert rule.check(stops) == rule.check(stops)

    def test_a_budget_is_never_negative_and_used_up_where_the_rule_stops(
        self, rule: StoppingRule, stops: Progress, goes_on: Progress
    ) -> None:
        if not isinstance(rule, BudgetRule):
            pytest.skip("this rule sets no budget")
        assert rule.remaining(goes_on) > 0
        assert rule.remaining(stops) == 0
