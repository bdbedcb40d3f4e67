"""Rounds that wait for a person, campaigns that a person ends, and what becomes of calculations that run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from active_learning.api import approving, steering
from active_learning.api.campaign import Campaign
from active_learning.domain import actions as do
from active_learning.domain.approval import ApprovalState
from active_learning.domain.campaign import Phase
from active_learning.domain.request import Purpose, RequestState
from active_learning.engine.deciding import next_action
from active_learning.engine.observing import unavailable
from active_learning.engine.performing import perform
from active_learning.errors import SpecError, UserError
from active_learning.testing.fakes import START, FakeClock, tiny_campaign, without_workers
from active_learning.testing.faults import FakeScheduler

Make = Callable[..., Campaign]
ME = "ada"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Campaign] = []

    def make(*, at_once: bool = True, **changes: Any) -> Campaign:
        submitter = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": at_once}
        rounds = {"initial": 4, "batch_size": 2, "max_in_flight": 2}
        file = tiny_campaign(tmp_path / str(len(made)), submitter=submitter, **({"rounds": rounds} | changes))
        made.append(without_workers(Campaign.create(file, clock=FakeClock())))
        return made[-1]

    yield make
    for campaign in made:
        campaign.close()


def asked(campaign: Campaign, state: RequestState) -> list[str]:
    requests = campaign.store.read().requests
    return [r.candidate_id for r in requests if r.state is state and r.purpose is Purpose.CANDIDATE]


def work(campaign: Campaign) -> None:
    """What a schedule does: a tick a minute, until one brings nothing new."""
    version = 0
    while version != (version := campaign.store.read().version):
        campaign.tick()
        campaign.clock.sleep(60)


def scheduler_of(campaign: Campaign) -> FakeScheduler:
    assert isinstance(campaign.kit.submitter, FakeScheduler)
    return campaign.kit.submitter


def test_nothing_of_a_round_is_submitted_before_a_person_approves_it(make: Make) -> None:
    campaign = make(approval={"required": True})
    campaign.tick()
    planned = asked(campaign, RequestState.PLANNED)
    assert len(planned) == 4
    assert not scheduler_of(campaign).jobs
    (waiting,) = campaign.status()["awaiting_approval"]
    assert (waiting["round"], waiting["n_candidates"]) == (0, 4)
    campaign.tick()
    assert not scheduler_of(campaign).jobs, "a second tick spends nothing either"

    said = approving.approve(campaign.store, START, by=ME, note="cheap enough")
    assert said == "round 0 of tiny: 4 of 4 approved"
    work(campaign)
    assert sorted(asked(campaign, RequestState.SUCCEEDED)) == sorted(planned)
    first, second = campaign.store.read().approvals
    assert (first.state, first.by, first.note) == (ApprovalState.APPROVED, ME, "cheap enough")
    assert (second.round, second.state) == (1, ApprovalState.ASKED)
    assert len(asked(campaign, RequestState.PLANNED)) == 2


def test_a_campaign_that_is_approved_round_by_round_gives_the_labels_of_one_that_is_not(make: Make) -> None:
    free, asking = make(), make(approval={"required": True})
    free.run()
    while asking.status()["phase"] == "active":
        work(asking)
        if asking.status()["awaiting_approval"]:
            approving.approve(asking.store, START, by=ME)
    assert [(x.candidate_id, x.value) for x in asking.store.read().labels] == [
        (x.candidate_id, x.value) for x in free.store.read().labels
    ]


def test_a_candidate_that_was_dropped_is_neither_calculated_nor_proposed_again(make: Make) -> None:
    campaign = make(approval={"required": True}, stopping={"any": []}, pool=_pool(10))
    campaign.tick()
    dropped = asked(campaign, RequestState.PLANNED)[1]
    said = approving.approve(campaign.store, START, by=ME, drop=[dropped])
    assert said == "round 0 of tiny: 3 of 4 approved; 1 dropped, not to be proposed again"
    while campaign.status()["phase"] == "active":
        work(campaign)
        if campaign.status()["awaiting_approval"]:
            approving.approve(campaign.store, START, by=ME)
    facts = campaign.store.read()
    assert facts.verdict is not None
    assert facts.verdict.kind == "pool_exhausted"
    assert dropped not in {label.candidate_id for label in facts.labels}
    assert len(facts.labels) == 9
    assert dropped in unavailable(facts, campaign.kit.target, campaign.kit.settings)


def test_a_round_that_was_rejected_is_followed_by_others(make: Make) -> None:
    campaign = make(approval={"required": True})
    campaign.tick()
    approving.approve(campaign.store, START, by=ME)
    work(campaign)
    refused = set(asked(campaign, RequestState.PLANNED))
    approving.reject(campaign.store, START, by=ME, note="too heavy")
    work(campaign)
    others = set(asked(campaign, RequestState.PLANNED))
    assert others
    assert not others & refused
    states = [approval.state for approval in campaign.store.read().approvals]
    assert states == [ApprovalState.APPROVED, ApprovalState.REJECTED, ApprovalState.ASKED]


def test_an_answer_for_a_round_that_does_not_wait_is_refused(make: Make) -> None:
    campaign = make(approval={"required": True})
    with pytest.raises(UserError, match="No round of campaign 'tiny' is waiting for approval"):
        approving.approve(campaign.store, START, by=ME)
    campaign.tick()
    with pytest.raises(UserError, match="Round 3, which you named, of campaign 'tiny' is not waiting"):
        approving.approve(campaign.store, START, by=ME, number=3)
    with pytest.raises(UserError, match=r"Round 0 does not ask for NaCl. It asks for \w+ \(\w+\), "):
        approving.approve(campaign.store, START, by=ME, drop=["NaCl"])
    assert asked(campaign, RequestState.PLANNED), "a refused answer is no answer"
    approving.approve(campaign.store, START, by=ME)
    with pytest.raises(UserError, match="No round"):
        approving.approve(campaign.store, START, by="somebody who came late")


@pytest.mark.parametrize(("overdue", "phase"), [("approve", "stopped"), ("pause", "paused")])
def test_nobody_answers_in_time(make: Make, overdue: str, phase: str) -> None:
    requests = {"poll": 600, "retries": 1, "lost_retries": 2}
    campaign = make(approval={"required": True, "timeout": "2 h", "overdue": overdue}, requests=requests)
    begin = campaign.clock.now()
    campaign.run()
    assert campaign.status()["phase"] == phase
    assert campaign.clock.now() - begin >= timedelta(hours=2)
    if overdue == "approve":
        notes = {approval.note for approval in campaign.store.read().approvals}
        assert notes == {"nobody answered in time, and the campaign file says: approve"}
        return
    assert not scheduler_of(campaign).jobs
    steering.resume(campaign.store, campaign.clock.now())
    campaign.tick()
    assert campaign.status()["phase"] == "active", "who resumes has the whole time again"
    approving.approve(campaign.store, campaign.clock.now(), by=ME)
    for _ in range(4):
        campaign.tick()
        campaign.clock.sleep(600)
    assert len(asked(campaign, RequestState.SUCCEEDED)) == 4


def test_a_file_that_asks_for_no_approval_any_more_lets_waiting_rounds_go(make: Make) -> None:
    campaign = make(approval={"required": True})
    campaign.tick()
    change(campaign, '"required" = true', '"required" = false')
    with Campaign.create(campaign.path, clock=campaign.clock) as again:
        work(again)
        assert len(asked(again, RequestState.SUCCEEDED)) >= 4
        assert again.status()["awaiting_approval"] == []


def test_what_follows_an_unanswered_question_needs_a_time(tmp_path: Path) -> None:
    file = tiny_campaign(tmp_path, approval={"required": True, "overdue": "approve"})
    with pytest.raises(SpecError, match=r'overdue = "approve" needs a time after which it is'):
        Campaign.create(file)


def _pool(n: int) -> dict[str, Any]:
    return {"kind": "active_learning.testing.fakes:TinyPool", "n": n}


def change(campaign: Campaign, old: str, new: str) -> None:
    text = campaign.path.read_text()
    assert text.count(old) == 1
    campaign.path.write_text(text.replace(old, new))


def _with_two_running(make: Make) -> Campaign:
    campaign = make(at_once=False)
    campaign.tick()
    assert len(asked(campaign, RequestState.RUNNING)) == 2
    assert len(asked(campaign, RequestState.PLANNED)) == 2
    return campaign


def test_a_cancelled_campaign_waits_for_what_runs_and_counts_its_labels(make: Make) -> None:
    campaign = _with_two_running(make)
    running = asked(campaign, RequestState.RUNNING)
    said = steering.cancel(campaign.store, START, by=ME, reason="the budget was cut")
    assert said == "tiny is to end: nothing new is asked; 2 calculations that run are waited for"
    campaign.tick()
    assert campaign.status()["phase"] == "active"
    assert campaign.status()["ending"]["by"] == ME
    assert asked(campaign, RequestState.PLANNED) == []
    for handle in scheduler_of(campaign).running():
        scheduler_of(campaign).end(handle)
    campaign.clock.sleep(60)
    campaign.tick()
    found = campaign.status()
    assert (found["phase"], found["stop_rule"], found["stop_reason"]) == ("stopped", "cancelled", "the budget was cut")
    assert {label.candidate_id for label in campaign.store.read().labels} == set(running)


def test_calculations_are_ended_if_the_person_says_so_and_their_candidates_may_come_again(make: Make) -> None:
    campaign = _with_two_running(make)
    running = asked(campaign, RequestState.RUNNING)
    steering.cancel(campaign.store, START, by=ME, jobs=True)
    campaign.tick()
    campaign.clock.sleep(60)
    campaign.tick()
    facts = campaign.store.read()
    assert facts.phase is Phase.STOPPED
    assert {r.state for r in facts.requests} == {RequestState.CANCELLED}
    assert not scheduler_of(campaign).running()
    assert not set(running) & unavailable(facts, campaign.kit.target, campaign.kit.settings)
    assert campaign.status()["n_failed"] == 0


def test_a_result_that_came_before_its_job_could_be_ended_is_a_label(make: Make) -> None:
    campaign = _with_two_running(make)
    with campaign.work() as bench:
        steering.cancel(campaign.store, START, by=ME, jobs=True)
        while not isinstance(action := next_action(bench.snapshot()), do.CancelJobs):
            perform(bench, action)
        first, *_ = scheduler_of(campaign).running()
        scheduler_of(campaign).end(first)
        perform(bench, action)
    campaign.clock.sleep(60)
    campaign.tick()
    assert sorted(r.state for r in campaign.store.read().requests) == ["CANCELLED"] * 3 + ["SUCCEEDED"]
    assert len(campaign.store.read().labels) == 1


def test_a_cancelled_campaign_stays_so_when_its_rules_change_and_goes_on_when_it_is_resumed(make: Make) -> None:
    campaign = make()
    campaign.tick()
    steering.cancel(campaign.store, START, by=ME)
    campaign.tick()
    assert campaign.status()["phase"] == "stopped"
    n_before = len(campaign.store.read().labels)
    assert n_before < 10
    change(campaign, '"max" = 10', '"max" = 9')
    with Campaign.create(campaign.path, clock=campaign.clock) as again:
        again.run()
        assert again.status()["phase"] == "stopped"
        assert len(again.store.read().labels) == n_before
        assert steering.resume(again.store, START) == "tiny goes on with the next run or tick"
        again.run()
        assert again.status()["stop_rule"] == "labels"
        assert len(again.store.read().labels) == 9


def test_a_paused_campaign_can_be_cancelled_and_one_that_has_ended_cannot(make: Make) -> None:
    campaign = make()
    steering.pause(campaign.store, START)
    steering.cancel(campaign.store, START, by=ME)
    campaign.tick()
    assert campaign.status()["stop_rule"] == "cancelled"
    with pytest.raises(UserError, match="Campaign 'tiny' is stopped already"):
        steering.cancel(campaign.store, START, by=ME)


def test_a_campaign_can_be_cancelled_before_its_pool_is_built(tmp_path: Path) -> None:
    with Campaign.create(tiny_campaign(tmp_path), clock=FakeClock()) as campaign:
        steering.cancel(campaign.store, START, by=ME)
        campaign.run()
        facts = campaign.store.read()
    assert facts.phase is Phase.STOPPED
    assert facts.pool is None
