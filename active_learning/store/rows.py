"""Between table rows and domain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from active_learning.domain.approval import Approval, ApprovalState, Ending
from active_learning.domain.campaign import Event, RoundRecord, Verdict
from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure, FailureKind, Label, Retraction
from active_learning.domain.request import Arm, Purpose, Request, RequestState

__all__ = [
    "approval_of",
    "ending_of",
    "event_of",
    "label_of",
    "label_row",
    "request_of",
    "request_row",
    "retraction_of",
    "round_of",
    "round_row",
    "verdict_of",
]


def request_row(request: Request) -> dict[str, Any]:
    """The columns of a request, without campaign and ordinal."""
    row = asdict(request)
    failure = request.failure
    row.pop("failure")
    return row | {
        "id": request.id,
        "failure_kind": failure.kind.value if failure else None,
        "failure_detail": failure.detail if failure else None,
        "state": request.state.value,
        "purpose": request.purpose.value,
        "arm": request.arm.value,
        "backend": request.backend.value if request.backend else None,
    }


def request_of(row: Any) -> Request:
    """The request in a row."""
    failure = None if row.failure_kind is None else Failure(FailureKind(row.failure_kind), row.failure_detail or "")
    return Request(
        candidate_id=row.candidate_id,
        formula=row.formula,
        attempt=row.attempt,
        round=row.round,
        state=RequestState(row.state),
        job_name=row.job_name,
        purpose=Purpose(row.purpose),
        arm=Arm(row.arm),
        rule=row.rule,
        novelty=row.novelty,
        handle=row.handle,
        failure=failure,
        reason=row.reason,
        score=row.score,
        mean=row.mean,
        std=row.std,
        cores=row.cores,
        asked_s=row.asked_s,
        queued_s=row.queued_s,
        ran_s=row.ran_s,
        cancel_asked_at=row.cancel_asked_at,
        backend=None if row.backend is None else JobPhase(row.backend),
        backend_since=row.backend_since,
        backend_detail=row.backend_detail,
        planned_at=row.planned_at,
        submitted_at=row.submitted_at,
        settled_at=row.settled_at,
    )


def label_row(label: Label) -> dict[str, Any]:
    """The columns of a label, without campaign and ordinal."""
    return asdict(label) | {"provenance": dict(label.provenance)}


def label_of(row: Any) -> Label:
    """The label in a row."""
    return Label(
        candidate_id=row.candidate_id,
        property=row.property,
        value=row.value,
        unit=row.unit,
        time=row.time,
        fidelity=row.fidelity,
        std=row.std,
        request_id=row.request_id,
        provenance=row.provenance,
    )


def retraction_of(row: Any) -> Retraction:
    """The retraction in a row."""
    return Retraction(**{field.name: getattr(row, field.name) for field in fields(Retraction)})


def approval_of(row: Any) -> Approval:
    """The approval in a row."""
    return Approval(
        round=row.round,
        state=ApprovalState(row.state),
        asked_at=row.asked_at,
        decided_at=row.decided_at,
        by=row.by,
        note=row.note,
        dropped=tuple(row.dropped),
    )


def ending_of(told: Mapping[str, Any] | None) -> Ending | None:
    """The wish that the campaign ends, if there is one."""
    return None if told is None else Ending(**{**told, "asked_at": datetime.fromisoformat(told["asked_at"])})


def round_row(record: RoundRecord) -> dict[str, Any]:
    """The columns of a round, without campaign."""
    return asdict(record) | {"out_of_fold": {key: list(pair) for key, pair in record.out_of_fold.items()}}


def round_of(row: Any) -> RoundRecord:
    """The round in a row."""
    return RoundRecord(
        number=row.number,
        opened_at=row.opened_at,
        n_labels=row.n_labels,
        n_picks=row.n_picks,
        metrics=row.metrics,
        out_of_fold={key: (pair[0], pair[1]) for key, pair in row.out_of_fold.items()},
        max_std=row.max_std,
        predictions=row.predictions,
        importances=row.importances,
        preparation=row.preparation,
        calibration=row.calibration,
        test_metrics=row.test_metrics,
        forecast=row.forecast,
        settings=row.settings,
        classes=tuple(row.classes),
    )


def event_of(row: Any) -> Event:
    """The event in a row."""
    return Event(row.number, row.time, row.kind, row.data)


def verdict_of(value: Any) -> Verdict | None:
    """The verdict in a JSON column."""
    return None if value is None else Verdict(value["kind"], value["reason"], value["evidence"])
