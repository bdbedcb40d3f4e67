"""What becomes of jobs: labels, failures of every kind, jobs that nobody knows any more, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.domain import actions as do
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.job import JobPhase, Resources
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.request import Request, RequestState
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform
from active_learning.engine.remedies import Change, resources_for
from active_learning.engine.workbench import Workbench
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers
from active_learning.testing.faults import FakeScheduler

Make = Callable[..., Campaign]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make campaigns of fakes; `at_once` says whether jobs end by themselves."""
    made: list[Campaign] = []

    def make(name: str = "a", *, at_once: bool = False, **changes: Any) -> Campaign:
        submitter = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": at_once}
        file = tiny_campaign(tmp_path / name, submitter=submitter, **changes)
        campaign = without_workers(Campaign.create(file, clock=FakeClock()))
        made.append(campaign)
        return campaign

    yield make
    for campaign in made:
        campaign.close()


def scheduler_of(campaign: Campaign) -> FakeScheduler:
    assert isinstance(campaign.kit.submitter, FakeScheduler)
    return campaign.kit.submitter


def requests_of(campaign: Campaign) -> dict[str, Request]:
    return {request.id: request for request in campaign.store.read().requests}


def step(bench: Workbench, until: type, n: int = 60) -> do.Action:
    """Act until the next action is of a kind."""
    for _ in range(n):
        action = next_action(bench.snapshot())
        if isinstance(action, until):
            return action
        perform(bench, action)
    raise AssertionError(f"no {until.__name__} in {n} steps; the next is {action}")


def submitted(bench: Workbench, campaign: Campaign) -> list[str]:
    """The handles of the first design's jobs."""
    step(bench, do.Wait)
    return list(scheduler_of(campaign).jobs)


def poll(bench: Workbench, seconds: float = 1.0) -> None:
    """Time passes, and the scheduler is asked once."""
    bench.clock.sleep(seconds)
    action = next_action(bench.snapshot())
    assert isinstance(action, do.Collect), action
    perform(bench, action)


def test_a_job_that_is_gone_is_lost_only_after_the_grace_period(make: Make) -> None:
    campaign = make(requests={"poll": 1, "grace": 30})
    with campaign.work() as bench:
        handle = submitted(bench, campaign)[0]
        request = next(r for r in requests_of(campaign).values() if r.handle == handle)
        del scheduler_of(campaign).jobs[handle]
        for _ in range(30):
            poll(bench)
            now = requests_of(campaign)[request.id]
            assert (now.state, now.backend) == (RequestState.RUNNING, JobPhase.GONE)
        poll(bench)
        lost = requests_of(campaign)[request.id]
        assert lost.state is RequestState.LOST
        assert lost.failure is not None
        assert "does not know the job any more" in lost.failure.detail


def test_a_gone_job_that_still_writes_its_result_gives_a_label(make: Make) -> None:
    campaign = make(requests={"poll": 1, "grace": 30})
    with campaign.work() as bench:
        scheduler = scheduler_of(campaign)
        handle = submitted(bench, campaign)[0]
        job = scheduler.jobs.pop(handle)
        poll(bench, 29)
        scheduler.jobs["elsewhere"] = job
        scheduler.end("elsewhere")
        poll(bench, 29)
        request = next(r for r in requests_of(campaign).values() if r.handle == handle)
        assert request.state is RequestState.SUCCEEDED


def test_a_job_that_is_seen_again_has_its_grace_anew(make: Make) -> None:
    campaign = make(requests={"poll": 1, "grace": 30})
    with campaign.work() as bench:
        scheduler = scheduler_of(campaign)
        handle = submitted(bench, campaign)[0]
        for _ in range(5):
            job = scheduler.jobs.pop(handle)
            poll(bench, 20)
            scheduler.jobs[handle] = job
            poll(bench, 20)
        request = next(r for r in requests_of(campaign).values() if r.handle == handle)
        assert (request.state, request.backend) == (RequestState.RUNNING, JobPhase.RUNNING)


def test_silence_is_unknown_for_ever_and_its_age_is_seen(make: Make) -> None:
    campaign = make(requests={"poll": 1, "grace": 30})
    with campaign.work() as bench:
        submitted(bench, campaign)
        poll(bench)
        scheduler_of(campaign).faults.poll_is_silent = True
        since = bench.clock.now()
        for _ in range(3):
            poll(bench, 86_400)
        shown = campaign.status()["in_flight"]
        assert {one["backend"] for one in shown} == {"unknown"}
        assert {one["backend_since"] for one in shown} == {since.replace(day=since.day + 1).isoformat()}
        assert {r.state for r in requests_of(campaign).values()} == {RequestState.RUNNING}


def test_the_history_grows_only_with_news_of_the_backend(make: Make) -> None:
    campaign = make()
    with campaign.work() as bench:
        submitted(bench, campaign)
        poll(bench)
        n = len(campaign.store.events())
        for _ in range(10):
            poll(bench)
        assert len(campaign.store.events()) == n


