"""What became of earlier choices: what strategies, forecasts and rules learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Settings
from active_learning.domain.label import FailureKind, Label
from active_learning.domain.protocols import Outcome
from active_learning.domain.request import Arm, Purpose, Request, RequestState
from active_learning.domain.target import Target
from active_learning.engine.answering import answered
from active_learning.engine.deciding import is_given_up, newest_attempts
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.observing import target_labels
from active_learning.store import Facts

__all__ = ["Tried", "outcomes_of", "tried_of"]

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]


def outcomes_of(facts: Facts, target: Target, settings: Settings) -> tuple[Outcome, ...]:
    """What became of the model's choices that are settled, in the order of their rounds and requests.

    A choice whose label a person told is settled, too.
    """
    labels = target_labels(facts, target)
    values = {label.candidate_id: label.value for label in labels}
    given_up = is_given_up(facts.requests, settings)
    best = _best_by_round(facts, labels, target)
    found = []
    for request in newest_attempts(facts.requests).values():
        if request.arm is not Arm.CHOSEN or request.mean is None or request.std is None:
            continue
        value = values.get(request.candidate_id)
        if value is None and request.candidate_id not in given_up:
            continue
        found.append(Outcome(request.round, request.rule, request.mean, request.std, value, best.get(request.round)))
    return tuple(sorted(found, key=lambda outcome: outcome.round))


def _best_by_round(facts: Facts, labels: tuple[Label, ...], target: Target) -> Mapping[int, float]:
    """Round -> value of the best label that was known when it was opened; without those that knew of none."""
    if not target.goal.has_best or not labels:
        return {}
    rounds = {candidate: request.round for candidate, request in answered(facts.requests, labels).items()}
    values = np.array([label.value for label in labels])
    merits = target.merit(values)
    of_round = np.array([rounds.get(label.candidate_id, -1) for label in labels])
    times = np.array([label.time.timestamp() for label in labels])
    found = {}
    for record in facts.rounds:
        # Of labels that came at the very time of the opening only those count that nobody asked for in this round.
        known = np.flatnonzero((times <= record.opened_at.timestamp()) & (of_round < record.number))
        if len(known):
            found[record.number] = float(values[known[np.argmax(merits[known])]])
    return found


@dataclass(frozen=True, eq=False)
class Tried:
    """Candidates whose labeling ended, well or badly.

    Parameters
    ----------
    rows : (n,), of the features, ascending
    succeeded : (n,)
    run_s : (n,), seconds from launch to end; NaN where that is not known
    """

    rows: Rows
    succeeded: NDArray[np.bool_]
    run_s: Floats

    @property
    def label_run_s(self) -> Floats:
        """Seconds that those took that gave a label, as far as they are known, (any,)."""
        return self.run_s[self.succeeded & np.isfinite(self.run_s)]


_NOT_ITS_OWN = frozenset({FailureKind.NODE})
"""Failures that say nothing of what a calculation of a candidate would have come to."""


def tried_of(facts: Facts, features: FeatureFile) -> Tried:
    """What became of each candidate's last attempt that ended; cancelled and lost ones say nothing."""
    ended: dict[int, Request] = {}
    for request in facts.requests:
        is_own = request.failure is None or request.failure.kind not in _NOT_ITS_OWN
        is_over = request.state is RequestState.SUCCEEDED or (request.state is RequestState.FAILED and is_own)
        if is_over and request.purpose is Purpose.CANDIDATE and request.candidate_id in features.ids:
            ended[features.ids.row(request.candidate_id)] = request
    rows = sorted(ended)
    return Tried(
        rows=np.array(rows, dtype=np.intp),
        succeeded=np.array([ended[row].state is RequestState.SUCCEEDED for row in rows], dtype=bool),
        run_s=np.array([np.nan if (s := ended[row].run_s) is None else s for row in rows], dtype=np.float64),
    )
