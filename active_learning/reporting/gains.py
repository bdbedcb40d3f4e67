"""What the calculations cost beside what they brought. Light: no matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.reporting.best import running_best

__all__ = ["ErrorPoint", "GainPoint", "best_so_far", "errors_at_cost", "gains"]


@dataclass(frozen=True)
class GainPoint:
    """One label of the target, when it came.

    Parameters
    ----------
    core_s : core time of all jobs that had ended by then, failed ones too
    best : the best value so far; None for a goal without a best
    """

    candidate: str
    time: datetime
    core_s: float
    value: float
    best: float | None


@dataclass(frozen=True)
class ErrorPoint:
    """One round's model: what the jobs before it had held, the labels it was trained on, and its error."""

    round: int
    core_s: float
    n_labels: int
    error: float


class _Spent:
    """Core time of the jobs that had ended by a moment; None if no job has left word of what it held."""

    def __init__(self, record: CampaignRecord) -> None:
        ended = sorted(
            ((r.settled_at, r.core_s) for r in record.requests if r.settled_at is not None and r.core_s is not None),
            key=lambda pair: pair[0],
        )
        self.is_known = bool(ended)
        self._times = [time for time, _ in ended]
        self._sums = np.concatenate([[0.0], np.cumsum([core_s for _, core_s in ended])])

    def at(self, times: list[datetime]) -> list[float]:
        stamps = np.array([time.timestamp() for time in self._times])
        places = np.searchsorted(stamps, [time.timestamp() for time in times], side="right")
        return [float(value) for value in self._sums[places]]


def best_so_far(record: CampaignRecord) -> list[float | None]:
    """The best value when each label of the target came, itself among them; None for a goal without a best."""
    return running_best(record.target, [label.value for label in record.target_labels])


def gains(record: CampaignRecord) -> tuple[GainPoint, ...]:
    """Every label of the target in the order they came in, with what had been spent and found by then.

    Empty if no job ever held a core: there is no cost to compare with.
    """
    spent, labels = _Spent(record), record.target_labels
    if not spent.is_known or not labels:
        return ()
    cost = np.maximum.accumulate(spent.at([label.time for label in labels]))
    return tuple(
        GainPoint(label.candidate_id, label.time, float(core_s), label.value, so_far)
        for label, core_s, so_far in zip(labels, cost, best_so_far(record), strict=True)
    )


def errors_at_cost(record: CampaignRecord) -> tuple[ErrorPoint, ...]:
    """The error of every round's model beside what had been spent when it was trained; empty as `gains`.

    The mean absolute error, of classes the share of wrong ones: on the test set if the campaign has one, otherwise on
    held-out labels; not a mixture of both.
    """
    spent, is_tested = _Spent(record), any(r.test_metrics for r in record.rounds)
    known = [(r, _error(r.test_metrics if is_tested else r.metrics)) for r in record.rounds]
    rounds = [(r, error) for r, error in known if error is not None]
    if not spent.is_known or not rounds:
        return ()
    cost = spent.at([r.opened_at for r, _ in rounds])
    return tuple(ErrorPoint(r.number, c, r.n_labels, error) for (r, error), c in zip(rounds, cost, strict=True))


def _error(metrics: Mapping[str, float]) -> float | None:
    return 1.0 - metrics["accuracy"] if "accuracy" in metrics else metrics.get("mae")