@pytest.mark.parametrize(
    ("kind", "state", "n_attempts"),
    [
        (FailureKind.NODE, RequestState.LOST, 3),
        (FailureKind.CANCELLED, RequestState.FAILED, 1),
        (FailureKind.TIMEOUT, RequestState.FAILED, 2),
        (FailureKind.OUT_OF_MEMORY, RequestState.FAILED, 2),
    ],
)
def test_each_failure_that_a_backend_reports_has_its_state_and_its_retries(
    make: Make, kind: FailureKind, state: RequestState, n_attempts: int
) -> None:
    campaign = make(requests={"poll": 1, "retries": 1, "lost_retries": 2})
    scheduler = scheduler_of(campaign)
    with campaign.work() as bench:
        victim = scheduler.jobs[submitted(bench, campaign)[0]].job.directory.name.rpartition("-")[0]
        for _ in range(40):
            for handle, known in scheduler.jobs.items():
                if not known.is_over and victim in known.job.name:
                    known.is_over, known.failure = True, Failure(kind, "as told")
                elif not known.is_over:
                    scheduler.end(handle)
            action = next_action(bench.snapshot())
            if isinstance(action, do.Finished):
                break
            perform(bench, action)
    attempts = [r for r in requests_of(campaign).values() if r.candidate_id == victim]
    assert [r.state for r in attempts] == [state] * n_attempts
    assert {r.failure for r in attempts} == {Failure(kind, "as told")}
    assert campaign.status()["n_failed"] == 1


def test_remedies_change_the_next_attempt_and_add_up(make: Make) -> None:
    on = {
        "unconverged": {"retries": 1, "settings": {"fates": {"AgAl": "raises"}}, "time": 2.0},
        "crashed": {"retries": 2, "memory": 1.5},
    }
    campaign = make(
        at_once=True,
        labeler={"kind": "active_learning.testing.fakes:FakeLabeler", "fates": {"AgAl": "unconverged"}},
        requests={"poll": 1, "retries": 0, "memory": "1 GB", "cores": 2, "timeout": 100, "on": on},
        rounds={"initial": 28, "batch_size": 2, "max_in_flight": 30},
        stopping={"any": [{"kind": "labels", "max": 28}]},
    )
    campaign.run()
    attempts = [r for r in requests_of(campaign).values() if r.formula == "AgAl"]
    kinds = [r.failure.kind for r in attempts if r.failure is not None]
    assert kinds == [FailureKind.UNCONVERGED, *[FailureKind.CRASHED] * 3]
    assert [(r.cores, r.asked_s) for r in attempts] == [(2, 100), (2, 200), (2, 200), (2, 200)]
    jobs = [j.job for j in scheduler_of(campaign).jobs.values() if j.job.name in {r.job_name for r in attempts}]
    assert [job.resources.memory_mb for job in jobs] == [1000, 1000, 1500, 2250]
    fates = [json.loads((Path(job.directory) / "job.json").read_text())["inputs"]["fate"] for job in jobs]
    assert fates == ["unconverged", "raises", "raises", "raises"]


def test_larger_crystals_get_what_their_size_says(make: Make) -> None:
    sizes = [{"atoms": 4, "cores": 4}, {"atoms": 2, "timeout": "2 h", "memory": "4 GB"}]
    asked = make(requests={"cores": 1, "timeout": 60, "memory": "1 GB", "sizes": sizes}).kit.spec.requests

    def of(n_atoms: int, change: Change = Change()) -> Resources:  # noqa: B008 - frozen
        cube = ((9.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.0, 0.0, 9.0))
        sites = tuple((i / 10, 0.0, 0.0) for i in range(n_atoms))
        crystal = Crystal(cube, ("Cu",) * n_atoms, sites) if n_atoms else None
        return resources_for(Candidate({"Cu": n_atoms or 1}, crystal=crystal), change, asked)

    assert of(0) == of(1) == Resources(60, 1, 1000)
    assert of(2) == of(3) == Resources(7200, 1, 4000)
    assert of(4) == Resources(60, 4, 1000)
    assert of(2, Change(time=2, memory=1.5)) == Resources(14_400, 1, 6000)


def test_a_value_that_nobody_believes_is_a_failure_and_no_label(make: Make) -> None:
    campaign = make(at_once=True, requests={"poll": 1, "retries": 0, "plausible": [-1.5, 1.5]})
    campaign.run()
    facts = campaign.store.read()
    assert facts.labels
    assert all(-1.5 <= label.value <= 1.5 for label in facts.labels)
    refused = [r for r in facts.requests if r.state is RequestState.FAILED]
    assert refused
    assert all(r.failure is not None and r.failure.kind is FailureKind.UNPARSABLE for r in refused)
    assert all("outside of what [requests] calls plausible: -1.5 to 1.5" in str(r.failure) for r in refused)


def test_what_jobs_used_is_summed_and_counts_cores(make: Make) -> None:
    campaign = make(at_once=True, requests={"poll": 1, "cores": 3, "timeout": 50})
    campaign.run()
    requests = list(requests_of(campaign).values())
    assert all(r.ran_s is not None and 0 < r.ran_s < 30 for r in requests)
    assert all(r.core_s == 3 * r.ran_s for r in requests if r.ran_s is not None)
    cost = campaign.status()["cost"]
    assert cost["used_core_s"] == pytest.approx(sum(3 * (r.ran_s or 0) for r in requests))
    assert cost["asked_core_s"] == pytest.approx(150 * len(requests))


def test_a_cost_rule_stops_by_core_time(make: Make) -> None:
    campaign = make(
        at_once=True, requests={"poll": 1, "cores": 1000}, stopping={"any": [{"kind": "cost", "max": "1 s"}]}
    )
    campaign.run()
    status = campaign.status()
    assert status["stop_rule"] == "cost"
    assert status["n_labels"] < 28
    assert "of core time is used up" in status["stop_reason"]
