"""The rows of a report's tables, as text and numbers. Light: no matplotlib."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import RoundRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Request, RequestState
from active_learning.reporting.best import prediction_z
from active_learning.reporting.links import candidate_requests, failed_attempts, given_up, label_of_request
from active_learning.reporting.numbers import plain, with_error, z_text

__all__ = [
    "CostRow",
    "FailureGroup",
    "Pick",
    "RoundTable",
    "cost_rows",
    "failure_groups",
    "not_featurized_reasons",
    "picks_of_round",
    "round_metrics",
    "round_tables",
    "spec_text",
]

_MAPE_MOST = 1000

_OPEN_WORDS = {
    RequestState.PLANNED: "planned",
    RequestState.SUBMITTING: "being submitted",
    RequestState.RUNNING: "in flight",
    RequestState.CANCELLED: "cancelled",
    RequestState.LOST: "lost",
    RequestState.SUCCEEDED: "label retracted",
}
_PASSWORD = re.compile(r"(://[^/\s:@\"]*):[^@\s\"]+@")


@dataclass(frozen=True)
class Pick:
    """One request of a round, in words. `state` is ok, failed or open; `error` and `z` compare label and prediction."""

    candidate: str
    formula: str
    attempt: int
    reason: str
    score: str
    predicted: str
    outcome: str
    detail: str
    state: str
    error: str
    z: str


@dataclass(frozen=True)
class RoundTable:
    """A round with its metrics (name, value) and its picks."""

    round: RoundRecord
    metrics: tuple[tuple[str, str], ...]
    picks: tuple[Pick, ...]
    n_labels: int
    n_failed: int
    n_open: int


@dataclass(frozen=True)
class FailureGroup:
    """All failed attempts of one kind: rows of (request id, formula, round, detail, what became of the candidate)."""

    kind: str
    rows: tuple[tuple[str, str, int, str, str], ...]


@dataclass(frozen=True)
class CostRow:
    """What one round cost; times in seconds, None where nothing says.

    Parameters
    ----------
    n_jobs : requests that were submitted, failed attempts and references included
    compute_s, per_label_s : what the labelers measured inside the jobs: in all, and the median of a label
    turnaround_s : median from submission to settlement of a job that gave a label
    wall_s : from the round's first submission to its last settlement
    """

    round: int
    n_jobs: int
    n_labels: int
    compute_s: float | None
    per_label_s: float | None
    turnaround_s: float | None
    wall_s: float | None


def _pick(request: Request, label: Label | None, unit: str) -> Pick:
    state, detail = "open", ""
    if label is not None:
        outcome, state = with_error(label.value, label.std), "ok"
    elif request.failure is not None:
        outcome, state, detail = f"failed: {request.failure.kind}", "failed", request.failure.detail
    else:
        outcome = _OPEN_WORDS[request.state]
        state = "failed" if request.state is RequestState.LOST else "open"
    z = None if label is None else prediction_z(label, request)
    error = "" if label is None or request.mean is None else f"{plain(label.value - request.mean, 3)}"
    return Pick(
        candidate=request.candidate_id,
        formula=request.formula,
        attempt=request.attempt,
        reason=request.reason,
        score="" if request.score is None else plain(request.score),
        predicted="" if request.mean is None else with_error(request.mean, request.std),
        outcome=f"{outcome} {unit}".strip() if label is not None else outcome,
        detail=detail,
        state=state,
        error=error,
        z="" if z is None else z_text(z),
    )


def picks_of_round(record: CampaignRecord, number: int) -> tuple[Pick, ...]:
    """The requests of one round, references left out, in the order they were planned."""
    labels = label_of_request(record)
    rows = [request for request in candidate_requests(record) if request.round == number]
    return tuple(_pick(request, labels.get(request.id), record.target.unit) for request in rows)


def round_metrics(round_record: RoundRecord, unit: str) -> tuple[tuple[str, str], ...]:
    """The metrics of a round's model by the names people use, those first that everybody asks for."""
    suffix = f" {unit}" if unit else ""
    known = {
        "mae": ("out-of-fold MAE", suffix),
        "rmse": ("RMSE", suffix),
        "r2": ("R²", ""),
        "mean_z2": ("mean z²", ""),
        "miscalibration_area": ("miscalibration area", ""),
        "ence": ("ENCE", ""),
    }
    metrics = round_record.metrics
    rows = [(name, plain(metrics[key], 3) + unit_) for key, (name, unit_) in known.items() if key in metrics]
    if "mape" in metrics:
        # Relative errors mean little where labels lie near zero, as formation energies do; the number itself is stored.
        share = 100 * metrics["mape"]
        rows.append(("MAPE", f"{share:.3g} %" if share < _MAPE_MOST else f"over {_MAPE_MOST} % (labels near zero)"))
    rows += [(key, plain(metrics[key], 3)) for key in sorted(metrics) if key not in known and key != "mape"]
    if round_record.max_std is not None:
        rows.append(("largest std in the pool", plain(round_record.max_std, 3) + suffix))
    return tuple(rows)


