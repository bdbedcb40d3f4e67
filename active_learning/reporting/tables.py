"""The rows of a report's tables, as text and numbers. Light: no matplotlib."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import RoundRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Request
from active_learning.domain.secrets import without_secrets
from active_learning.domain.target import Goal
from active_learning.engine.answering import rounds_of
from active_learning.engine.spending import surprises
from active_learning.reporting.best import running_best
from active_learning.reporting.learned import forecast_text, round_metrics
from active_learning.reporting.links import failed_attempts, given_up, label_of_request
from active_learning.reporting.picks import Pick, picks_by_round

__all__ = [
    "MOST_LISTED",
    "CostRow",
    "FailureGroup",
    "OutlierRow",
    "RoundTable",
    "cost_rows",
    "failure_groups",
    "not_featurized_reasons",
    "outlier_rows",
    "round_tables",
    "spec_text",
]

MOST_LISTED = 1000
"""Picks that are listed round by round, the newest; all of them stand in the log of decisions."""


@dataclass(frozen=True)
class RoundTable:
    """A round with its metrics (name, value), what its batch was expected to be worth, and its picks.

    `is_listed` is whether its picks have a table of their own; those of older rounds stand in the log only.
    """

    round: RoundRecord
    metrics: tuple[tuple[str, str], ...]
    forecast: str
    picks: tuple[Pick, ...]
    n_labels: int
    n_failed: int
    n_withdrawn: int
    n_open: int
    is_listed: bool = True


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
    core_s, per_label_s : core time of all settled jobs (what each ran, times its cores), and the median of a label
    queued_s : what they waited, all together
    turnaround_s : median from submission to settlement of a job that gave a label
    wall_s : from the round's first submission to its last settlement
    best : the best value among the labels of this round and of those before it
    """

    round: int
    n_jobs: int
    n_labels: int
    core_s: float | None
    per_label_s: float | None
    queued_s: float | None
    turnaround_s: float | None
    wall_s: float | None
    best: float | None = None


def round_tables(record: CampaignRecord) -> tuple[RoundTable, ...]:
    """Every round with what it chose, why, and what came of it; newest first."""
    tables = []
    by_round, n_shown = picks_by_round(record), 0
    for found in sorted(record.rounds, key=lambda r: -r.number):
        picks = by_round.get(found.number, ())
        states = Counter(pick.state for pick in picks)
        metrics, forecast = round_metrics(found, record.target.unit), forecast_text(record, found)
        counts = (states["ok"], states["failed"], states["withdrawn"], states["open"])
        tables.append(RoundTable(found, metrics, forecast, picks, *counts, is_listed=n_shown < MOST_LISTED))
        n_shown += len(picks)
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


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _cost(number: int, requests: Sequence[Request], labels: dict[str, Label]) -> CostRow:
    submitted = [r for r in requests if r.submitted_at is not None]
    held = [r.core_s for r in submitted if r.core_s is not None]
    waited = [r.queued_s for r in submitted if r.queued_s is not None]
    spans = [(r.id, r.submitted_at, r.settled_at) for r in submitted]
    settled = [(i, a, b) for i, a, b in spans if a is not None and b is not None]
    wall = (max(b for _, _, b in settled) - min(a for _, a, _ in settled)).total_seconds() if settled else None
    return CostRow(
        round=number,
        n_jobs=len(submitted),
        n_labels=sum(r.id in labels for r in requests),
        core_s=math.fsum(held) if held else None,
        per_label_s=_median(r.core_s for r in submitted if r.id in labels),
        queued_s=math.fsum(waited) if waited else None,
        turnaround_s=_median((b - a).total_seconds() for i, a, b in settled if i in labels),
        wall_s=wall,
    )


@dataclass(frozen=True)
class OutlierRow:
    """A label far from what was predicted of it."""

    candidate: str
    formula: str
    value: float
    mean: float
    std: float


def outlier_rows(record: CampaignRecord) -> tuple[OutlierRow, ...]:
    """Labels of the target that a person should look at; a class is no number."""
    if record.target.goal is Goal.CLASSIFY:
        return ()
    return tuple(
        OutlierRow(
            found.label.candidate_id, found.request.formula, found.label.value, found.request.mean, found.request.std
        )
        for found in surprises(record.requests, record.target_labels)
        if found.request.mean is not None and found.request.std is not None
    )


def cost_rows(record: CampaignRecord) -> tuple[tuple[CostRow, ...], CostRow]:
    """What each round cost, in the order of the rounds, and all of them together (its `round` is -1)."""
    labels = label_of_request(record)
    numbers = sorted({request.round for request in record.requests})
    of_round: dict[int, list[Request]] = {n: [] for n in numbers}
    for request in record.requests:
        of_round[request.round].append(request)
    best = _best_after(record)
    rows = [replace(_cost(n, requests, labels), best=best(n)) for n, requests in of_round.items()]
    total = replace(_cost(-1, record.requests, labels), best=best(max(numbers, default=-1)))
    return tuple(row for row in rows if row.n_jobs), total


def _best_after(record: CampaignRecord) -> Callable[[int], float | None]:
    """The best value among the labels that were asked for up to a round, and those nobody asked for."""
    round_of = rounds_of(record.requests, record.rounds, record.target_labels)
    pairs = sorted((round_of[x.candidate_id], x.value) for x in record.target_labels)
    rounds, best_values = [number for number, _ in pairs], running_best(record.target, [value for _, value in pairs])

    def best(number: int) -> float | None:
        n = bisect_right(rounds, number)
        return best_values[n - 1] if n else None

    return best


def spec_text(record: CampaignRecord) -> str:
    """The campaign file as indented JSON, with passwords and keys in it blotted out."""
    return json.dumps(without_secrets(record.spec), indent=2, ensure_ascii=False, default=str)
