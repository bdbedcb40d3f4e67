"""What belongs together in a record: labels with their requests, rounds and predictions. Light: no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import RoundRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Purpose, Request, RequestState

__all__ = [
    "Comparison",
    "candidate_requests",
    "design_rounds",
    "failed_attempts",
    "given_up",
    "label_of_request",
    "newest_round",
    "out_of_fold",
    "prospective",
    "round_of_label",
]

Floats = NDArray[np.float64]
_FAILED = (RequestState.FAILED, RequestState.LOST)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Values beside what was predicted for them, each (n,), in the target's unit. n may be 0."""

    y: Floats
    mean: Floats
    std: Floats

    def __len__(self) -> int:
        return len(self.y)

    @staticmethod
    def of(rows: Sequence[tuple[float, float, float]]) -> Comparison:
        """From rows of value, mean and std."""
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return Comparison(table[:, 0], table[:, 1], table[:, 2])


def candidate_requests(record: CampaignRecord) -> tuple[Request, ...]:
    """The requests for candidates, references left out, in the order they were planned."""
    return tuple(request for request in record.requests if request.purpose is Purpose.CANDIDATE)


def label_of_request(record: CampaignRecord) -> dict[str, Label]:
    """Request id -> the label of the target that its job gave."""
    return {label.request_id: label for label in record.target_labels if label.request_id is not None}


def round_of_label(record: CampaignRecord) -> list[int | None]:
    """The round that asked for each of the target's labels, in their order; None for one that was told or known."""
    rounds = {request.id: request.round for request in record.requests}
    return [None if label.request_id is None else rounds.get(label.request_id) for label in record.target_labels]


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
    return Comparison.of([(values[c], *pair) for c, pair in predicted.items() if c in values])


def prospective(record: CampaignRecord, *, up_to: int | None = None) -> Comparison:
    """Labels beside what the model predicted when it chose the candidate, before anybody knew.

    Only requests of rounds up to `up_to`, if it is given.
    """
    labels = label_of_request(record)
    return Comparison.of(
        [
            (labels[r.id].value, r.mean, r.std)
            for r in candidate_requests(record)
            if r.id in labels and r.mean is not None and r.std is not None and (up_to is None or r.round <= up_to)
        ]
    )
