"""The submitter `local`: what happens when jobs, their guardians or the campaign misbehave or die."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from doomed_campaigns import start_campaign
from wild_jobs import make_job

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import FailureKind
from active_learning.domain.protocols import Cancels, DiesWithProcess
from active_learning.errors import BackendError, TransientSubmitError, UserError
from active_learning.jobs import JobDirectory
from active_learning.submitters import local, this_machine
from active_learning.submitters.guarded import guarding
from active_learning.submitters.guarded.guardian import GUARDIAN_FILE
from active_learning.submitters.guarded.session_memory import session_memory_mb
from active_learning.submitters.local import Local
from active_learning.submitters.process_birth import born
from active_learning.testing.waiting import is_alive, wait_for

PATIENCE_S = 60.0
Make = Callable[..., Job]

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(make_job, tmp_path)


@pytest.fixture
def submitter() -> Local:
    return Local(Local.Options(workers=2, grace=0.3))


def settle(submitter: Local, *handles: str) -> list[JobReport]:
    def is_over() -> bool:
        return all(report.phase is JobPhase.ENDED for report in submitter.poll(handles).values())

    wait_for("all jobs to end", is_over, PATIENCE_S)
    return [submitter.poll([handle])[handle] for handle in handles]


def result(job: Job) -> Mapping[str, Any]:
    outcome = JobDirectory(Path(job.directory)).outcome()
    assert outcome is not None, JobDirectory(Path(job.directory)).tail("stderr")
    assert outcome.result is not None, outcome.stderr_tail
    return outcome.result


def pids_of(job: Job) -> list[int]:
    file = Path(job.directory) / "pids"
    wait_for("the job to start", file.exists, PATIENCE_S)
    return [int(pid) for pid in file.read_text().split()]


def guardian_of(job: Job) -> int:
    return int(json.loads((Path(job.directory) / GUARDIAN_FILE).read_text())["pid"])


def wait_for_deaths(pids: list[int]) -> None:
    wait_for(f"processes {pids} to end", lambda: not any(map(is_alive, pids)), PATIENCE_S)


def has_started(job: Job) -> bool:
    return JobDirectory(Path(job.directory)).has_started


RECIPE = ("active_learning.submitters.local:Local", {"workers": 2, "grace": 0.3})


def test_jobs_outlive_the_process_that_submitted_them_and_can_be_cancelled() -> None:
    submitter = Local(Local.Options())
    assert not isinstance(submitter, DiesWithProcess)
    assert isinstance(submitter, Cancels)


@pytest.mark.parametrize(
    ("function", "inputs", "detail"),
    [
        ("leave", {"status": 3}, "the process ended with status 3 and left no outcome"),
        ("die", {"signal": int(signal.SIGSEGV)}, "killed by signal 11 (SIGSEGV)"),
        ("die", {"signal": int(signal.SIGTERM)}, "killed by signal 15 (SIGTERM)"),
        (
            "die",
            {"signal": int(signal.SIGKILL)},
            "killed by signal 9 (SIGKILL), not by the campaign; the kernel does so when memory runs out",
        ),
    ],
)
def test_a_job_that_kills_its_process_loses_itself_only(
    function: str, inputs: Mapping[str, int], detail: str, submitter: Local, make: Make
) -> None:
    bad, good = make(function, inputs, name="bad"), make("stamps", {"seconds": 0}, name="good")
    report, other = settle(submitter, submitter.submit(bad), submitter.submit(good))
    assert report.failure is not None
    assert (report.failure.kind, report.failure.detail) == (FailureKind.CRASHED, detail)
    assert other.failure is None
    assert result(good)["end"] > 0


def test_a_job_that_dies_after_its_outcome_has_not_failed(submitter: Local, make: Make) -> None:
    job = make("finish_and_die")
    (report,) = settle(submitter, submitter.submit(job))
    assert report.failure is None
    assert result(job) == {"x": 1}


def test_a_job_that_somebody_kills_has_crashed_and_its_programs_die(submitter: Local, make: Make) -> None:
    job = make("family")
    handle = submitter.submit(job)
    pids = pids_of(job)
    os.kill(pids[0], signal.SIGKILL)
    (report,) = settle(submitter, handle)
    assert report.failure is not None
    assert report.failure.kind is FailureKind.CRASHED
    wait_for_deaths(pids)


@pytest.mark.parametrize("function", ["family", "stubborn"])
def test_a_job_over_its_time_dies_with_all_its_programs(function: str, submitter: Local, make: Make) -> None:
    job = make(function, timeout_s=3.0)
    handle = submitter.submit(job)
    pids = pids_of(job)
    (report,) = settle(submitter, handle)
    assert report.failure is not None
    assert report.failure.kind is FailureKind.TIMEOUT
    assert report.failure.detail == "ran longer than 3 s and was ended"
    wait_for_deaths(pids)


@needs_proc
@pytest.mark.parametrize("processes", [1, 3])
def test_a_job_with_too_much_memory_in_all_its_processes_is_ended(processes: int, submitter: Local, make: Make) -> None:
    job = make("devour", {"mb": 240 // processes, "processes": processes}, memory_mb=200)
    handle = submitter.submit(job)
    pids = pids_of(job)
    (report,) = settle(submitter, handle)
    assert report.failure is not None
    assert report.failure.kind is FailureKind.OUT_OF_MEMORY
    assert report.failure.detail.endswith(" MB in all, of 200 MB that it may use, and was ended")
    wait_for_deaths(pids)


@needs_proc
def test_a_job_within_its_memory_is_left_alone(submitter: Local, make: Make) -> None:
    job = make("stamps", {"seconds": 0.8}, memory_mb=500)
    (report,) = settle(submitter, submitter.submit(job))
    assert report.failure is None
    assert result(job)["end"] > 0


@needs_proc
def test_memory_that_processes_share_counts_once() -> None:
    code = """
