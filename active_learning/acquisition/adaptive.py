"""Several rules that share a batch: those whose choices have paid get more of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from active_learning.domain.choosing import Acquisition, Outcome, Scoring
from active_learning.domain.options import Options, tables_with_kind
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError, UserError

__all__ = ["Adaptive"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_RULES = (
    {"kind": "upper_confidence_bound", "n_sigma": 1.0},
    {"kind": "expected_improvement"},
    {"kind": "upper_confidence_bound", "n_sigma": 0.0},
)


@dataclass(frozen=True, eq=False)
class _Deal:
    """A batch that was dealt out.

    Parameters
    ----------
    rows, rules : (n,), which candidate each place went to, and by which rule
    rest : (n_candidates,), the mean of the rules' ranks, negated and scaled to -1 to 0
    nearest : (n_candidates,), the rule that ranks each highest
    """

    rows: list[int]
    rules: list[int]
    rest: Floats
    nearest: Indices


class Adaptive:
    """Rules that take turns, each as often as its choices have paid in this campaign.

    No rule is the best on every table. Each place of a batch goes to the rule whose share of choices that paid is
    highest in a draw from what is known of it (Thompson sampling of Bernoulli arms: a rule that was tried little may
    still get its turn), and the rule gives its best candidate that no place before has taken. A choice has paid if its
    label is among the best `top_fraction` of all labels so far; a candidate that failed has not. Only the newest
    `memory` choices count: what pays at first need not pay later.

    Use it with the selection `top`: the batch is dealt already.

    References
    ----------
    Hoffman, Brochu & de Freitas (2011), UAI: portfolios of acquisition functions; Chapelle & Li (2011), NeurIPS:
    Thompson sampling.
    """

    class Options(Options):
        """Keys of ``[acquisition]``."""

        rules: tuple[dict[str, Any], ...] = Field(
            _RULES,
            min_length=1,
            description="The rules: tables like [acquisition] itself, each with its kind and options.",
        )
        top_fraction: float = Field(0.1, gt=0, le=0.5, description="Share of the labels that count as having paid.")
        memory: int = Field(50, ge=1, description="Newest choices of each rule that count.")

        @field_validator("rules")
        @classmethod
        def _each_is_a_rule_of_its_own(cls, rules: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
            for table in tables_with_kind(rules):
                if weighed := {"weigh_success", "per_cost"} & table.keys():
                    raise ValueError(
                        f"{' and '.join(sorted(weighed))} cannot stand in a rule: the rules share a batch by rank, and "
                        "ranks are no amounts of gain that could be weighed"
                    )
                if rules.count(table) > 1:
                    raise ValueError(f"the rule {table['kind']!r} stands there twice with the same options")
            return rules

    members_key = "rules"

    def __init__(self, options: Options, rules: Sequence[Acquisition] = ()) -> None:
        self.options, self.rules = options, tuple(rules)

    @property
    def goals(self) -> frozenset[Goal]:
        """Those that have a best, as far as all rules serve them."""
        goals = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN})
        for rule in self.rules:
            goals &= rule.goals
        return goals

    def member_tables(self, goal: Goal) -> tuple[dict[str, Any], ...]:  # noqa: ARG002
        """The tables of the rules, each with its `kind`."""
        return self.options.rules

    def with_members(self, members: Sequence[Acquisition]) -> Adaptive:
        """The same acquisition with these rules: who builds plug-ins builds those of `member_tables`.

        Raises
        ------
        UserError
            If no goal that has a best is served by all of them.
        """
        built = Adaptive(self.options, members)
        if not built.goals:
            rules = zip(self.options.rules, members, strict=True)
            served = "; ".join(f"{table['kind']}: {', '.join(sorted(rule.goals))}" for table, rule in rules)
            raise UserError(f"no goal that seeks a value is served by all of these rules. They serve: {served}.")
        return built

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,): n, n - 1, ..., 1 for the candidates that the rules take, and 0 or less, by the mean of the
        rules' ranks, for all others.

        Raises
        ------
        ContractError
            If there are no rules, the goal has no best; or as the rules.
        """
        deal = self._deal(prediction, scoring)
        scores = deal.rest
        scores[deal.rows] = np.arange(len(deal.rows), 0, -1)
        return scores

    def rules_of(self, prediction: Prediction, scoring: Scoring, rows: Indices) -> tuple[str, ...]:
        """For each row the rule that took it, and for any other row the rule that ranks it highest."""
        deal = self._deal(prediction, scoring)
        taken = dict(zip(deal.rows, deal.rules, strict=True))
        return tuple(self._name(taken.get(int(row), int(deal.nearest[row]))) for row in rows)

    def _name(self, place: int) -> str:
        table = self.options.rules[place]
        told = ", ".join(f"{key} = {value}" for key, value in table.items() if key != "kind")
        return f"{table['kind']}({told})" if told else str(table["kind"])

    def _ranks(self, prediction: Prediction, scoring: Scoring) -> NDArray[np.intp]:
        """Each rule's rank of each candidate, 0 for its best, (n_rules, n_candidates)."""
        if not self.rules:
            raise ContractError("adaptive needs its rules: with_members")
        ranks = np.empty((len(self.rules), scoring.n_candidates), dtype=np.intp)
        for place, rule in enumerate(self.rules):
            order = np.argsort(-rule.score(prediction, scoring), kind="stable")
            ranks[place, order] = np.arange(len(order))
        return ranks

    def _deal(self, prediction: Prediction, scoring: Scoring) -> _Deal:
        ranks = self._ranks(prediction, scoring)
        orders = [np.argsort(row, kind="stable") for row in ranks]
        won, lost = self._paid(scoring)
        rows: list[int] = []
        rules: list[int] = []
        taken: set[int] = set()
        for _ in range(min(scoring.n, scoring.n_candidates)):
            rule = int(np.argmax(scoring.rng.beta(1 + won, 1 + lost)))
            row = next(int(row) for row in orders[rule] if int(row) not in taken)
            taken.add(row)
            rows.append(row)
            rules.append(rule)
        rest = -ranks.mean(axis=0) / max(scoring.n_candidates, 1)
        return _Deal(rows, rules, rest, np.argmin(ranks, axis=0))

    def _paid(self, scoring: Scoring) -> tuple[Floats, Floats]:
        """How many of the newest choices of each rule have paid, and how many have not, (n_rules,) each."""
        bar = np.quantile(scoring.target.merit(scoring.y_labeled), 1 - self.options.top_fraction)
        won, lost = np.zeros(len(self.rules)), np.zeros(len(self.rules))
        for place in range(len(self.rules)):
            mine = [x for x in scoring.outcomes if x.rule == self._name(place)][-self.options.memory :]
            paid = [_merit(x, scoring) >= bar for x in mine]
            won[place], lost[place] = sum(paid), len(paid) - sum(paid)
        return won, lost


def _merit(outcome: Outcome, scoring: Scoring) -> float:
    if outcome.value is None:
        return -np.inf
    return float(scoring.target.merit(np.array([outcome.value]))[0])
