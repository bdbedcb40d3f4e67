"""The submitter `dask`, on real clusters whose workers, schedulers and campaigns are killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import Cluster, dask_cluster
from doomed_campaigns import start_campaign, submit_elsewhere
from wild_jobs import make_job

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.testing import job_functions
from active_learning.testing.submitters import Recipe
from active_learning.testing.waiting import is_alive, wait_for

distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

from active_learning.submitters.dask import task, ticket  # noqa: E402 - needs what may not be there
from active_learning.submitters.dask.submitter import Dask  # noqa: E402

pytestmark = pytest.mark.slow
PATIENCE_S = 120.0
Make = Callable[..., Job]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One worker that runs two jobs at once. Not to be harmed."""
    with dask_cluster(tmp_path_factory.mktemp("dask"), 2) as cluster:
        yield cluster


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster to be killed; it has no worker yet."""
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask") as cluster:
        yield cluster


def recipe(cluster: Cluster) -> Recipe:
    return "active_learning.submitters.dask.submitter:Dask", {"address": cluster.address, "grace": 0.5}


def build(cluster: Cluster) -> Dask:
    return Dask(Dask.Options(address=cluster.address, grace=0.5, answer_within=10))


@pytest.fixture
def submitter(cluster: Cluster) -> Dask:
    return build(cluster)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(make_job, tmp_path)


def settle(submitter: Dask, *handles: str) -> list[JobReport]:
    def is_over() -> bool:
        return all(report.phase is JobPhase.ENDED for report in submitter.poll(handles).values())

    wait_for("all jobs to end", is_over, PATIENCE_S)
    return [submitter.poll([handle])[handle] for handle in handles]


def phase(submitter: Dask, handle: str) -> JobPhase:
    return submitter.poll([handle])[handle].phase


def result(job: Job) -> Mapping[str, Any]:
    outcome = JobDirectory(Path(job.directory)).outcome()
    assert outcome is not None
    assert outcome.result is not None, outcome.stderr_tail
    return outcome.result


def pids_of(job: Job) -> list[int]:
    file = Path(job.directory) / "pids"
    wait_for("the job to start", file.exists, PATIENCE_S)
    return [int(pid) for pid in file.read_text().split()]


def wait_for_deaths(pids: list[int]) -> None:
    wait_for(f"processes {pids} to end", lambda: not any(map(is_alive, pids)), PATIENCE_S)


def test_a_job_runs_beside_its_worker_under_its_limits(submitter: Dask, make: Make) -> None:
    late = make("stubborn", name="late", timeout_s=3.0)
    large = make("devour", {"mb": 120, "processes": 2}, name="large", memory_mb=200)
    told = make("circumstances", name="told", cores=2)
    handles = [submitter.submit(job) for job in (late, large, told)]
    reports = settle(submitter, *handles)
    assert [report.failure and report.failure.kind for report in reports] == [
        FailureKind.TIMEOUT, FailureKind.OUT_OF_MEMORY, None
    ]  # fmt: skip
    wait_for_deaths(pids_of(late) + pids_of(large))
    assert result(told)["threads"] == ["1"] * 3
    assert result(told)["cores"] == "2"
    assert [submitter.poll([handle])[handle] for handle in handles] == reports, "the end is forgotten"


def test_a_cancelled_job_that_waits_never_starts_and_one_that_runs_dies_with_its_programs(
    submitter: Dask, make: Make
) -> None:
    running = [make("stubborn", name=f"j{i}") for i in range(2)]
    waiting = make("family", name="waiting")
    handles = [submitter.submit(job) for job in running]
    pids = [pid for job in running for pid in pids_of(job)]
    handles.append(submitter.submit(waiting))
    assert phase(submitter, handles[2]) is JobPhase.QUEUED
    assert phase(submitter, handles[0]) is JobPhase.RUNNING
    submitter.cancel([handles[2], "no-such-handle"])
    assert phase(submitter, handles[2]) is JobPhase.ENDED
    submitter.cancel(handles)
    assert [report.failure for report in settle(submitter, *handles)] == [None] * 3
    wait_for_deaths(pids)
    assert not JobDirectory(Path(waiting.directory)).has_started


HOSTILE = ["a job", "$(touch evil)", "two\nlines", "'\"\\", "{directory}", "é✓"]


def test_hostile_names_are_names_only(submitter: Dask, tmp_path: Path) -> None:
    jobs = [
        make_job(tmp_path / "$(touch evil) ;\n here", "count_runs", {"file": "runs"}, name=name) for name in HOSTILE
    ]
    settle(submitter, *[submitter.submit(job) for job in jobs])
    assert [result(job) for job in jobs] == [{"x": 1}] * len(jobs)
    assert not list(tmp_path.rglob("*evil"))


def test_a_task_without_a_ticket_does_nothing(submitter: Dask, make: Make) -> None:
    job = make("stamps", {"seconds": 0})
    with submitter._client() as client:
        submitter._publish(client, job)
    handle = str(job.directory)
    wait_for("the task to end", lambda: phase(submitter, handle) is JobPhase.GONE, PATIENCE_S)
    assert not JobDirectory(Path(job.directory)).has_started


def test_a_submission_that_did_not_reach_the_scheduler_is_taken_back_and_done_again(
    submitter: Dask, make: Make
) -> None:
    job = make("stamps", {"seconds": 0})
    # All that a campaign did that was killed before its message went off.
    ticket.offer(Path(job.directory))
    assert submitter.find(job) is None
    assert not ticket.take(Path(job.directory)), "a late task could still run the job"
    handle = submitter.submit(job)
    settle(submitter, handle)
    assert result(job)["end"] > 0


def test_a_task_that_fails_by_itself_says_why(submitter: Dask, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make("stamps", {"seconds": 0})
    # Not made for this: it takes one argument.
    monkeypatch.setattr(task, "run", job_functions.fail)
    (report,) = settle(submitter, submitter.submit(job))
    assert report.failure is not None
    assert report.failure.kind is FailureKind.NODE
    assert report.failure.detail.startswith("Dask could not run the job: TypeError: fail() got an unexpected keyword")
    assert settle(submitter, str(job.directory)) == [report]


def test_a_scheduler_that_refuses_a_job_says_why_and_the_job_may_be_submitted_again(
    submitter: Dask, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make("stamps", {"seconds": 0})
    with monkeypatch.context() as patch:
        # The cluster knows no module of the tests.
        patch.setattr(task, "run", submit_elsewhere)
        with pytest.raises(TransientSubmitError, match="does not take the job: RuntimeError: Error during deserial"):
            submitter.submit(job)
    assert submitter.find(job) is None
    settle(submitter, submitter.submit(job))
    assert result(job)["end"] > 0


def test_a_ticket_is_taken_once(tmp_path: Path) -> None:
    assert ticket.offer(tmp_path)
    assert ticket.take(tmp_path)
    assert not ticket.take(tmp_path)
    assert not ticket.void(tmp_path)
    assert not ticket.withdraw(tmp_path)
    assert not ticket.offer(tmp_path)


def test_campaigns_that_are_killed_at_any_moment_of_submitting_run_each_job_once(
    submitter: Dask, cluster: Cluster, make: Make, tmp_path: Path
) -> None:
    rng = random.Random(3)
    jobs = [make("count_runs", {"file": str(tmp_path / f"runs-{i}")}, name=f"j{i}") for i in range(6)]
    adopted = 0
    for job in jobs:
        campaign = start_campaign(recipe(cluster), job)
        wait_for("the submission to begin", (Path(job.directory) / "dask.ticket").exists, PATIENCE_S)
        time.sleep(rng.uniform(0.0, 0.25))
        campaign.kill()
        campaign.join()
        if submitter.find(job) is None:
            assert not JobDirectory(Path(job.directory)).has_started
            submitter.submit(job)
        else:
            adopted += 1
    handles = [str(job.directory) for job in jobs]

    def is_over() -> bool:
        # A job whose task the scheduler dropped with its campaign is told as gone until its worker has ended it.
        return all(report.phase in (JobPhase.ENDED, JobPhase.GONE) for report in submitter.poll(handles).values())

    wait_for("all jobs to end", is_over, PATIENCE_S)
    for number, job in enumerate(jobs):
        outcome, runs = JobDirectory(Path(job.directory)).outcome(), tmp_path / f"runs-{number}"
        n_runs = len(runs.read_text().splitlines()) if runs.exists() else 0
        assert n_runs <= 1
        assert outcome is None or n_runs == 1
    assert adopted, "no campaign came as far as the scheduler: the test shows nothing"


def test_a_job_whose_worker_is_killed_is_lost_and_never_runs_again(mortal: Cluster, make: Make) -> None:
    victim = mortal.add_worker()
    submitter, job = build(mortal), make("family")
    handle = submitter.submit(job)
    pids = pids_of(job)
    victim.kill()
    wait_for_deaths(pids)
    # Nobody is there to run it: the scheduler would like to.
    wait_for("the scheduler to notice", lambda: _state(submitter, handle) != "processing", PATIENCE_S)
    assert phase(submitter, handle) in (JobPhase.QUEUED, JobPhase.RUNNING)
    mortal.add_worker()
    (report,) = settle(submitter, handle)
    assert report.failure is not None
    assert report.failure.kind is FailureKind.NODE
    assert "worker died" in report.failure.detail
    assert JobDirectory(Path(job.directory)).outcome() is None
    assert submitter.find(job) == handle


def _state(submitter: Dask, handle: str) -> str | None:
    with submitter._client() as client:
        states = client.sync(client.scheduler.get_task_status, keys=[f"motherlode-{handle}"])
    return states[f"motherlode-{handle}"]


def test_a_job_that_ended_before_its_worker_was_killed_has_ended(mortal: Cluster, make: Make) -> None:
    victim = mortal.add_worker()
    submitter, job = build(mortal), make("stamps", {"seconds": 0})
    handle = submitter.submit(job)
    wait_for("the end", (Path(job.directory) / "dask.over").exists, PATIENCE_S)
    victim.kill()
    assert settle(submitter, handle) == [JobReport(JobPhase.ENDED)]
    assert result(job)["end"] > 0


def test_a_lost_scheduler_makes_all_unknown_and_nothing_certain(mortal: Cluster, make: Make) -> None:
    mortal.add_worker()
    submitter = build(mortal)
    submitter = Dask(submitter.options.model_copy(update={"answer_within": 1.0}))
    running, waiting, late = (make("family", name="running"), *(make("stamps", {"seconds": 0}, name=n) for n in "ab"))
    handles = [submitter.submit(running)]
    pids = pids_of(running)
    assert submitter.greet().endswith("answers: 1 workers are there")
    handles.append(submitter.submit(waiting))
    os.kill(mortal.scheduler.pid, signal.SIGKILL)
    assert submitter.poll(handles) == dict.fromkeys(handles, JobReport(JobPhase.UNKNOWN))
    with pytest.raises(BackendError, match="cannot reach the Dask scheduler at tcp://127"):
        submitter.find(waiting)
    with pytest.raises(BackendError, match="cannot reach the Dask scheduler at tcp://127"):
        submitter.greet()
    with pytest.raises(TransientSubmitError, match="cannot reach the Dask scheduler"):
        submitter.submit(late)
    # Its workers give up without it, and what they run ends with them.
    wait_for_deaths(pids)


def test_a_shared_folder_that_is_not_there_makes_its_jobs_unknown(submitter: Dask, tmp_path: Path) -> None:
    handle = str(tmp_path / "not mounted" / "jobs" / "a-1")
    assert submitter.poll([handle]) == {handle: JobReport(JobPhase.UNKNOWN)}


def test_an_address_is_needed_and_nothing_is_asked_of_it_when_the_submitter_is_built() -> None:
    with pytest.raises(ValueError, match="address"):
        Dask.Options()
    assert Dask(Dask.Options(address="tcp://nowhere:1")).options.address == "tcp://nowhere:1"
