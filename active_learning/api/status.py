"""Where a campaign stands. Reads the store only and imports nothing heavy, so that asking costs nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from active_learning.config import read_header
from active_learning.domain.approval import ApprovalState
from active_learning.domain.campaign import Phase, RoundRecord, Settings
from active_learning.domain.label import FailureKind, Label
from active_learning.domain.request import Arm, Purpose, Request, RequestState
from active_learning.domain.target import Goal, Target
from active_learning.engine.answering import rounds_of, standing
from active_learning.engine.deciding import is_given_up
from active_learning.engine.observing import target_labels
from active_learning.engine.spending import cost_of, surprises
from active_learning.errors import UserError
from active_learning.learning.control import Drawn, acceleration, control_error
from active_learning.learning.forecast import forecast_sentence
from active_learning.store import CampaignStore, Facts

__all__ = ["database_url", "open_store", "read_status", "status_of", "target_of"]


def database_url(workdir: Path, store: str) -> str:
    """The SQLAlchemy address of a campaign's store."""
    return f"sqlite:///{workdir / 'campaign.db'}" if store == "sqlite" else store


def open_store(path: Path) -> CampaignStore:
    """The store of a campaign that exists.

    Raises
    ------
    UserError
        If it was never started.
    """
    name, workdir, store = read_header(path)
    if store == "sqlite" and not (workdir / "campaign.db").is_file():
        raise UserError(f"Campaign '{name}' has not started: there is no {workdir}. Start it: motherlode run {path}")
    return CampaignStore(database_url(workdir, store), name)


def target_of(facts: Facts) -> Target:
    """The target that the stored spec names, in the unit of the labels."""
    table = facts.spec["target"]
    units = [label.unit for label in facts.labels if label.property == table["property"]]
    unit = units[0] if units else table.get("unit") or ""
    return Target(table["property"], Goal(table["goal"]), unit, table.get("low"), table.get("high"))


def _settings(facts: Facts) -> Settings:
    rounds, requests = facts.spec["rounds"], facts.spec["requests"]
    return Settings(
        rounds["initial"],
        rounds["batch_size"],
        rounds["max_in_flight"],
        requests["retries"],
        requests["lost_retries"],
        requests["poll"],
        {FailureKind(k): r["retries"] for k, r in requests.get("on", {}).items() if r["retries"] is not None},
    )


def _best(facts: Facts, target: Target) -> Label | None:
    labels = target_labels(facts, target)
    if not labels or not target.goal.has_best:
        return None
    return max(labels, key=lambda label: float(target.merit(label.value)))  # type: ignore[arg-type]


def control_of(facts: Facts, target: Target) -> dict[str, Any]:
    """What the candidates drawn at random say: an error without bias, and how much faster than chance the campaign is.

    Empty without labels of the control.
    """
    labels = target_labels(facts, target)
    values = {label.candidate_id: label.value for label in labels}
    asked = [r for r in standing(facts.requests, labels) if r.candidate_id in values]
    control = [(r, values[r.candidate_id]) for r in asked if r.arm is Arm.CONTROL]
    if not control:
        return {}
    y = np.array([value for _, value in control])
    found: dict[str, Any] = {"n_labels": len(y)}
    if target.goal is not Goal.CLASSIFY:
        mean = np.array([np.nan if r.mean is None else r.mean for r, _ in control])
        error = control_error(y, mean)
        found["error"] = None if error is None else error.to_json()
    if target.goal.has_best:
        chosen = np.array([values[r.candidate_id] for r in asked if r.arm is Arm.CHOSEN], dtype=np.float64)
        drawn = _drawn(facts, target, labels, [r for r, _ in control])
        factor = acceleration(target.merit(y), target.merit(chosen), drawn)
        found["acceleration"] = None if factor is None else factor.to_json()
    return found


def _drawn(facts: Facts, target: Target, labels: tuple[Label, ...], control: list[Request]) -> Drawn:
    """What the control was drawn from: of each round, the pool without what was asked for, or told, before it."""
    assert facts.features is not None  # who asked for a control had features
    rounds = rounds_of(facts.requests, facts.rounds, labels)
    mine = {request.candidate_id for request in control}
    others = sorted((rounds[x.candidate_id], x.value) for x in labels if x.candidate_id not in mine)
    return Drawn(
        n_candidates=int(facts.features["n_candidates"]),
        taken=target.merit(np.array([value for _, value in others])),
        n_before=np.searchsorted([number for number, _ in others], [request.round for request in control]),
    )