def round_tables(record: CampaignRecord) -> tuple[RoundTable, ...]:
    """Every round with what it chose, why, and what came of it; newest first."""
    tables = []
    labels = label_of_request(record)
    by_round: dict[int, list[Pick]] = {}
    for request in candidate_requests(record):
        pick = _pick(request, labels.get(request.id), record.target.unit)
        by_round.setdefault(request.round, []).append(pick)
    for round_record in sorted(record.rounds, key=lambda r: -r.number):
        picks = tuple(by_round.get(round_record.number, ()))
        states = Counter(pick.state for pick in picks)
        metrics = round_metrics(round_record, record.target.unit)
        tables.append(RoundTable(round_record, metrics, picks, states["ok"], states["failed"], states["open"]))
    return tuple(tables)


def failure_groups(record: CampaignRecord) -> tuple[FailureGroup, ...]:
    """Failed attempts by kind, the most frequent kind first."""
    lost_hope = given_up(record)
    labeled = {label.candidate_id for label in record.target_labels}
    groups: dict[str, list[tuple[str, str, int, str, str]]] = {}
    for request in failed_attempts(record):
        kind = "lost" if request.failure is None else str(request.failure.kind)
        detail = "the job vanished from its backend" if request.failure is None else request.failure.detail
        fate = "labeled in another attempt" if request.candidate_id in labeled else "tried again"
        fate = "given up" if request.candidate_id in lost_hope else fate
        groups.setdefault(kind, []).append((request.id, request.formula, request.round, detail, fate))
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(FailureGroup(kind, tuple(rows)) for kind, rows in ordered)


def not_featurized_reasons(record: CampaignRecord) -> tuple[tuple[str, int, str], ...]:
    """(reason, how many, up to three candidate ids), the most frequent reason first."""
    counts = Counter(record.not_featurized.values())
    examples: dict[str, list[str]] = {}
    for candidate, reason in record.not_featurized.items():
        examples.setdefault(reason, []).append(candidate)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple((reason, n, ", ".join(examples[reason][:3]) + (" …" if n > 3 else "")) for reason, n in ordered)


def _seconds(label: Label) -> float | None:
    """How long the labeler says the calculation took; None if it does not say."""
    value = label.provenance.get("wall_s")
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number and value is not None else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _cost(number: int, requests: Sequence[Request], labels: dict[str, Label]) -> CostRow:
    submitted = [r for r in requests if r.submitted_at is not None]
    own = [labels[r.id] for r in requests if r.id in labels]
    seconds = [s for s in map(_seconds, own) if s is not None]
    spans = [(r.id, r.submitted_at, r.settled_at) for r in submitted]
    settled = [(i, a, b) for i, a, b in spans if a is not None and b is not None]
    wall = (max(b for _, _, b in settled) - min(a for _, a, _ in settled)).total_seconds() if settled else None
    return CostRow(
        round=number,
        n_jobs=len(submitted),
        n_labels=len(own),
        compute_s=math.fsum(seconds) if seconds else None,
        per_label_s=_median(seconds),
        turnaround_s=_median((b - a).total_seconds() for i, a, b in settled if i in labels),
        wall_s=wall,
    )


def cost_rows(record: CampaignRecord) -> tuple[tuple[CostRow, ...], CostRow]:
    """What each round cost, in the order of the rounds, and all of them together (its `round` is -1)."""
    labels = label_of_request(record)
    numbers = sorted({request.round for request in record.requests})
    rows = [_cost(n, [r for r in record.requests if r.round == n], labels) for n in numbers]
    return tuple(row for row in rows if row.n_jobs), _cost(-1, record.requests, labels)


def spec_text(record: CampaignRecord) -> str:
    """The campaign file as indented JSON, with the password of any address in it blotted out."""
    text = json.dumps(record.spec, indent=2, ensure_ascii=False, default=str)
    return _PASSWORD.sub(r"\1:***@", text)
