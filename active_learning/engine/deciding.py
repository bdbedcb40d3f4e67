"""What a campaign does next. A pure function: no clock, no disk, no randomness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from active_learning.domain import actions as do
from active_learning.domain.approval import Overdue
from active_learning.domain.campaign import CampaignSnapshot, Phase, Progress, Settings
from active_learning.domain.label import FailureKind
from active_learning.domain.request import Purpose, Request, RequestState

__all__ = ["MIN_LABELS", "is_given_up", "needs_design", "newest_attempts", "next_action", "owed_retries"]

MIN_LABELS = 2
"""Fewer labels than this train no model."""

_S = RequestState


def newest_attempts(requests: tuple[Request, ...]) -> Mapping[str, Request]:
    """Candidate id -> its newest request."""
    newest: dict[str, Request] = {}
    for request in requests:
        if request.candidate_id not in newest or request.attempt > newest[request.candidate_id].attempt:
            newest[request.candidate_id] = request
    return newest


_Count = tuple[str, RequestState, FailureKind | None]


def _counted(request: Request, settings: Settings) -> _Count:
    """Which count of attempts a request uses up: its candidate's, of requests lost, of failures of a kind that has
    retries of its own, or of all other failures."""
    kind = request.failure.kind if request.state is _S.FAILED and request.failure is not None else None
    return request.candidate_id, request.state, kind if kind in _retries_after(settings) else None


_AS_IT_IS = MappingProxyType({FailureKind.REJECTED: 0, FailureKind.CANCELLED: 0})
"""What was rejected would be rejected again; and who cancelled a job does not want it."""


def _retries_after(settings: Settings) -> Mapping[FailureKind, int]:
    return {**_AS_IT_IS, **settings.retries_after}


def _attempts(requests: tuple[Request, ...], settings: Settings) -> Counter[_Count]:
    return Counter(_counted(r, settings) for r in requests)


def _may_retry(request: Request, ended: Counter[_Count], settings: Settings) -> bool:
    """Failures use up the retries of their kind; a job that died with its machine says nothing of its candidate, so it
    has its own count."""
    count = _counted(request, settings)
    if request.state is _S.LOST:
        return ended[count] <= settings.lost_retries
    if request.state is _S.FAILED:
        kind = count[2]
        return ended[count] <= (settings.retries if kind is None else _retries_after(settings)[kind])
    return False


def is_given_up(requests: tuple[Request, ...], settings: Settings) -> frozenset[str]:
    """Candidates that failed for the last time."""
    ended = _attempts(requests, settings)
    return frozenset(
        candidate
        for candidate, request in newest_attempts(requests).items()
        if request.state in (_S.FAILED, _S.LOST) and not _may_retry(request, ended, settings)
    )


def owed_retries(requests: tuple[Request, ...], settings: Settings, labeled: frozenset[str]) -> tuple[Request, ...]:
    """Newest requests that failed or were lost, may be tried again, and whose label nobody else brought."""
    ended = _attempts(requests, settings)
    newest = newest_attempts(requests).values()
    return tuple(r for r in newest if r.candidate_id not in labeled and _may_retry(r, ended, settings))


def next_action(snapshot: CampaignSnapshot) -> do.Action:
    """The next action of a campaign.

    Laws: the same snapshot gives the same action; an action that is carried out changes the snapshot, so that the
    loop ends in `Wait` or `Finished`; nothing is submitted while a request is in doubt.
    """
    if snapshot.phase in (Phase.STOPPED, Phase.FAILED):
        return do.Finished()
    goes_on = snapshot.phase is Phase.ACTIVE and snapshot.ending is None
    if goes_on and not snapshot.has_pool:
        return do.BuildPool()
    if goes_on and not snapshot.has_features:
        return do.Featurize()
    return _settle(snapshot) or _spend(snapshot) or _wait(snapshot)


def _is_due(snapshot: CampaignSnapshot) -> bool:
    poll = timedelta(seconds=snapshot.settings.poll_s)
    return snapshot.polled_at is None or snapshot.now - snapshot.polled_at >= poll


def _ids(snapshot: CampaignSnapshot, state: RequestState) -> tuple[str, ...]:
    return tuple(r.id for r in snapshot.requests if r.state is state)


def _settle(snapshot: CampaignSnapshot) -> do.Action | None:
    """First what is owed to requests that exist."""
    if in_doubt := _ids(snapshot, _S.SUBMITTING):
        return do.Reconcile(in_doubt) if _is_due(snapshot) else None
    running = _ids(snapshot, _S.RUNNING)
    return do.Collect(running) if running and _is_due(snapshot) else None


def _spend(snapshot: CampaignSnapshot) -> do.Action | None:
    """Then whatever costs something: only while ACTIVE, and never while a request is in doubt."""
    if snapshot.phase is not Phase.ACTIVE or _ids(snapshot, _S.SUBMITTING):
        return None
    if snapshot.verdict is not None:
        return _end(snapshot, do.Conclude(snapshot.verdict))
    if (failed := _failed_reference(snapshot)) is not None:
        return _end(snapshot, failed)
    if snapshot.needs_references:
        return do.PlanReferences()
    return (
        _withdraw(snapshot)
        or _overdue(snapshot)
        or _retry(snapshot)
        or _submit(snapshot)
        or _too_few_labels(snapshot)
        or _open_round(snapshot)
        or _retrain(snapshot)
        or _stuck(snapshot)
    )


def _end(snapshot: CampaignSnapshot, end: do.Conclude | do.Fail) -> do.Action | None:
    """Withdraw what is planned, wait for what runs (it is paid for), then end.

    What runs is not waited for if a person said so, where the submitter can end it.
    """
    if planned := _ids(snapshot, _S.PLANNED):
        return do.CancelPlanned(planned)
    if snapshot.ending is not None and snapshot.ending.jobs and snapshot.can_cancel:
        running = [r for r in snapshot.requests if r.state is _S.RUNNING and r.cancel_asked_at is None]
        if running:
            return do.CancelJobs(tuple(r.id for r in running))
    return None if _ids(snapshot, _S.RUNNING) else end


def _withdraw(snapshot: CampaignSnapshot) -> do.CancelPlanned | None:
    """Planned requests whose label a person brought, and those that a budget has no room for any more."""
    planned = [r for r in snapshot.requests if r.state is _S.PLANNED and r.purpose is Purpose.CANDIDATE]
    labeled = [r for r in planned if r.candidate_id in snapshot.labeled]
    wanted = [r for r in planned if r.candidate_id not in snapshot.labeled]
    surplus = [] if snapshot.launches is None else wanted[snapshot.launches :]
    return do.CancelPlanned(tuple(r.id for r in labeled + surplus)) if labeled or surplus else None


def _overdue(snapshot: CampaignSnapshot) -> do.Action | None:
    """What becomes of a round that a person should have approved by now."""
    settings = snapshot.settings
    if settings.approval_timeout_s is None:
        return None
    patience = timedelta(seconds=settings.approval_timeout_s)
    late = sorted(number for number, since in snapshot.awaited.items() if snapshot.now - since >= patience)
    if not late:
        return None
    match settings.overdue:
        case Overdue.APPROVE:
            return do.ApproveOverdue(late[0])
        case Overdue.PAUSE:
            return do.PauseOverdue(late[0])
        case Overdue.WAIT:
            return None


def _retry(snapshot: CampaignSnapshot) -> do.Retry | None:
    """References always; candidates as far as the budget goes, since a told label may have taken their place."""
    owed = owed_retries(snapshot.requests, snapshot.settings, snapshot.labeled)
    references = [r.id for r in owed if r.purpose is Purpose.REFERENCE]
    candidates = [r.id for r in owed if r.purpose is Purpose.CANDIDATE][: snapshot.budget]
    return do.Retry((*references, *candidates)) if references or candidates else None


def _submit(snapshot: CampaignSnapshot) -> do.Submit | None:
    planned = [r for r in snapshot.requests if r.state is _S.PLANNED and not _is_awaited(r, snapshot)]
    if _is_waiting_for_references(snapshot):
        planned = [r for r in planned if r.purpose is Purpose.REFERENCE]
    free = snapshot.settings.max_in_flight - len(_ids(snapshot, _S.RUNNING))
    return do.Submit(tuple(r.id for r in planned[:free])) if planned and free > 0 else None


def _is_awaited(request: Request, snapshot: CampaignSnapshot) -> bool:
    """Whether it waits for a person; references do not, since no round can be judged without them."""
    return request.round in snapshot.awaited and request.purpose is Purpose.CANDIDATE


def _is_waiting_for_references(snapshot: CampaignSnapshot) -> bool:
    return any(r.is_open and r.purpose is Purpose.REFERENCE for r in snapshot.requests)


def needs_design(n_rounds: int, n_labels: int, settings: Settings) -> bool:
    """Whether the next round is the first design: there is none yet, and too few labels to do without."""
    return n_rounds == 0 and n_labels < max(settings.initial, MIN_LABELS)


def _n_training(progress: Progress) -> int:
    return progress.n_labels if progress.n_training is None else progress.n_training


def _open_round(snapshot: CampaignSnapshot) -> do.OpenRound | None:
    progress, settings = snapshot.progress, snapshot.settings
    assert progress is not None
    if _is_waiting_for_references(snapshot):
        return None
    number = snapshot.n_rounds
    is_design = needs_design(number, progress.n_labels, settings)
    # Labels that came before the first round (the pool's, or told ones) count towards the first design.
    size = max(1, settings.initial - progress.n_labels) if is_design else settings.batch_size
    in_flight = sum(r.is_open for r in snapshot.requests)
    if not is_design and (in_flight + size > settings.max_in_flight or _n_training(progress) < MIN_LABELS):
        return None
    size = min(size, progress.n_available, size if snapshot.budget is None else snapshot.budget)
    return do.OpenRound(number, size) if size > 0 else None


def _retrain(snapshot: CampaignSnapshot) -> do.Retrain | None:
    """Where no new round forgets what was taken back, since the newest one is still in flight."""
    assert snapshot.progress is not None
    enough = _n_training(snapshot.progress) >= MIN_LABELS
    return do.Retrain(snapshot.n_rounds) if snapshot.is_model_stale and enough else None


def _failed_reference(snapshot: CampaignSnapshot) -> do.Fail | None:
    newest = newest_attempts(snapshot.requests)
    for candidate in sorted(is_given_up(snapshot.requests, snapshot.settings)):
        request = newest[candidate]
        if request.purpose is Purpose.REFERENCE:
            return do.Fail(
                f"The reference calculation of {request.formula} failed: {_why(request)}"
                f" Without it no formation energy can be had: {_way_out(request)}."
            )
    return None


def _too_few_labels(snapshot: CampaignSnapshot) -> do.Fail | None:
    """The first design is over, nothing can be tried again, and there is no model to choose the next with."""
    assert snapshot.progress is not None
    n_labels = _n_training(snapshot.progress)
    if snapshot.n_rounds == 0 or n_labels >= MIN_LABELS or any(r.is_open for r in snapshot.requests):
        return None
    tried = [r for r in newest_attempts(snapshot.requests).values() if r.purpose is Purpose.CANDIDATE]
    failed = [r for r in tried if r.state in (_S.FAILED, _S.LOST)]
    kinds = Counter(r.failure.kind.value if r.failure else "lost" for r in failed)
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
    example = f" ({listed}). For example {failed[-1].formula}: {_why(failed[-1])}" if failed else "."
    return do.Fail(
        f"{n_labels} of the first {len(tried)} requests gave a label, and a model needs {MIN_LABELS}{example}"
    )


def _stuck(snapshot: CampaignSnapshot) -> do.Fail | None:
    """A rule may hold a budget back and never say stop; a campaign must not end without a word."""
    if any(r.is_open for r in snapshot.requests):
        return None
    return do.Fail(
        "No stopping rule says stop, and one of them allows no further request: its `remaining` is 0 while its"
        " `check` gives no verdict. Repair or remove that rule."
    )


def _why(request: Request) -> str:
    if request.failure is None:
        return "its job was lost again and again."
    return f"{request.failure.kind}: {request.failure.detail.rstrip('.')}."


def _way_out(reference: Request) -> str:
    kind = reference.failure and reference.failure.kind
    match kind:
        case FailureKind.OUT_OF_MEMORY:
            return "let jobs have more 'memory' in [requests]"
        case FailureKind.TIMEOUT:
            return "let jobs have more time, by 'timeout' in [requests]"
        case _:
            return "leave the element out, or repair the calculation"


def _wait(snapshot: CampaignSnapshot) -> do.Action:
    in_flight = [r for r in snapshot.requests if r.state in (_S.RUNNING, _S.SUBMITTING)]
    poll = timedelta(seconds=snapshot.settings.poll_s)
    awaited = tuple(sorted(snapshot.awaited)) if snapshot.phase is Phase.ACTIVE else ()
    if in_flight:
        return do.Wait((snapshot.polled_at or snapshot.now) + poll, len(in_flight), awaited)
    return do.Wait(snapshot.now + poll, 0, awaited) if awaited else do.Finished()
