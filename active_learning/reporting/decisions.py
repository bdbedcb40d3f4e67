"""The log of decisions: for each label why it was chosen, by which model, with which prediction, and how wrong it was.

Light: no matplotlib.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from active_learning.api.record import CampaignRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Request
from active_learning.reporting.best import is_told, prediction_z
from active_learning.reporting.data import Table
from active_learning.reporting.links import arm_of, candidate_requests, design_rounds, formulas_of_labels
from active_learning.reporting.numbers import with_error
from active_learning.reporting.picks import Log, Pick

__all__ = ["Decision", "decisions", "decisions_table"]


@dataclass(frozen=True)
class Decision:
    """A candidate that was asked for, or a label that nobody asked for.

    Parameters
    ----------
    model : which model chose it, in words; empty if none did
    time : of the label; None without one
    """

    pick: Pick
    model: str
    request: Request | None
    label: Label | None

    @property
    def round(self) -> int | None:
        """Which round asked for it."""
        return None if self.request is None else self.request.round

    @property
    def outcome(self) -> str:
        """The value without its unit, or what came of it instead."""
        label = self.label
        if label is None:
            return self.pick.outcome
        told = " (told)" if self.request is not None and label.request_id is None else ""
        return with_error(label.value, label.std) + told

    @property
    def time(self) -> datetime | None:
        """When the label came."""
        return None if self.label is None else self.label.time


def decisions(record: CampaignRecord) -> tuple[Decision, ...]:
    """Every request for a candidate in the order they were planned, before them the labels that nobody asked for."""
    log, models = Log(record), _models(record)
    found, answered = [], set()
    for request in candidate_requests(record):
        label = log.label_of(request)
        if label is not None:
            answered.add(label.candidate_id)
        found.append(Decision(log.pick(request), models.get(request.round, ""), request, label))
    pairs = zip(record.target_labels, formulas_of_labels(record), strict=True)
    unasked = [_unasked(label, formula) for label, formula in pairs if label.candidate_id not in answered]
    return (*unasked, *found)


def _models(record: CampaignRecord) -> dict[int, str]:
    """Of each round that had a model, which it was."""
    names = {}
    for r in record.rounds:
        if r.predictions is not None:
            names[r.number] = f"round {r.number}, {r.n_labels} label{'' if r.n_labels == 1 else 's'}"
    return names


def _unasked(label: Label, formula: str | None) -> Decision:
    arm, reason = ("told", "brought in by a person") if is_told(label) else ("known", "known before the campaign")
    pick = Pick(
        candidate=label.candidate_id,
        formula=formula or label.candidate_id,
        attempt=1,
        reason=reason,
        arm=arm,
        rule="",
        novelty="",
        is_outside=False,
        score="",
        predicted="",
        outcome=f"{with_error(label.value, label.std)} {label.unit}".strip(),
        detail="",
        state="ok",
        error="",
        z="",
    )
    return Decision(pick, "", None, label)


_COLUMNS = ("number", "round", "attempt", "candidate", "formula", "reason", "arm", "rule", "score", "model_round")
_MORE = ("predicted_mean", "predicted_std", "novelty", "state", "value", "std", "unit", "error", "z", "detail", "time")


def decisions_table(record: CampaignRecord) -> Table:
    """The log as numbers, for other programs; what is not known is None."""
    designs, trained = design_rounds(record), {r.number for r in record.rounds if r.predictions is not None}
    rows = []
    for number, decision in enumerate(decisions(record), start=1):
        pick, request, label = decision.pick, decision.request, decision.label
        mean = None if request is None else request.mean
        rows.append(
            (
                number,
                decision.round,
                None if request is None else request.attempt,
                pick.candidate,
                pick.formula,
                pick.reason,
                pick.arm if request is None else arm_of(request, designs).value,
                pick.rule or None,
                None if request is None else request.score,
                decision.round if decision.round in trained else None,
                mean,
                None if request is None else request.std,
                None if request is None else request.novelty,
                pick.state if request is None else request.state.value,
                None if label is None else label.value,
                None if label is None else label.std,
                None if label is None else label.unit,
                None if label is None or mean is None else label.value - mean,
                None if label is None or request is None else prediction_z(label, request),
                pick.detail or None,
                None if label is None else label.time.isoformat(),
            )
        )
    return Table((*_COLUMNS, *_MORE), tuple(rows))
