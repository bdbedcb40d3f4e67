"""The log of choices: what each round asked for, why, what was believed of it and what came of it. Light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Arm, Request, RequestState
from active_learning.domain.target import Goal
from active_learning.reporting.best import prediction_z
from active_learning.reporting.classes import class_names, recovered_probabilities
from active_learning.reporting.links import answers, arm_of, candidate_requests, design_rounds, label_of_request
from active_learning.reporting.numbers import plain, with_error, z_text

__all__ = ["Log", "LogColumns", "Pick", "log_columns", "picks_by_round", "picks_of_round"]

_WORDS = {
    RequestState.PLANNED: "planned",
    RequestState.SUBMITTING: "being submitted",
    RequestState.RUNNING: "in flight",
    RequestState.CANCELLED: "cancelled",
    RequestState.LOST: "lost",
    RequestState.SUCCEEDED: "label retracted",
}
_STATES = {
    RequestState.CANCELLED: "withdrawn",
    RequestState.LOST: "failed",
    RequestState.SUCCEEDED: "withdrawn",
}
_ARMS = {Arm.DESIGN: "design", Arm.CHOSEN: "chosen", Arm.CONTROL: "control", Arm.TEST: "test set"}
_OUTSIDE = 1.0


@dataclass(frozen=True)
class Pick:
    """One request of a round, in words.

    `state` is ok, failed, withdrawn (cancelled, or its label was taken back) or open; `error` and `z` compare label and
    prediction, of a classification `error` says right or wrong. `is_outside` tells that the candidate lay outside of
    the model's domain of applicability.
    """

    candidate: str
    formula: str
    attempt: int
    reason: str
    arm: str
    rule: str
    novelty: str
    is_outside: bool
    score: str
    predicted: str
    outcome: str
    detail: str
    state: str
    error: str
    z: str


@dataclass(frozen=True)
class LogColumns:
    """What the campaign's log has to say: an arm if there are others than the model's, a rule, a novelty; whether its
    labels are classes."""

    arm: bool
    rule: bool
    novelty: bool
    classes: bool


def log_columns(record: CampaignRecord) -> LogColumns:
    """The columns that any of the campaign's requests fills; the same in all rounds, so that they compare."""
    requests = candidate_requests(record)
    return LogColumns(
        arm=any(request.arm in (Arm.CONTROL, Arm.TEST) for request in requests),
        rule=any(request.rule for request in requests),
        novelty=any(request.novelty is not None for request in requests),
        classes=record.target.goal is Goal.CLASSIFY,
    )


def _class_belief(request: Request, label: Label | None, classes: tuple[float, ...]) -> tuple[str, str] | None:
    """The class that was predicted with its probability, and whether it was right; None if mean and std do not say."""
    if request.mean is None or request.std is None:
        return None
    probabilities = recovered_probabilities(np.array([request.mean]), np.array([request.std]), classes)
    if probabilities is None:
        return None
    place = int(probabilities[0].argmax())
    predicted = f"{class_names(classes)[place]} ({100 * probabilities[0, place]:.0f} %)"
    return predicted, "" if label is None else "right" if label.value == classes[place] else "wrong"


def _belief(request: Request, label: Label | None, classes: tuple[float, ...] | None) -> tuple[str, str, str]:
    """What was predicted, how wrong it was, and z; `classes` is None if the target is a number."""
    predicted = "" if request.mean is None else with_error(request.mean, request.std)
    if classes is not None:
        known = _class_belief(request, label, classes)
        return (predicted, "", "") if known is None else (*known, "")
    z = None if label is None else prediction_z(label, request)
    error = "" if label is None or request.mean is None else plain(label.value - request.mean, 3)
    return predicted, error, "" if z is None else z_text(z)


def _outcome(request: Request, label: Label | None, own: Label | None, unit: str) -> tuple[str, str, str]:
    """What came of it, its state, and the detail of a failure."""
    if label is not None:
        told = "" if own is not None else " (told)"
        return f"{with_error(label.value, label.std)} {unit}".strip() + told, "ok", ""
    if request.failure is not None:
        return f"failed: {request.failure.kind}", "failed", request.failure.detail
    return _WORDS[request.state], _STATES.get(request.state, "open"), ""


class Log:
    """What the rows of a record's log have in common."""

    def __init__(self, record: CampaignRecord) -> None:
        self._own, self._answers = label_of_request(record), answers(record)
        self._designs, self._unit = design_rounds(record), record.target.unit
        self._classes = {r.number: r.classes for r in record.rounds}
        self._is_classes = record.target.goal is Goal.CLASSIFY

    def label_of(self, request: Request) -> Label | None:
        """The label that came of a request. A job that failed has failed, whatever a person told of its candidate
        later."""
        own = self._own.get(request.id)
        has_failed = request.failure is not None or request.state is RequestState.LOST
        return own if has_failed else self._answers.get(request.id, own)

    def pick(self, request: Request) -> Pick:
        """The request in words."""
        own, label = self._own.get(request.id), self.label_of(request)
        outcome, state, detail = _outcome(request, label, own, self._unit)
        classes = self._classes.get(request.round, ()) if self._is_classes else None
        predicted, error, z = _belief(request, label, classes)
        return Pick(
            candidate=request.candidate_id,
            formula=request.formula,
            attempt=request.attempt,
            reason=request.reason,
            arm=_ARMS[arm_of(request, self._designs)],
            rule=request.rule,
            novelty="" if request.novelty is None else plain(request.novelty, 2),
            is_outside=request.novelty is not None and request.novelty > _OUTSIDE,
            score="" if request.score is None else plain(request.score),
            predicted=predicted,
            outcome=outcome,
            detail=detail,
            state=state,
            error=error,
            z=z,
        )


def picks_by_round(record: CampaignRecord) -> dict[int, tuple[Pick, ...]]:
    """Round -> its requests, references left out, in the order they were planned."""
    log = Log(record)
    found: dict[int, list[Pick]] = {}
    for request in candidate_requests(record):
        found.setdefault(request.round, []).append(log.pick(request))
    return {number: tuple(picks) for number, picks in found.items()}


def picks_of_round(record: CampaignRecord, number: int) -> tuple[Pick, ...]:
    """The requests of one round, references left out, in the order they were planned."""
    log = Log(record)
    return tuple(log.pick(request) for request in candidate_requests(record) if request.round == number)
