"""From the store's facts to the frozen value that a decision is made on."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from active_learning.domain.approval import ApprovalState
from active_learning.domain.campaign import CampaignSnapshot, Progress, RoundRecord, Settings, Verdict
from active_learning.domain.label import Label
from active_learning.domain.protocols import BudgetRule, StoppingRule
from active_learning.domain.request import Arm, Purpose, RequestState
from active_learning.domain.target import Target
from active_learning.engine.answering import answered, rounds_of
from active_learning.engine.deciding import is_given_up, newest_attempts, owed_retries
from active_learning.store import Facts

__all__ = ["Rules", "is_stale", "observe", "progress_of", "target_labels", "unavailable", "with_fresh_model"]


@dataclass(frozen=True)
class Rules:
    """The stopping rules of a campaign: one of `any`, or all of `all`, end it."""

    any: tuple[StoppingRule, ...] = ()
    all: tuple[StoppingRule, ...] = ()

    def verdict(self, progress: Progress) -> Verdict | None:
        """The first reason to stop. A pool with nothing left always is one."""
        for rule in self.any:
            if (verdict := rule.check(progress)) is not None:
                return verdict
        together = [rule.check(progress) for rule in self.all]
        found = [verdict for verdict in together if verdict is not None]
        if found and len(found) == len(together):
            reason = "; ".join(verdict.reason for verdict in found)
            return Verdict("all", reason, {verdict.kind: dict(verdict.evidence) for verdict in found})
        if progress.n_available == 0 and progress.n_pending == 0:
            counts = {"n_labels": progress.n_labels, "n_candidates": progress.n_candidates}
            return Verdict("pool_exhausted", "every candidate of the pool was labeled or given up", counts)
        return None

    def budget(self, progress: Progress) -> int | None:
        """How many more candidates may be requested; None without a limit."""
        limits = [rule.remaining(progress) for rule in self.any if isinstance(rule, BudgetRule)]
        return min(limits) if limits else None


_IN_FLIGHT = (RequestState.SUBMITTING, RequestState.RUNNING)


def target_labels(facts: Facts, target: Target) -> tuple[Label, ...]:
    """Labels of the target property, the elements' references left out, in the order they came in."""
    references = {r.candidate_id for r in facts.requests if r.purpose is Purpose.REFERENCE}
    return tuple(x for x in facts.labels if x.property == target.property and x.candidate_id not in references)


def unavailable(facts: Facts, target: Target, settings: Settings) -> frozenset[str]:
    """Candidates that may not be chosen: labeled, requested, given up, taken back for good, or dropped by a
    person."""
    labeled = _labeled(facts, target)
    is_open = {request.candidate_id for request in facts.requests if request.is_open}
    dropped = {candidate for approval in facts.approvals for candidate in approval.dropped}
    return frozenset(labeled | is_open | is_given_up(facts.requests, settings) | _taken_back(facts) | dropped)


def _taken_back(facts: Facts) -> frozenset[str]:
    newest = {retraction.candidate_id: retraction.may_ask_again for retraction in facts.retractions}
    return frozenset(candidate for candidate, may_ask_again in newest.items() if not may_ask_again)


def is_stale(facts: Facts) -> bool:
    """Whether the newest model may have been trained on labels that were taken back since."""
    has_model = any(record.predictions for record in facts.rounds)
    return has_model and any(retraction.n_rounds == len(facts.rounds) for retraction in facts.retractions)


def _labeled(facts: Facts, target: Target) -> frozenset[str]:
    return frozenset(label.candidate_id for label in target_labels(facts, target))


def _best_by_round(
    facts: Facts, target: Target, settings: Settings, labels: Sequence[Label]
) -> tuple[list[float], list[float]]:
    """The best value, and its merit, after each settled round. A round that is owed a retry is not settled."""
    round_of = rounds_of(facts.requests, facts.rounds, labels)
    owed = owed_retries(facts.requests, settings, _labeled(facts, target))
    unsettled = {r.round for r in facts.requests if r.is_open and r.purpose is Purpose.CANDIDATE}
    unsettled |= {r.round for r in owed if r.purpose is Purpose.CANDIDATE}
    values = np.array([label.value for label in labels])
    rounds = np.array([round_of[label.candidate_id] for label in labels])
    best: list[float] = []
    merits: list[float] = []
    for record in (r for r in facts.rounds if r.n_picks):
        if record.number in unsettled or not (rounds <= record.number).any():
            break
        known = values[rounds <= record.number]
        merit = target.merit(known)
        best.append(float(known[np.argmax(merit)]))
        merits.append(float(merit.max()))
    return best, merits


