"""What belongs together in a record: labels with their requests, rounds and predictions. Light: no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import RoundRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Arm, Purpose, Request, RequestState
from active_learning.engine.answering import answered

__all__ = [
    "Comparison",
    "answers",
    "arm_of",
    "candidate_requests",
    "design_rounds",
    "failed_attempts",
    "formulas_of_labels",
    "given_up",
    "label_of_request",
    "newest_round",
    "out_of_fold",
    "prospective",
    "request_of_label",
]

Floats = NDArray[np.float64]
_FAILED = (RequestState.FAILED, RequestState.LOST)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Values beside what was predicted for them, each (n,), in the target's unit, and whose they are. n may be 0."""

    y: Floats
    mean: Floats
    std: Floats
    candidates: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    @staticmethod
    def of(rows: Sequence[tuple[float, float, float]], candidates: Sequence[str] = ()) -> Comparison:
        """From rows of value, mean and std, and the ids of their candidates."""
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return Comparison(table[:, 0], table[:, 1], table[:, 2], tuple(candidates))


def candidate_requests(record: CampaignRecord) -> tuple[Request, ...]:
    """The requests for candidates, references left out, in the order they were planned."""
    return tuple(request for request in record.requests if request.purpose is Purpose.CANDIDATE)


def label_of_request(record: CampaignRecord) -> dict[str, Label]:
    """Request id -> the label of the target that its job gave."""
    return {label.request_id: label for label in record.target_labels if label.request_id is not None}


def answers(record: CampaignRecord) -> dict[str, Label]:
    """Request id -> the label of the target that answers it: of its job, or told by a person who was asked."""
    labels = {label.candidate_id: label for label in record.target_labels}
    return {request.id: labels[candidate] for candidate, request in answered(record.requests, labels.values()).items()}


def request_of_label(record: CampaignRecord) -> list[Request | None]:
    """The request that each label of the record answers, in their order; None for one that nobody asked for.

    A label of another property, which a job gave beside the target's, has the request of its job.
    """
    by_id = {request.id: request for request in record.requests}
    of_target = answered(record.requests, record.target_labels)
    return [
        by_id.get(label.request_id or "")
        or (of_target.get(label.candidate_id) if label.property == record.target.property else None)
        for label in record.labels
    ]


def arm_of(request: Request, designs: frozenset[int]) -> Arm:
    """How a candidate came to be asked for; `designs` are the numbers of `design_rounds`.

    Stores that are older than the arms call everything chosen, the first design too.
    """
    return Arm.DESIGN if request.arm is Arm.CHOSEN and request.round in designs else request.arm


def design_rounds(record: CampaignRecord) -> frozenset[int]:
    """Numbers of the rounds that no model chose: the first design, unless enough was known before."""
    return frozenset(r.number for r in record.rounds if r.predictions is None)


def failed_attempts(record: CampaignRecord) -> tuple[Request, ...]:
    """Requests for candidates that gave no label (FAILED or LOST), in the order they settled."""
    failed = [request for request in candidate_requests(record) if request.state in _FAILED]
    return tuple(sorted(failed, key=lambda r: (r.settled_at is None, r.settled_at or record.now)))


def given_up(record: CampaignRecord) -> frozenset[str]:
    """Candidates that failed, have no label of the target and no open request."""
    hopeful = {request.candidate_id for request in candidate_requests(record) if request.is_open}
    hopeful |= {label.candidate_id for label in record.target_labels}
    return frozenset(request.candidate_id for request in failed_attempts(record)) - hopeful


def newest_round(record: CampaignRecord, field: str, *, up_to: int | None = None) -> RoundRecord | None:
    """The newest round (of number `up_to` at most) whose `field`, a mapping, is not empty."""
    rounds = [r for r in record.rounds if getattr(r, field) and (up_to is None or r.number <= up_to)]
    return max(rounds, key=lambda r: r.number, default=None)


def out_of_fold(record: CampaignRecord, round_record: RoundRecord | None) -> Comparison:
    """Labels beside what a model predicted for them that was not trained on them, in one round.

    A label that was retracted since has no row.
    """
    predicted = {} if round_record is None else round_record.out_of_fold
    values = {label.candidate_id: label.value for label in record.target_labels}
    known = {c: pair for c, pair in predicted.items() if c in values}
    return Comparison.of([(values[c], *pair) for c, pair in known.items()], tuple(known))


def prospective(record: CampaignRecord, *, arm: Arm = Arm.CHOSEN, up_to: int | None = None) -> Comparison:
    """Labels beside what the model predicted when their candidates were asked for, before anybody knew.

    Only requests of one arm, and of rounds up to `up_to`, if it is given.
    """
    labels = answers(record)
    found = [
        (r.candidate_id, (labels[r.id].value, r.mean, r.std))
        for r in candidate_requests(record)
        if r.id in labels
        and r.arm is arm
        and r.mean is not None
        and r.std is not None
        and (up_to is None or r.round <= up_to)
    ]
    return Comparison.of([row for _, row in found], [candidate for candidate, _ in found])


def formulas_of_labels(record: CampaignRecord) -> tuple[str | None, ...]:
    """The formula of each label of the target, in their order; None where nobody noted it."""
    requests = {request.candidate_id: request.formula for request in record.requests}
    labels = record.target_labels
    rows = record.rows_of(x.candidate_id for x in labels if x.candidate_id not in requests)
    return tuple(
        requests.get(x.candidate_id)
        or (record.formulas[rows[x.candidate_id]] if x.candidate_id in rows else x.provenance.get("formula"))
        for x in labels
    )