import os, time
block = bytearray(os.urandom(1)) * (80 * 10**6)
for _ in range(2):
    if os.fork() == 0:
        time.sleep(600)
print(flush=True)
time.sleep(600)
"""
    leader = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    leader.stdout.readline()
    added_up, shared_out = session_memory_mb(leader.pid, 10**6), session_memory_mb(leader.pid, 100)
    os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
    leader.stdout.close()
    assert 240 < added_up < 300
    assert 80 < shared_out < 120


def test_where_memory_cannot_be_measured_a_limit_is_refused(
    submitter: Local, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "can_be_measured", lambda: False)
    job = make("stamps", {"seconds": 0}, memory_mb=500)
    with pytest.raises(UserError, match="leave the memory limit out"):
        submitter.submit(job)
    assert submitter.find(job) is None


def test_time_in_the_line_does_not_count(make: Make) -> None:
    submitter = Local(Local.Options(workers=1))
    jobs = [make("stamps", {"seconds": 1.0}, name=f"j{i}", timeout_s=2.5) for i in range(3)]
    reports = settle(submitter, *[submitter.submit(job) for job in jobs])
    assert [report.failure for report in reports] == [None] * 3


def test_programs_that_a_job_leaves_behind_die_with_it(submitter: Local, make: Make) -> None:
    job = make("family", {"leave_them": True})
    (report,) = settle(submitter, submitter.submit(job))
    assert report.failure is None
    pids = pids_of(job)
    # Its own process group. (One that a program made for itself is only hunted when a job is killed.)
    wait_for_deaths([pids[1], pids[3], pids[4]])
    os.kill(pids[2], signal.SIGKILL)


def test_a_program_that_escapes_its_job_does_not_keep_it_alive(make: Make) -> None:
    submitter = Local(Local.Options(workers=1))
    job, other = make("run_away", name="j1"), make("stamps", {"seconds": 0}, name="j2")
    settle(submitter, submitter.submit(job), submitter.submit(other))
    escaped = result(job)["pid"]
    assert is_alive(escaped)
    os.kill(escaped, signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_jobs_run_at_once_than_workers_whoever_submits_them(workers: int, make: Make) -> None:
    submitters = [Local(Local.Options(workers=workers)) for _ in range(2)]
    jobs = [make("stamps", {"seconds": 0.1}, name=f"j{i}") for i in range(6)]
    for number, job in enumerate(jobs):
        submitters[number % 2].submit(job)
    last = Path(jobs[-1].directory) / "exit_code"
    wait_for("the last job to end without polling", last.exists, PATIENCE_S)
    settle(submitters[0], *[str(job.directory) for job in jobs])
    begins, ends = ([result(job)[key] for job in jobs] for key in ("begin", "end"))
    if workers == 1:
        assert begins == sorted(begins), "who came first runs first"
    at_once = [sum(begin <= moment < end for begin, end in zip(begins, ends, strict=True)) for moment in begins]
    assert max(at_once) <= workers


def test_two_campaigns_do_not_wait_for_each_other(tmp_path: Path) -> None:
    submitter = Local(Local.Options(workers=1, grace=0.3))
    jobs = [make_job(tmp_path / campaign, "family", name="j1") for campaign in ("one", "other")]
    handles = [submitter.submit(job) for job in jobs]
    pids = [pids_of(job) for job in jobs]
    submitter.cancel(handles[:1])
    settle(submitter, handles[0])
    wait_for_deaths(pids[0])
    assert all(map(is_alive, pids[1]))
    submitter.cancel(handles)
    settle(submitter, *handles)


def test_a_waiting_job_says_so_is_found_and_never_starts_if_it_is_cancelled(make: Make) -> None:
    submitter, elsewhere = Local(Local.Options(workers=1, grace=0.3)), Local(Local.Options(grace=0.3))
    running, waiting, first_in_line = (make("stubborn", name=f"j{i}") for i in range(3))
    handles = [submitter.submit(job) for job in (running, first_in_line, waiting)]
    pids = pids_of(running)
    phases = [report.phase for report in elsewhere.poll(handles).values()]
    assert phases == [JobPhase.RUNNING, JobPhase.QUEUED, JobPhase.QUEUED]
    assert elsewhere.find(waiting) == handles[2]
    elsewhere.cancel(handles[1:])
    settle(elsewhere, *handles[1:])
    assert elsewhere.find(waiting) is None
    assert not has_started(waiting)
    assert not has_started(first_in_line)
    elsewhere.cancel(handles[:1])
    assert [report.failure for report in settle(elsewhere, *handles)] == [None] * 3
    wait_for_deaths(pids)


def test_a_job_that_was_cancelled_while_it_waited_may_be_submitted_again(make: Make) -> None:
    submitter = Local(Local.Options(workers=1, grace=0.3))
    running, waiting = make("family", name="j1"), make("stamps", {"seconds": 0}, name="j2")
    handles = [submitter.submit(running), submitter.submit(waiting)]
    submitter.cancel(handles[1:])
    settle(submitter, handles[1])
    submitter.submit(waiting)
    submitter.cancel(handles[:1])
    settle(submitter, *handles)
    assert result(waiting)["end"] > 0


def test_cancel_of_nothing_that_lives_does_nothing(submitter: Local, make: Make) -> None:
    job = make("stamps", {"seconds": 0})
    handle = submitter.submit(job)
    settle(submitter, handle)
    submitter.cancel([handle, "/no/such/job"])
    assert result(job)["end"] > 0


def test_cancel_signals_no_process_that_has_a_guardians_number_by_chance(
    submitter: Local, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_ANSWER_WITHIN_S", 0.2)
    job = make("stamps", {"seconds": 0})
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    signature = {"pid": bystander.pid, "born": born(os.getpid())}
    (Path(job.directory) / GUARDIAN_FILE).write_text(json.dumps(signature))
    lock = this_machine.hold(Path(job.directory))
    with pytest.raises(BackendError, match="its guardian cannot be found to end it"):
        submitter.cancel([str(job.directory)])
    os.close(lock)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_process_is_known_by_its_birth() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    assert born(child.pid) == born(child.pid)
    assert born(child.pid) != born(os.getpid())
    child.communicate(b"\n")
    assert born(child.pid) is None


def test_a_job_knows_its_circumstances(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    submitter = Local(Local.Options(threads=3, nice=5))
    job = make("circumstances", cores=4)
    settle(submitter, submitter.submit(job))
    told = dict(result(job))
    assert told.pop("environment") == "{}"
    expected = {"threads": ["3"] * 3, "cores": "4", "nice": min(19, os.nice(0) + 5), "leads": True, "stdin": ""}
    assert told == expected | {"cwd": str(job.directory)}
    assert (Path(job.directory) / "stdout").read_text() == "from a program\n"
    assert (Path(job.directory) / "stderr").read_text() == "complaint\n"
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in Path(job.directory).iterdir()}
    assert set(modes.values()) == {"0o600"}, modes


HOSTILE = ["a job", "$(touch evil)", "`touch evil`; touch evil #", "two\nlines", "'\"\\", "--help", "é✓", "{directory}"]


def test_hostile_names_are_names_only(submitter: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = [make_job(tmp_path / "$(touch evil) ;\n here", "stamps", {"seconds": 0}, name=name) for name in HOSTILE]
    settle(submitter, *[submitter.submit(job) for job in jobs])
    assert all(result(job)["end"] > 0 for job in jobs)
    assert not list(tmp_path.rglob("*evil")), "something was run"


def test_a_directory_that_holds_no_job_is_refused(submitter: Local, make: Make) -> None:
    job = make("stamps", {"seconds": 0})
    (Path(job.directory) / "job.json").unlink()
    with pytest.raises(BackendError, match=r"holds no job\.json"):
        submitter.submit(job)


def test_a_job_that_another_process_has_is_refused(submitter: Local, make: Make) -> None:
    job = make("stamps", {"seconds": 0})
    lock = this_machine.hold(Path(job.directory))
    with pytest.raises(BackendError, match="another process has the job"):
        submitter.submit(job)
    os.close(lock)
    settle(submitter, submitter.submit(job))


def test_a_guardian_that_cannot_be_started_says_so_and_may_be_tried_again(
    submitter: Local, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make("stamps", {"seconds": 0})
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(TransientSubmitError, match="No such file or directory"):
            submitter.submit(job)
    with monkeypatch.context() as patch:
        patch.setattr(local, "import_paths", list)
        with pytest.raises(TransientSubmitError, match="No module named"):
            submitter.submit(job)
    assert submitter.find(job) is None
    settle(submitter, submitter.submit(job))
    assert result(job)["end"] > 0


def test_a_guardian_that_does_not_say_that_it_is_there_leaves_its_job_in_doubt_and_is_found(
    submitter: Local, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = local.start_guardian

    class Mute:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._starter = real(*args, **kwargs)
            self.kill = self._starter.kill

        def wait(self, timeout: float | None = None) -> int:
            status = self._starter.wait()
            if timeout is None:
                return status
            raise subprocess.TimeoutExpired("guardian", timeout)

    job = make("stamps", {"seconds": 0.5})
    with monkeypatch.context() as patch:
        patch.setattr(local, "start_guardian", Mute)
        with pytest.raises(BackendError, match="may have been started: no word of it"):
            submitter.submit(job)
    handle = submitter.find(job)
    assert handle is not None
    settle(submitter, handle)
    assert result(job)["end"] > 0


def test_a_guardian_that_hangs_before_it_is_born_leaves_nothing(
    submitter: Local, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make("stamps", {"seconds": 0})
    with monkeypatch.context() as patch:
        patch.setattr(local, "_ANSWER_WITHIN_S", 0.2)
        patch.setattr(guarding, "_START", "import time; time.sleep(600)")
        with pytest.raises(TransientSubmitError, match="no word of it"):
            submitter.submit(job)
    assert submitter.find(job) is None
    settle(submitter, submitter.submit(job))
    assert result(job)["end"] > 0


@needs_proc
def test_neither_guardian_nor_job_is_a_child_or_a_zombie_of_the_campaign(submitter: Local, make: Make) -> None:
    job = make("family")
    handle = submitter.submit(job)
    pids_of(job)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert str(guardian_of(job)) not in children
    assert os.getsid(guardian_of(job)) not in (os.getsid(0), guardian_of(job) + 1)
    submitter.cancel([handle])
    settle(submitter, handle)
    wait_for_deaths([guardian_of(job)])


def test_when_a_guardian_is_killed_its_job_ends_without_a_word_and_the_next_takes_its_place(make: Make) -> None:
    submitter = Local(Local.Options(workers=1))
    job, waiting = make("stubborn", name="j1"), make("stamps", {"seconds": 0}, name="j2")
    handles = [submitter.submit(job), submitter.submit(waiting)]
    pids = pids_of(job)
    os.kill(guardian_of(job), signal.SIGKILL)
    wait_for_deaths(pids)
    assert [report.failure for report in settle(submitter, *handles)] == [None, None]
    assert JobDirectory(Path(job.directory)).outcome() is None
    assert result(waiting)["end"] > 0


def test_a_waiting_guardian_that_is_killed_leaves_a_job_that_never_ran_and_a_line_that_moves_on(make: Make) -> None:
    submitter = Local(Local.Options(workers=1, grace=0.3))
    running, first, second = (make("family", name="j1"), *(make("stamps", {"seconds": 0}, name=n) for n in "ab"))
    handles = [submitter.submit(job) for job in (running, first, second)]
    pids_of(running)
    os.kill(guardian_of(first), signal.SIGKILL)
    settle(submitter, handles[1])
    assert submitter.find(first) is None
    submitter.cancel(handles[:1])
    settle(submitter, *handles)
    assert result(second)["end"] > 0
    settle(submitter, submitter.submit(first))
    assert result(first)["end"] > 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_campaign_that_is_killed_when_a_guardian_is_born_leaves_no_doubt(
    moment: str, submitter: Local, make: Make, tmp_path: Path
) -> None:
    job = make("count_runs", {"file": str(tmp_path / "runs")})
    campaign = start_campaign(RECIPE, job, moment)
    campaign.join()
    assert campaign.exitcode == -signal.SIGKILL
    handle = submitter.find(job)
    if moment == "before":
        assert handle is None
        handle = submitter.submit(job)
    assert handle == str(job.directory)
    settle(submitter, handle)
    assert len((tmp_path / "runs").read_text().splitlines()) == 1


def test_campaigns_that_are_killed_at_any_moment_of_submitting_run_their_jobs_once(
    submitter: Local, make: Make, tmp_path: Path
) -> None:
    rng = random.Random(7)
    adopted = 0
    jobs = [make("count_runs", {"file": str(tmp_path / f"runs-{i}")}, name=f"j{i}") for i in range(16)]
    for job in jobs:
        campaign = start_campaign(RECIPE, job)
        wait_for("the submission to begin", (Path(job.directory) / "lock").exists, PATIENCE_S)
        time.sleep(rng.uniform(0.0, 0.06))
        campaign.kill()
        campaign.join()
        if submitter.find(job) is None:
            assert not has_started(job)
            submitter.submit(job)
        else:
            adopted += 1
    settle(submitter, *[str(job.directory) for job in jobs])
    assert [len((tmp_path / f"runs-{i}").read_text().splitlines()) for i in range(16)] == [1] * 16
    assert adopted, "no campaign came as far as the launch: the test shows nothing"


def test_a_waiting_guardian_has_loaded_next_to_nothing() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import active_learning.submitters.guarded.guardian as _; "
    code += "print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, str(Path(local.__file__).parents[2])]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    ours = {name for name in loaded if name.startswith("active_learning")}
    rooms = {"active_learning", "active_learning.submitters", "active_learning.submitters.guarded"}
    assert ours == rooms | {"active_learning.submitters.guarded.guardian"}
    assert loaded.isdisjoint({"numpy", "pydantic", "psutil", "dataclasses", "pathlib", "subprocess", "typing"})


def test_a_disk_that_does_not_lock_is_a_backend_that_fails(
    submitter: Local, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    job = make("stamps", {"seconds": 0})
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BackendError, match="cannot lock files"):
        submitter.submit(job)
