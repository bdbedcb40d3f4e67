"""One step per action, and the local loop: the campaign without Prefect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from active_learning.domain import actions as do
from active_learning.domain.campaign import CampaignSnapshot, Phase
from active_learning.engine.approving import approve_overdue, pause_overdue
from active_learning.engine.collecting import collect
from active_learning.engine.deciding import next_action
from active_learning.engine.feature_steps import featurize
from active_learning.engine.pool_steps import build_pool
from active_learning.engine.request_steps import cancel_jobs, cancel_planned, plan_references, reconcile, retry, submit
from active_learning.engine.round_steps import conclude, fail, open_round, retrain
from active_learning.engine.workbench import Workbench
from active_learning.errors import StaleVersion

__all__ = ["GoesOn", "Observer", "decide", "one_pass", "perform", "run_local", "to_the_end"]


def perform(bench: Workbench, action: do.Action) -> str:
    """Carry out one action; returns one line that says what happened.

    Raises
    ------
    StaleVersion
        If the campaign moved since the action was decided (a person told a label, say): nothing was written; look
        again and decide again.
    """
    match action:
        case do.BuildPool():
            return build_pool(bench)
        case do.Featurize():
            return featurize(bench)
        case do.PlanReferences():
            return plan_references(bench)
        case do.Reconcile(request_ids):
            return reconcile(bench, request_ids)
        case do.Submit(request_ids):
            return submit(bench, request_ids)
        case do.Collect(request_ids):
            return collect(bench, request_ids)
        case do.Retry(request_ids):
            return retry(bench, request_ids)
        case do.OpenRound(number, size):
            return open_round(bench, number, size)
        case do.Retrain(number):
            return retrain(bench, number)
        case do.CancelPlanned(request_ids):
            return cancel_planned(bench, request_ids)
        case do.CancelJobs(request_ids):
            return cancel_jobs(bench, request_ids)
        case do.ApproveOverdue(number):
            return approve_overdue(bench, number)
        case do.PauseOverdue(number):
            return pause_overdue(bench, number)
        case do.Conclude(verdict):
            return conclude(bench, verdict)
        case do.Fail(reason):
            return fail(bench, reason)
        case do.Wait(until, n_in_flight, awaited):
            bench.clock.sleep(max(0.0, (until - bench.clock.now()).total_seconds()))
            if awaited and not n_in_flight:
                return f"round {awaited[0]} waits for approval: motherlode approve"
            return f"waited for {n_in_flight}"
        case do.Finished():
            return "nothing to do"


Observer = Callable[[CampaignSnapshot, do.Action, str], None]
GoesOn = Callable[[do.Action], bool]


def to_the_end(_action: do.Action) -> bool:
    """Every action is carried out."""
    return True


def one_pass(*, waits: bool) -> GoesOn:
    """Whether a single pass goes on with an action: collect, decide, submit, and no more.

    A pass stops where there is nothing to do but wait. Where jobs die with the process that started them (`waits`)
    it stays until what it submitted is in, and stops before it would open the next round.
    """
    submitted = collected = False

    def goes_on(action: do.Action) -> bool:
        nonlocal submitted, collected
        match action:
            case do.Wait(_, n_in_flight):
                return waits and n_in_flight > 0
            case do.OpenRound():
                return not (waits and collected)
            case do.Submit():
                submitted = True
            case do.Collect():
                collected = submitted
        return True

    return goes_on


def decide(snapshot: CampaignSnapshot, goes_on: GoesOn) -> do.Action | None:
    """The next action of a loop that takes only what `goes_on` allows; None where the loop ends.

    Where something new is refused, what is in flight is still collected: it may die with this process.
    """
    action = next_action(snapshot)
    if not isinstance(action, do.Finished | do.Wait) and not goes_on(action):
        action = next_action(replace(snapshot, phase=Phase.PAUSED))
    return None if isinstance(action, do.Finished) or not goes_on(action) else action


def run_local(bench: Workbench, goes_on: GoesOn = to_the_end, observer: Observer | None = None) -> CampaignSnapshot:
    """Act until nothing is left to do, or `goes_on` refuses an action. Returns the last snapshot."""
    while True:
        snapshot = bench.snapshot()
        action = decide(snapshot, goes_on)
        if action is None:
            return snapshot
        try:
            said = perform(bench, action)
        except StaleVersion:
            continue
        if observer is not None:
            observer(snapshot, action, said)
