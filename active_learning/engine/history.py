"""What became of earlier choices: what strategies, forecasts and rules learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Settings
from active_learning.domain.label import FailureKind, Label
from active_learning.domain.protocols import Outcome
from active_learning.domain.request import Arm, Purpose, Request, RequestState
from active_learning.domain.target import Target
from active_learning.engine.deciding import is_given_up, newest_attempts
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.observing import target_labels
from active_learning.store import Facts

__all__ = ["Tried", "outcomes_of", "tried_of"]

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]


def outcomes_of(facts: Facts, target: Target, settings: Settings) -> tuple[Outcome, ...]:
    """What became of the model's choices that are settled, in the order they were asked for."""
    labels = target_labels(facts, target)
    values = {label.request_id: label.value for label in labels if label.request_id}
    given_up = is_given_up(facts.requests, settings)
    newest = newest_attempts(facts.requests)
    found = []
    for request in facts.requests:
        is_last = newest[request.candidate_id] is request
        if request.arm is not Arm.CHOSEN or request.mean is None or request.std is None or not is_last:
            continue
        value = values.get(request.id)
        if value is None and request.candidate_id not in given_up:
            continue
        best = _best_before(request, labels, target)
        found.append(Outcome(request.round, request.rule, request.mean, request.std, value, best))
    return tuple(found)


def _best_before(request: Request, labels: tuple[Label, ...], target: Target) -> float | None:
    if not target.goal.has_best or request.planned_at is None:
        return None
    values = np.array([x.value for x in labels if x.time <= request.planned_at])
    return float(values[np.argmax(target.merit(values))]) if len(values) else None


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
