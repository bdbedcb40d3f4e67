"""The flows: `campaign` works to the end, `tick` makes one pass.

A flow holds nothing that matters: it asks the engine what is next and runs the task of that action. It can be killed
at any line; the next run goes on from the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import allow_failure, flow, get_client, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture
from prefect.logging.handlers import APILogWorker
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from active_learning.api.campaign import Campaign
from active_learning.domain import actions as do
from active_learning.domain.campaign import CampaignSnapshot
from active_learning.domain.secrets import without_secrets_in
from active_learning.engine.performing import GoesOn, decide, one_pass, to_the_end
from active_learning.errors import LeaseHeld, StaleVersion
from flows.other_runs import cancel_missed, mark_killed
from tasks.bench import Attached, NotAttached, attach, attached
from tasks.spread import PrefectSpread
from tasks.steps import step_of
from tasks.views import follow_request, open_budget, publish_round, tell, update_budget

__all__ = ["campaign", "drain", "tick"]

_DRAIN_S = 10.0
_VIEWS = 64
"""Requests followed at once; more wait for a place in the UI, not for their calculation."""

_runner: Any = ThreadPoolTaskRunner(max_workers=_VIEWS)


@contextmanager
def _attached(path: str) -> Iterator[Attached]:
    """The campaign that the command line attached, or (started by a worker) one that this flow opens itself."""
    with ExitStack() as stack:
        try:
            found = attached(path)
        except NotAttached:
            opened = stack.enter_context(Campaign.create(Path(path)))
            found = stack.enter_context(attach(opened, stack.enter_context(opened.work())))
        yield found


class _Show:
    """What one flow run shows in the UI: its name, the requests it follows, the rounds, the budget."""

    def __init__(self, here: Attached, path: str) -> None:
        self._here = here
        self._path = path
        self._followed: dict[str, PrefectFuture[Any]] = {}
        self._pages: list[PrefectFuture[Any]] = []
        self._published: set[tuple[int, bool]] = set()
        self._budget: UUID | None = None
        self._bar = (0, 0)
        self._name = ""

    def before(self, snapshot: CampaignSnapshot) -> None:
        """Bring the view up to date with a snapshot."""
        # Counted by what is stored: asking each future is a call to the server.
        n_followed = sum(request.is_open and request.id in self._followed for request in snapshot.requests)
        for request in snapshot.requests:
            if request.is_open and request.id not in self._followed and n_followed < _VIEWS - 4:
                n_followed += 1
                with tags(f"round {request.round}"):
                    self._followed[request.id] = follow_request.submit(self._path, request.id, request.formula)
        in_flight = sum(request.is_open for request in snapshot.requests)
        self._rename(f"round {max(0, snapshot.n_rounds - 1)}", f"{in_flight} in flight")
        self._move_bar(snapshot)

    def _rename(self, newest_round: str, in_flight: str) -> None:
        campaign = self._here.campaign.name
        name = f"{campaign} · {newest_round} · {in_flight}"
        if name != self._name and flow_run.id:
            with get_client(sync_client=True) as client:
                client.update_flow_run(UUID(flow_run.id), name=name, tags=[campaign, newest_round])
            self._name = name

    def _move_bar(self, snapshot: CampaignSnapshot) -> None:
        progress = snapshot.progress
        if progress is None:
            return
        self._budget = self._budget or open_budget(self._here.campaign.name)
        limit = progress.n_candidates
        if snapshot.budget is not None:
            limit = min(limit, progress.n_labels + progress.n_pending + snapshot.budget)
        if (progress.n_labels, limit) != self._bar:
            update_budget(self._budget, self._here.campaign.name, progress.n_labels, limit)
            self._bar = (progress.n_labels, limit)

    def after(self, action: do.Action, snapshot: CampaignSnapshot, said: str) -> None:
        """Publish the round that opened, and once more the one that it follows, which has its outcomes now; send the
        events that automations may wait for."""
        name = self._here.campaign.name
        match action:
            case do.OpenRound(number, _):
                self._publish(number - 1, settled=True)
                self._publish(number, settled=False)
                if snapshot.settings.needs_approval:
                    tell(name, "needs-attention", f"round {number} waits for approval")
            case do.Conclude():
                for number in (snapshot.n_rounds - 1, snapshot.n_rounds):
                    self._publish(number, settled=True)
                tell(name, "finished" if snapshot.ending is None else "stopped", said)
            case do.Fail() | do.PauseOverdue():
                tell(name, "needs-attention", said)

    def _publish(self, number: int, *, settled: bool) -> None:
        n_rounds = len(self._here.campaign.store.read().rounds)
        if 0 <= number < n_rounds and (number, settled) not in self._published:
            self._published.add((number, settled))
            # One after another: the newest version of a page is the one that was drawn last.
            before: list[Any] = [allow_failure(page) for page in self._pages[-1:]]
            with tags(f"round {number}"):
                self._pages.append(publish_round.submit(self._path, number, wait_for=before, return_state=False))

    def end(self) -> None:
        """Let the followers end."""
        self._here.over.set()
        for future in (*self._followed.values(), *self._pages):
            future.wait()


def _act(here: Attached, path: str, goes_on: GoesOn, *, wait: bool) -> None:
    """Decide, act, show, until `goes_on` says no."""
    logger = get_run_logger()
    execution = here.bench.kit.spec.execution
    here.bench.spread = PrefectSpread(execution, execution.workers or os.cpu_count() or 1)
    show = _Show(here, path)
    last = ""
    try:
        while True:
            snapshot = here.bench.snapshot()
            show.before(snapshot)
            action = decide(snapshot, goes_on)
            if action is None:
                return
            try:
                with tags(f"round {max(0, snapshot.n_rounds - 1)}"):
                    said = without_secrets_in(step_of(path, action, wait=wait))
            except StaleVersion:
                continue
            if said != last or not isinstance(action, do.Wait):  # to wait is said once
                logger.info(said)
                here.say(said)
            last = said
            show.after(action, snapshot, said)
    finally:
        show.end()


def drain() -> None:
    """Let Prefect send what it has still queued. Call it before a server is stopped: at exit it would wait in vain."""
    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=_DRAIN_S, at_exit=False)


def _is_busy(held: LeaseHeld) -> State[Any]:
    """What a run comes to that finds another process at work: nothing is wrong, and nothing is left to do."""
    get_run_logger().info(str(held))
    return Completed(message="another process works on the campaign", name="Skipped")


@flow(name="campaign", task_runner=_runner, persist_result=False, retries=0)
def campaign(path: str) -> dict[str, Any] | State[Any]:
    """Work on a campaign until it stops, or until only a person can go on. Returns its status.

    Args:
        path: The campaign file: its absolute path, as the worker sees it.
    """
    cancel_missed()
    try:
        with _attached(path) as here, tags(here.campaign.name):
            mark_killed()
            _act(here, path, to_the_end, wait=True)
            return here.campaign.outcome()
    except LeaseHeld as held:
        return _is_busy(held)


@flow(name="tick", task_runner=_runner, persist_result=False, retries=0)
def tick(path: str) -> dict[str, Any] | State[Any]:
    """One pass: collect, decide, submit. Waits for its own batch only where jobs die with their process.

    Args:
        path: The campaign file: its absolute path, as the worker sees it.
    """
    cancel_missed()
    try:
        with _attached(path) as here, tags(here.campaign.name):
            mark_killed()
            waits = here.campaign.waits
            _act(here, path, one_pass(waits=waits), wait=waits)
            return here.campaign.outcome()
    except LeaseHeld as held:
        return _is_busy(held)
