"""The closed union of things a campaign can do next. The CLI, the tests and the Prefect flows interpret the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from active_learning.domain.campaign import Verdict

__all__ = [
    "Action",
    "ApproveOverdue",
    "BuildPool",
    "CancelJobs",
    "CancelPlanned",
    "Collect",
    "Conclude",
    "Fail",
    "Featurize",
    "Finished",
    "OpenRound",
    "PauseOverdue",
    "PlanReferences",
    "Reconcile",
    "Retrain",
    "Retry",
    "Submit",
    "Wait",
]


@dataclass(frozen=True)
class BuildPool:
    """Read the pool once and store it."""


@dataclass(frozen=True)
class Featurize:
    """Compute every candidate's descriptors."""


@dataclass(frozen=True)
class PlanReferences:
    """Plan the elements whose energies the labeler measures against."""


@dataclass(frozen=True)
class Reconcile:
    """Requests in doubt: look for their jobs by name; adopt what is found, plan again what is not."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class Submit:
    """Promise, launch, and note the handle, one request after another."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class Collect:
    """Read the job directories of requests in flight; turn what ended into labels or failures."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class Retry:
    """Plan a new attempt for requests that failed or were lost."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class OpenRound:
    """Train, score, choose up to `size` candidates and plan them. Round 0 is the first design: no model."""

    number: int
    size: int


@dataclass(frozen=True)
class Retrain:
    """Train again, and choose nothing: labels that the newest model was trained on were taken back."""

    number: int


@dataclass(frozen=True)
class CancelPlanned:
    """Withdraw requests that were never submitted: the campaign is to stop, or nobody needs their labels any more."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class CancelJobs:
    """End the jobs of requests that run: a person wants the campaign to end, and them with it."""

    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class ApproveOverdue:
    """Nobody answered for a round in time, and the campaign file says that it is approved then."""

    number: int


@dataclass(frozen=True)
class PauseOverdue:
    """Nobody answered for a round in time, and the campaign file says that the campaign pauses then."""

    number: int


@dataclass(frozen=True)
class Conclude:
    """Train on everything for the last time and stop, with the reason."""

    verdict: Verdict


@dataclass(frozen=True)
class Fail:
    """The campaign cannot go on."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do before `until`: calculations are in flight, or a person has to approve rounds (`awaited`)."""

    until: datetime
    n_in_flight: int
    awaited: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finished:
    """Nothing to do any more, or (paused) nothing until somebody resumes."""


Action = (
    BuildPool
    | Featurize
    | PlanReferences
    | Reconcile
    | Submit
    | Collect
    | Retry
    | OpenRound
    | Retrain
    | CancelPlanned
    | CancelJobs
    | ApproveOverdue
    | PauseOverdue
    | Conclude
    | Fail
    | Wait
    | Finished
)