def progress_of(
    facts: Facts, target: Target, settings: Settings, featurized: Container[str], *, now: datetime
) -> Progress:
    """What the stopping rules may look at.

    `featurized` are the candidates that have features: no other can be learned from, so none but these is counted.
    """
    assert facts.features is not None
    labels = [label for label in target_labels(facts, target) if label.candidate_id in featurized]
    pending = {r.candidate_id for r in facts.requests if r.is_open and r.purpose is Purpose.CANDIDATE}
    references = {r.candidate_id for r in facts.requests if r.purpose is Purpose.REFERENCE}
    blocked = [c for c in unavailable(facts, target, settings) - references if c in featurized]
    best, merits = _best_by_round(facts, target, settings, labels) if target.goal.has_best else ([], [])
    n_candidates = int(facts.features["n_candidates"])
    trained = [record for record in facts.rounds if record.predictions]
    return Progress(
        target=target,
        n_candidates=n_candidates,
        n_labels=len(labels),
        n_pending=len(pending),
        n_available=max(0, n_candidates - len(blocked)),
        n_rounds=len(facts.rounds),
        n_training=_n_training(facts, labels),
        best_by_round=tuple(best),
        merit_by_round=tuple(merits),
        max_std=facts.rounds[-1].max_std if facts.rounds else None,
        errors=tuple(e for e in map(_error_of, trained) if e is not None),
        forecasts=tuple(record.forecast for record in trained),
        values=tuple(label.value for label in labels),
        core_s=sum(request.core_s or 0.0 for request in facts.requests),
        elapsed_s=max(0.0, (now - facts.created_at).total_seconds()),
    )


def _n_training(facts: Facts, labels: Sequence[Label]) -> int:
    """Labels that were not asked for the test set. Of labels known before the first round it has a share, too: then
    this is a few too many, where it does not matter."""
    asked = answered(facts.requests, labels)
    return sum(x.candidate_id not in asked or asked[x.candidate_id].arm is not Arm.TEST for x in labels)


def _error_of(record: RoundRecord) -> float | None:
    """The error of a round's model: on the test set, or else by held-out labels."""
    metrics = record.test_metrics or record.metrics
    if "accuracy" in metrics:
        return 1.0 - metrics["accuracy"]
    return metrics.get("mae")


def observe(
    facts: Facts,
    target: Target,
    settings: Settings,
    rules: Rules,
    reference_ids: Sequence[str],
    *,
    featurized: Container[str],
    now: datetime,
    polled_at: datetime | None,
    can_cancel: bool = False,
) -> CampaignSnapshot:
    """The snapshot of a campaign.

    Parameters
    ----------
    reference_ids : the references its labeler measures against
    featurized : the candidates that have features
    """
    progress = verdict = budget = launches = None
    if facts.features is not None:
        progress = progress_of(facts, target, settings, featurized, now=now)
        verdict = rules.verdict(progress)
        budget = rules.budget(progress)
        in_flight = [r for r in facts.requests if r.state in _IN_FLIGHT and r.purpose is Purpose.CANDIDATE]
        launches = rules.budget(replace(progress, n_pending=len(in_flight)))
    if facts.ending is not None:
        verdict = Verdict("cancelled", facts.ending.reason, {"by": facts.ending.by, "jobs": facts.ending.jobs})
    newest = newest_attempts(facts.requests)
    planned = {candidate for candidate, r in newest.items() if r.state is not RequestState.CANCELLED}
    return CampaignSnapshot(
        version=facts.version,
        phase=facts.phase,
        now=now,
        settings=settings,
        has_pool=facts.pool is not None,
        has_features=facts.features is not None,
        needs_references=not planned.issuperset(reference_ids),
        is_model_stale=is_stale(facts),
        n_rounds=len(facts.rounds),
        requests=facts.requests,
        labeled=_labeled(facts, target),
        progress=progress,
        verdict=verdict,
        budget=budget,
        launches=launches,
        polled_at=polled_at,
        awaited=_awaited(facts, settings),
        ending=facts.ending,
        can_cancel=can_cancel,
    )


def _awaited(facts: Facts, settings: Settings) -> dict[int, datetime]:
    """Rounds that wait for a person, if the campaign file still says that they do."""
    if not settings.needs_approval:
        return {}
    return {a.round: a.asked_at for a in facts.approvals if a.state is ApprovalState.ASKED}


def with_fresh_model(progress: Progress, record: RoundRecord) -> Progress:
    """The same progress, seen with the model of a round that is about to be opened."""
    error = _error_of(record)
    return replace(
        progress,
        max_std=record.max_std,
        errors=progress.errors if error is None else (*progress.errors, error),
        forecasts=(*progress.forecasts, record.forecast),
    )
