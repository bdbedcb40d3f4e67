"""The laws of a stopping rule, as tests: subclass `StoppingContract` and override its fixtures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from active_learning.domain.campaign import Progress
from active_learning.domain.protocols import BudgetRule, StoppingRule
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError

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
    values: tuple[float, ...] = (),
    errors: tuple[float, ...] = (),
    forecasts: tuple[Mapping[str, float], ...] = (),
    core_s: float = 0.0,
    elapsed_s: float = 0.0,
) -> Progress:
    """A campaign's progress; `best` is the best value after each settled round, in eV/atom, and `within` is -1 to 0."""
    target = _target(goal)
    return Progress(
        target=target,
        n_candidates=n_candidates,
        n_labels=n_labels,
        n_pending=n_pending,
        n_available=n_candidates - n_labels - n_pending if n_available is None else n_available,
        n_rounds=len(best),
        best_by_round=best,
        merit_by_round=tuple(target.merit(np.array(best)).tolist()) if best else (),
        max_std=max_std,
        values=values,
        errors=errors,
        forecasts=forecasts,
        core_s=core_s,
        elapsed_s=elapsed_s,
    )


def _target(goal: Goal) -> Target:
    low, high = (-1.0, 0.0) if goal is Goal.WITHIN else (None, None)
    return Target("formation_energy_per_atom", goal, "eV/atom", low, high)


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

    def test_the_same_progress_gives_the_same_verdict_whatever_was_asked_before(
        self, rule: StoppingRule, stops: Progress, goes_on: Progress
    ) -> None:
        verdict = rule.check(stops)
        assert rule.check(goes_on) is None
        assert rule.check(stops) == verdict

    def test_asking_changes_nothing(self, rule: StoppingRule, stops: Progress) -> None:
        before = deepcopy(stops)
        rule.check(stops)
        assert stops == before

    @pytest.mark.parametrize("goal", list(Goal))
    def test_a_goal_that_it_cannot_serve_is_refused_by_name(
        self, rule: StoppingRule, goes_on: Progress, goal: Goal
    ) -> None:
        try:
            verdict = rule.check(replace(goes_on, target=_target(goal)))
        except ContractError as error:
            assert f"'{goal}'" in str(error)
        else:
            assert verdict is None

    def test_a_budget_is_never_negative_and_used_up_where_the_rule_stops(
        self, rule: StoppingRule, stops: Progress, goes_on: Progress
    ) -> None:
        if not isinstance(rule, BudgetRule):
            pytest.skip("this rule sets no budget")
        assert rule.remaining(goes_on) > 0
        assert rule.remaining(stops) == 0