def _forecast(facts: Facts, target: Target, model: RoundRecord | None) -> str | None:
    """What the model's choices of the newest round are worth, while they are on their way."""
    if model is None or facts.phase is not Phase.ACTIVE:
        return None
    n_chosen = sum(r.round == model.number and r.arm is Arm.CHOSEN and r.attempt == 1 for r in facts.requests)
    return forecast_sentence(model.forecast, target, n_chosen) if n_chosen else None


def _awaiting(facts: Facts) -> list[dict[str, Any]]:
    """Rounds that wait for a person, the oldest first."""
    if not facts.spec.get("approval", {}).get("required"):
        return []
    planned = [r for r in facts.requests if r.state is RequestState.PLANNED and r.purpose is Purpose.CANDIDATE]
    return [
        {
            "round": approval.round,
            "since": approval.asked_at.isoformat(),
            "n_candidates": sum(r.round == approval.round for r in planned),
        }
        for approval in facts.approvals
        if approval.state is ApprovalState.ASKED
    ]


def _ending(facts: Facts) -> dict[str, Any] | None:
    """Who wanted the campaign to end, if anybody did."""
    return None if facts.ending is None else asdict(facts.ending) | {"asked_at": facts.ending.asked_at.isoformat()}


def status_of(facts: Facts, holder: str | None) -> dict[str, Any]:
    """The stable JSON object of `motherlode status --json`; `holder` is the process that works on it now."""
    target = target_of(facts)
    best = _best(facts, target)
    formulas = {request.candidate_id: request.formula for request in facts.requests}
    candidates = [request for request in facts.requests if request.purpose is Purpose.CANDIDATE]
    states = Counter(request.state for request in facts.requests)
    labeled = {label.candidate_id for label in target_labels(facts, target)}
    settings = _settings(facts)
    counted = facts.features or facts.pool or {}
    model = next((record for record in reversed(facts.rounds) if record.predictions), None)
    in_flight = [r for r in facts.requests if r.state in (RequestState.RUNNING, RequestState.SUBMITTING)]
    return {
        "name": facts.name,
        "phase": facts.phase.value,
        "round": facts.rounds[-1].number if facts.rounds else None,
        "n_candidates": counted.get("n_candidates"),
        "n_labels": len(labeled),
        "n_failed": len(is_given_up(tuple(candidates), settings) - labeled),
        "n_in_flight": len(in_flight),
        "n_planned": states[RequestState.PLANNED],
        "n_requests": len(facts.requests),
        "in_flight": [_in_flight(request) for request in in_flight],
        "awaiting_approval": _awaiting(facts),
        "ending": _ending(facts),
        "n_retracted": len({taken.candidate_id for taken in facts.retractions}),
        "cost": cost_of(facts.requests).to_json(),
        "outliers": _outliers(facts, target),
        "best": None
        if best is None
        else {
            "candidate": best.candidate_id,
            "formula": formulas.get(best.candidate_id) or best.provenance.get("formula"),
            "value": best.value,
            "unit": best.unit,
        },
        "target": {"property": target.property, "goal": target.goal.value, "unit": target.unit},
        "stop_reason": None if facts.verdict is None else facts.verdict.reason,
        "stop_rule": None if facts.verdict is None else facts.verdict.kind,
        "metrics": dict(model.metrics) if model else {},
        "test_metrics": dict(model.test_metrics) if model else {},
        "calibration": dict(model.calibration) if model and model.calibration else {},
        "forecast": dict(model.forecast) if model else {},
        "forecast_sentence": _forecast(facts, target, model),
        "control": control_of(facts, target),
        "working": holder,
    }


def _in_flight(request: Request) -> dict[str, Any]:
    """A request and the backend's last word on its job; `unknown` says that it does not answer."""
    return {
        "request": request.id,
        "formula": request.formula,
        "state": request.state.value,
        "round": request.round,
        "backend": request.backend.value if request.backend else None,
        "backend_since": request.backend_since.isoformat() if request.backend_since else None,
        "backend_detail": request.backend_detail,
    }


def _outliers(facts: Facts, target: Target) -> list[dict[str, Any]]:
    """Labels far from what was predicted of them; a class is no number."""
    if target.goal is Goal.CLASSIFY:
        return []
    return [
        {
            "candidate": found.label.candidate_id,
            "formula": found.request.formula,
            "value": found.label.value,
            "predicted": found.request.mean,
            "std": found.request.std,
        }
        for found in surprises(facts.requests, target_labels(facts, target))
    ]


def read_status(path: Path, now: Any) -> dict[str, Any]:
    """The status of the campaign of a file."""
    store = open_store(path)
    try:
        holder = store.holder(now)
        return status_of(store.read(), None if holder is None else str(holder))
    finally:
        store.close()
