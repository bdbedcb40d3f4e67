"""A request: the promise to label one candidate, its states and its legal moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure
from active_learning.errors import ContractError, IllegalMove

__all__ = ["MOVES", "OPEN_STATES", "Arm", "Purpose", "Request", "RequestState", "request_id"]


class RequestState(StrEnum):
    """Where a request stands. SUBMITTING is the promise before the effect: after a crash it means "in doubt"."""

    PLANNED = "PLANNED"
    SUBMITTING = "SUBMITTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"


_S = RequestState
MOVES: Mapping[RequestState, frozenset[RequestState]] = {
    _S.PLANNED: frozenset({_S.SUBMITTING, _S.CANCELLED}),
    _S.SUBMITTING: frozenset({_S.RUNNING, _S.PLANNED, _S.FAILED}),
    _S.RUNNING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.LOST}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.LOST: frozenset(),
}
OPEN_STATES = frozenset({_S.PLANNED, _S.SUBMITTING, _S.RUNNING})


class Purpose(StrEnum):
    """Why a request exists: a candidate to learn from, or an element whose energy others are measured against."""

    CANDIDATE = "candidate"
    REFERENCE = "reference"


class Arm(StrEnum):
    """How a candidate came to be asked for: by the first design; chosen by the model; drawn at random beside it, as the
    control; or kept for the test set, whose labels no model is trained on."""

    DESIGN = "design"
    CHOSEN = "chosen"
    CONTROL = "control"
    TEST = "test"


def request_id(candidate_id: str, attempt: int) -> str:
    """The id of a request, which is also the name of its job directory."""
    return f"{candidate_id}-{attempt}"


@dataclass(frozen=True)
class Request:
    """A promise to label one candidate.

    `attempt` counts from 1. `score`, `mean` and `std` are what the model believed when the candidate was asked for,
    in the target's unit; None in the first design. `reason` is one phrase: why this candidate; `rule` is the one of the
    acquisition's rules that proposed it, empty if it has one only. `novelty` is how far the candidate lies from what
    the model was trained on: above 1 it is outside of the model's domain of applicability. `cores` for at most
    `asked_s` seconds is what its job asked for; `queued_s` it waited and `ran_s` it ran, where the job left word of
    it. `cancel_asked_at` is when the submitter was told to end the job. `backend` is the submitter's last word on the
    job, the same since `backend_since`; `backend_detail` is how the backend itself puts it.
    """

    candidate_id: str
    formula: str
    attempt: int
    round: int
    state: RequestState
    job_name: str
    purpose: Purpose = Purpose.CANDIDATE
    arm: Arm = Arm.CHOSEN
    rule: str = ""
    novelty: float | None = None
    handle: str | None = None
    failure: Failure | None = None
    reason: str = ""
    score: float | None = None
    mean: float | None = None
    std: float | None = None
    cores: int = 1
    asked_s: float | None = None
    queued_s: float | None = None
    ran_s: float | None = None
    cancel_asked_at: datetime | None = None
    backend: JobPhase | None = None
    backend_since: datetime | None = None
    backend_detail: str = ""
    planned_at: datetime | None = None
    submitted_at: datetime | None = None
    settled_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.attempt < 1:
            raise ContractError(f"attempts count from 1, got {self.attempt}")
        if self.state in (_S.RUNNING, _S.SUCCEEDED) and not self.handle:
            raise ContractError(f"request {self.id} is {self.state} without a handle")
        if self.state is _S.FAILED and self.failure is None:
            raise ContractError(f"request {self.id} FAILED without saying why")

    @property
    def id(self) -> str:
        """`<candidate>-<attempt>`; also the name of the job directory."""
        return request_id(self.candidate_id, self.attempt)

    @property
    def is_open(self) -> bool:
        """Whether a label may still come of it."""
        return self.state in OPEN_STATES

    @property
    def core_s(self) -> float | None:
        """Core-seconds that its job held; None as for `run_s`."""
        return None if self.run_s is None else self.cores * self.run_s

    @property
    def run_s(self) -> float | None:
        """Seconds that its job ran; where it left no word of it, those from its launch to its end; None if it was never
        launched, or has not ended."""
        if self.ran_s is not None:
            return self.ran_s
        if self.submitted_at is None or self.settled_at is None:
            return None
        return (self.settled_at - self.submitted_at).total_seconds()

    def as_planned(self, at: datetime | None = None) -> Request:
        """The same request before anything came of it, planned at that time."""
        return replace(
            self,
            state=_S.PLANNED,
            handle=None,
            failure=None,
            cores=1,
            asked_s=None,
            queued_s=None,
            ran_s=None,
            cancel_asked_at=None,
            backend=None,
            backend_since=None,
            backend_detail="",
            planned_at=at,
            submitted_at=None,
            settled_at=None,
        )

    def to(
        self,
        state: RequestState,
        *,
        at: datetime,
        handle: str | None = None,
        failure: Failure | None = None,
    ) -> Request:
        """The same request after one legal move.

        Raises
        ------
        IllegalMove
            If `MOVES` does not allow it.
        """
        if state not in MOVES[self.state]:
            allowed = ", ".join(sorted(MOVES[self.state])) or "none: it is final"
            raise IllegalMove(f"request {self.id} cannot go from {self.state} to {state}; allowed: {allowed}")
        return replace(
            self,
            state=state,
            handle=None if state is _S.PLANNED else (handle or self.handle),
            failure=failure,
            submitted_at={_S.SUBMITTING: at, _S.PLANNED: None}.get(state, self.submitted_at),
            settled_at=at if not MOVES[state] else None,
        )
