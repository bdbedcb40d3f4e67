"""A campaign at one moment, frozen: all that a decision may depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from active_learning.domain.approval import Ending, Overdue
from active_learning.domain.label import FailureKind
from active_learning.domain.request import Request
from active_learning.domain.target import Target

__all__ = ["CampaignSnapshot", "Event", "Phase", "Progress", "RoundRecord", "Settings", "Verdict"]


class Phase(StrEnum):
    """ACTIVE works; PAUSED only collects; STOPPED has its answer; FAILED cannot go on."""

    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """A reason to stop: the rule's `kind`, one sentence, and the numbers behind it (a JSON object)."""

    kind: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """One line of the campaign's history, written in the transaction that made it true."""

    number: int
    time: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class RoundRecord:
    """One round: trained once, chose a batch. The first design has no model; it is round 0, if there is one: with
    enough labels known beforehand there is not.

    The last round of a campaign that stopped chose nothing (`n_picks` = 0): it trained on all labels.

    Parameters
    ----------
    n_labels : labels it trained on
    metrics : cross-validated on those labels: mae, rmse (target's unit), r2, mean_z2, ...
    out_of_fold : candidate id -> (mean, std) predicted by a model that was not trained on that candidate
    max_std : the largest predicted std over the candidates that could be chosen, in the target's unit
    predictions : name of the stored array (n_candidates, 2 + n_classes): mean and std of each row of the features, and
        the probabilities of the classes, if there are any; None in a first design
    classes : of a classification, in the order of their probabilities; empty otherwise
    importances : feature name -> importance; empty if the surrogate knows none
    preparation : what was done to the descriptors before the model saw them, as `PreparationRecord.to_json` gives it
    calibration : how honest the std is and how it was corrected, as `CalibrationRecord.to_json` gives it; with
        `validation`, how the held-out predictions were made, and `applied`, whether the correction is in use
    test_metrics : like `metrics`, on the test set, which was not trained on; empty without one
    forecast : what the next round is worth, see `active_learning.learning.forecast`
    settings : the surrogate's options that a search has found, with the search itself; None if nothing was searched for
    """

    number: int
    opened_at: datetime
    n_labels: int
    n_picks: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    out_of_fold: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    max_std: float | None = None
    predictions: str | None = None
    importances: Mapping[str, float] = field(default_factory=dict)
    preparation: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    forecast: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None
    classes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Progress:
    """What a stopping rule may look at. All counts are of candidates.

    Parameters
    ----------
    n_training : labels that a model may be trained on: all but those of the test set
    n_available : neither labeled, nor requested, nor given up
    n_pending : with an open request
    best_by_round : the best label's value after each settled round, in the target's unit
        A round is settled when it and all rounds before it have no open request. Empty if the goal has no best.
    merit_by_round : the same as merit: higher is better
    max_std : the largest predicted std over the available candidates, by the newest model; None before the first
    errors : the mean absolute error of the model of each round that trained one, in the target's unit: on the test set
        where there is one, otherwise by cross-validation; of a classification the share of wrong classes
    forecasts : what each of these rounds expected of the next, see `active_learning.learning.forecast`
    values : every label of the target, in the order they came
    core_s : core-seconds that settled requests held: the seconds that each ran, times its cores
    elapsed_s : seconds since the campaign was created
    """

    target: Target
    n_candidates: int
    n_labels: int
    n_pending: int
    n_available: int
    n_rounds: int
    n_training: int | None = None
    best_by_round: tuple[float, ...] = ()
    merit_by_round: tuple[float, ...] = ()
    max_std: float | None = None
    errors: tuple[float, ...] = ()
    forecasts: tuple[Mapping[str, float], ...] = ()
    values: tuple[float, ...] = ()
    core_s: float = 0.0
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What decisions need of the engine's own tables of the campaign file.

    `retries_after` holds the kinds of failures that have a count of their own; all others share `retries`. A round that
    waits for a person longer than `approval_timeout_s` is treated as `overdue` says.
    """

    initial: int
    batch_size: int
    max_in_flight: int
    retries: int
    lost_retries: int
    poll_s: float
    retries_after: Mapping[FailureKind, int] = field(default_factory=dict)
    needs_approval: bool = False
    approval_timeout_s: float | None = None
    overdue: Overdue = Overdue.WAIT


@dataclass(frozen=True)
class CampaignSnapshot:
    """Everything `next_action` looks at.

    Parameters
    ----------
    requests : every request, in the order they were planned
    labeled : ids of the candidates that have a label of the target, by whomever
    verdict : what the stopping rules say of `progress`; None to go on
    budget : how many more candidates may be requested before a rule's budget is used up; None without a budget
    launches : how many planned candidates may be submitted before it is used up; fewer than there are if a person
        told labels, or lowered the budget, after they were planned; None without a budget
    polled_at : when this process last asked the submitter; None if it has not
    needs_references : the labeler measures against elements that are not planned, or were withdrawn
    is_model_stale : labels that the newest model may have been trained on were taken back
    awaited : rounds that wait for a person's approval -> since when; nothing of them is submitted
    ending : a person's wish that the campaign ends; then `verdict` says so
    can_cancel : the submitter can end jobs
    """

    version: int
    phase: Phase
    now: datetime
    settings: Settings
    has_pool: bool
    has_features: bool
    needs_references: bool
    is_model_stale: bool
    n_rounds: int
    requests: tuple[Request, ...]
    labeled: frozenset[str]
    progress: Progress | None
    verdict: Verdict | None
    budget: int | None
    launches: int | None
    polled_at: datetime | None
    awaited: Mapping[int, datetime] = field(default_factory=dict)
    ending: Ending | None = None
    can_cancel: bool = False
