"""One Prefect task per action. Each finds the campaign, calls one step of the engine, and returns one line of text.

What a task does is noted in the campaign's store, so nothing is cached, and nothing is retried by Prefect: the
engine retries what is certain not to have happened, and the next decision takes care of the rest.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from active_learning.domain import actions as do
from active_learning.domain.request import RequestState
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform
from tasks.bench import attached

__all__ = ["step_of"]

_SHOW_S = 5.0

_OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False, "retries": 0}


@task(name="build pool", **_OPTIONS)
def build_pool(campaign: str) -> str:
    """Read the pool once and store it."""
    return perform(attached(campaign).bench, do.BuildPool())


@task(name="featurize", **_OPTIONS)
def featurize(campaign: str) -> str:
    """Compute every candidate's descriptors."""
    return perform(attached(campaign).bench, do.Featurize())


@task(name="plan references", **_OPTIONS)
def plan_references(campaign: str) -> str:
    """Plan the elements whose energies are measured against."""
    return perform(attached(campaign).bench, do.PlanReferences())


@task(name="reconcile", **_OPTIONS)
def reconcile(campaign: str, request_ids: tuple[str, ...]) -> str:
    """Look for the jobs of requests in doubt."""
    return perform(attached(campaign).bench, do.Reconcile(request_ids))


@task(name="submit", task_run_name="submit {n}", **_OPTIONS)
def submit(campaign: str, request_ids: tuple[str, ...], n: int) -> str:  # noqa: ARG001 - `n` names the run
    """Promise, launch, note."""
    return perform(attached(campaign).bench, do.Submit(request_ids))


@task(name="collect", **_OPTIONS)
def collect(campaign: str, request_ids: tuple[str, ...], wait: bool) -> str:
    """Turn what ended into labels and failures; if told to wait, until there is something else to do.

    One task run for many polls: a run each would bury the campaign in the UI. It ends now and then all the same, once
    something came in, so that the flow can show it.
    """
    here = attached(campaign)
    bench, wanted = here.bench, set(request_ids)
    show_at = bench.clock.now() + timedelta(seconds=_SHOW_S)
    while True:
        said = perform(bench, do.Collect(request_ids))
        snapshot = bench.snapshot()
        running = [r.id for r in snapshot.requests if r.id in wanted and r.state is RequestState.RUNNING]
        is_news = len(running) < len(wanted) and bench.clock.now() >= show_at
        is_idle = isinstance(next_action(snapshot), do.Wait | do.Collect)
        if not wait or not is_idle or is_news or here.over.is_set():
            return said if not wait else f"collected {len(wanted) - len(running)} of {len(wanted)}"
        bench.clock.sleep(bench.kit.settings.poll_s)


@task(name="retry", **_OPTIONS)
def retry(campaign: str, request_ids: tuple[str, ...]) -> str:
    """Plan a new attempt for what failed or was lost."""
    return perform(attached(campaign).bench, do.Retry(request_ids))


@task(name="open round", task_run_name="open round {number}", **_OPTIONS)
def open_round(campaign: str, number: int, size: int) -> str:
    """Train, score, choose, plan."""
    return perform(attached(campaign).bench, do.OpenRound(number, size))


@task(name="train again", task_run_name="train again {number}", **_OPTIONS)
def retrain(campaign: str, number: int) -> str:
    """Train without the labels that were taken back."""
    return perform(attached(campaign).bench, do.Retrain(number))


@task(name="withdraw planned", **_OPTIONS)
def cancel_planned(campaign: str, request_ids: tuple[str, ...]) -> str:
    """Withdraw requests that were never submitted."""
    return perform(attached(campaign).bench, do.CancelPlanned(request_ids))


@task(name="cancel jobs", task_run_name="cancel {n} jobs", **_OPTIONS)
def cancel_jobs(campaign: str, request_ids: tuple[str, ...], n: int) -> str:  # noqa: ARG001 - `n` names the run
    """End calculations that run, with the campaign."""
    return perform(attached(campaign).bench, do.CancelJobs(request_ids))


@task(name="nobody approved", task_run_name="nobody approved round {number}", **_OPTIONS)
def overdue(campaign: str, action: do.ApproveOverdue | do.PauseOverdue, number: int) -> str:  # noqa: ARG001 - names it
    """Do what the campaign file says of a round that nobody answered for in time."""
    return perform(attached(campaign).bench, action)


@task(name="conclude", **_OPTIONS)
def conclude(campaign: str, action: do.Conclude) -> str:
    """Train for the last time and stop."""
    return perform(attached(campaign).bench, action)


@task(name="fail", **_OPTIONS)
def fail(campaign: str, reason: str) -> str:
    """Note that the campaign cannot go on."""
    return perform(attached(campaign).bench, do.Fail(reason))


def step_of(campaign: str, action: do.Action, *, wait: bool) -> str:
    """Run the task of an action."""
    match action:
        case do.BuildPool():
            return build_pool(campaign)
        case do.Featurize():
            return featurize(campaign)
        case do.PlanReferences():
            return plan_references(campaign)
        case do.Reconcile(request_ids):
            return reconcile(campaign, request_ids)
        case do.Submit(request_ids):
            return submit(campaign, request_ids, len(request_ids))
        case do.Collect(request_ids):
            return collect(campaign, request_ids, wait)
        case do.Retry(request_ids):
            return retry(campaign, request_ids)
        case do.OpenRound(number, size):
            return open_round(campaign, number, size)
        case do.Retrain(number):
            return retrain(campaign, number)
        case do.CancelPlanned(request_ids):
            return cancel_planned(campaign, request_ids)
        case do.CancelJobs(request_ids):
            return cancel_jobs(campaign, request_ids, len(request_ids))
        case do.ApproveOverdue(number) | do.PauseOverdue(number):
            return overdue(campaign, action, number)
        case do.Conclude():
            return conclude(campaign, action)
        case do.Fail(reason):
            return fail(campaign, reason)
        case do.Wait() | do.Finished():
            return perform(attached(campaign).bench, action)
