"""The submitter `processes`: what happens when jobs, their supervisor or the campaign misbehave or die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from active_learning.domain.job import Job, JobPhase, JobReport, JobSpec, Resources
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError
from active_learning.jobs import JobDirectory
from active_learning.submitters import this_machine
from active_learning.submitters.processes.submitter import Processes
from active_learning.testing.waiting import is_alive, wait_for

PATIENCE_S = 30.0

FUNCTIONS = """
import os, signal, subprocess, sys, time
from pathlib import Path

print("printed while it is imported, into nobody's pipe")

def leave(inputs):
    os._exit(inputs["status"])

def die(inputs):
    os.kill(os.getpid(), inputs["signal"])
    time.sleep(60)

def finish_and_die(inputs):
    from active_learning.jobs import JobDirectory
    JobDirectory(Path.cwd()).finish(0, {"x": 1})
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

def stubborn(inputs):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return family(inputs)

def family(inputs):
    # Three programs: in the job's group, in one of its own, and a grandchild.
    nap = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    shell = ["sh", "-c", "sleep 600 & echo $! > shell.pid; wait"]
    programs = [subprocess.Popen(nap), subprocess.Popen(nap, process_group=0), subprocess.Popen(shell)]
    while not Path("shell.pid").exists() or not Path("shell.pid").read_text().strip():
        time.sleep(0.01)
    pids = [os.getpid(), *(p.pid for p in programs), int(Path("shell.pid").read_text())]
    Path("pids.new").write_text(" ".join(map(str, pids)))
    Path("pids.new").rename("pids")
    if inputs.get("leave_them"):
        return {}
    time.sleep(600)

def stamps(inputs):
    begin = time.monotonic()
    time.sleep(inputs["seconds"])
    return {"begin": begin, "end": time.monotonic()}

def circumstances(inputs):
    os.system("echo from a program; echo complaint >&2")
    threads = [os.environ[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")]
    return {
        "threads": threads, "nice": os.nice(0), "main": sys.modules["__main__"].__dict__.get("__file__"),
        "leads": os.getpid() == os.getsid(0), "stdin": os.read(0, 1).decode(),
    }

def draw(inputs):
    import numpy
    return {"x": float(numpy.random.random())}
"""

Run = Callable[..., Job]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"functions_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def make(tmp_path: Path, module: str) -> Run:
    def make(
        function: str, inputs: Mapping[str, Any] | None = None, *, name: str = "a-1", timeout_s: float = 60.0
    ) -> Job:
        entry = function if ":" in function else f"{module}:{function}"
        return JobDirectory(tmp_path / "jobs" / name).prepare(JobSpec(entry, inputs or {}), name, Resources(timeout_s))

    return make


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes(Processes.Options(workers=2, grace=0.3))
    yield made
    made.close()


def settle(submitter: Processes, *handles: str) -> list[JobReport]:
    def is_over() -> bool:
        return all(report.phase is JobPhase.ENDED for report in submitter.poll(handles).values())

    wait_for("all jobs to end", is_over, PATIENCE_S)
    return [submitter.poll([handle])[handle] for handle in handles]


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


@pytest.mark.parametrize(
    ("function", "inputs", "detail"),
    [
        ("leave", {"status": 3}, "the process ended with status 3 and left no outcome"),
        ("die", {"signal": int(signal.SIGSEGV)}, "killed by signal 11 (SIGSEGV)"),
        ("die", {"signal": int(signal.SIGABRT)}, "killed by signal 6 (SIGABRT)"),
        ("die", {"signal": int(signal.SIGTERM)}, "killed by signal 15 (SIGTERM)"),
        (
            "die",
            {"signal": int(signal.SIGKILL)},
            "killed by signal 9 (SIGKILL), not by the campaign; the kernel does so when memory runs out",
        ),
    ],
)
def test_a_job_that_kills_its_process_loses_itself_only(
    function: str, inputs: Mapping[str, int], detail: str, processes: Processes, make: Run
) -> None:
    bad, good = make(function, inputs, name="bad"), make("stamps", {"seconds": 0}, name="good")
    report, other = settle(processes, processes.submit(bad), processes.submit(good))
    assert report.failure is not None
    assert (report.failure.kind, report.failure.detail) == (FailureKind.CRASHED, detail)
    assert other.failure is None
    assert result(good)["end"] > 0


def test_a_job_that_dies_after_its_outcome_has_not_failed(processes: Processes, make: Run) -> None:
    job = make("finish_and_die")
    (report,) = settle(processes, processes.submit(job))
    assert report.failure is None
    assert result(job) == {"x": 1}


def test_a_job_that_somebody_kills_has_crashed_and_its_programs_die(processes: Processes, make: Run) -> None:
    job = make("family")
    handle = processes.submit(job)
    pids = pids_of(job)
    os.kill(pids[0], signal.SIGKILL)
    (report,) = settle(processes, handle)
    assert report.failure is not None
    assert report.failure.kind is FailureKind.CRASHED
    wait_for_deaths(pids)


@pytest.mark.parametrize("function", ["family", "stubborn"])
def test_a_job_over_its_time_dies_with_all_its_programs(function: str, processes: Processes, make: Run) -> None:
    job = make(function, timeout_s=2.0)
    (report,) = settle(processes, processes.submit(job))
    assert report.failure is not None
    assert report.failure.kind is FailureKind.TIMEOUT
    assert report.failure.detail == "ran longer than 2 s and was ended"
    wait_for_deaths(pids_of(job))


def test_time_in_the_queue_does_not_count(make: Run) -> None:
    processes = Processes(Processes.Options(workers=1))
    jobs = [make("stamps", {"seconds": 1.0}, name=f"j{i}", timeout_s=2.5) for i in range(3)]
    reports = settle(processes, *[processes.submit(job) for job in jobs])
    processes.close()
    assert [report.failure for report in reports] == [None] * 3


def test_programs_that_a_job_leaves_behind_die_with_it(processes: Processes, make: Run) -> None:
    job = make("family", {"leave_them": True})
    (report,) = settle(processes, processes.submit(job))
    assert report.failure is None
    pids = pids_of(job)
    # Its own process group. (One that a program made for itself is only hunted when a job is killed.)
    wait_for_deaths([pids[1], pids[3], pids[4]])
    os.kill(pids[2], signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_jobs_run_at_once_than_workers_and_the_next_starts_without_polling(workers: int, make: Run) -> None:
    processes = Processes(Processes.Options(workers=workers))
    jobs = [make("stamps", {"seconds": 0.1}, name=f"j{i}") for i in range(7)]
    for job in jobs:
        processes.submit(job)
    last = Path(jobs[-1].directory) / "exit_code"
    wait_for("the last job to end without polling", last.exists, PATIENCE_S)
    settle(processes, *[str(job.directory) for job in jobs])
    processes.close()
    begins, ends = ([result(job)[key] for job in jobs] for key in ("begin", "end"))
    if workers == 1:
        assert begins == sorted(begins)
    at_once = [sum(begin <= moment < end for begin, end in zip(begins, ends, strict=True)) for moment in begins]
    assert max(at_once) == workers


def test_a_queued_job_says_so_and_is_found(make: Run) -> None:
    processes = Processes(Processes.Options(workers=1))
    first, second = make("family", name="j1"), make("family", name="j2")
    handles = [processes.submit(first), processes.submit(second)]
    pids_of(first)
    assert [report.phase for report in processes.poll(handles).values()] == [JobPhase.RUNNING, JobPhase.QUEUED]
    assert processes.find(second) == handles[1]
    processes.close()
    assert processes.find(second) is None
    assert [report.phase for report in processes.poll(handles).values()] == [JobPhase.ENDED] * 2
    assert not JobDirectory(Path(second.directory)).has_started


def test_submitting_a_queued_or_running_job_again_gives_its_handle(make: Run) -> None:
    processes = Processes(Processes.Options(workers=1))
    jobs = [make("family", name="j1"), make("family", name="j2")]
    handles = [processes.submit(job) for job in jobs]
    assert [processes.submit(job) for job in jobs] == handles
    processes.close()


def test_a_running_job_does_not_keep_the_lock_of_one_that_ended(processes: Processes, make: Run) -> None:
    long, short = make("family", name="long"), make("stamps", {"seconds": 0.2}, name="short")
    short_handle = processes.submit(short)
    long_handle = processes.submit(long)
    pids_of(long)
    settle(processes, short_handle)
    assert processes.poll([long_handle])[long_handle].phase is JobPhase.RUNNING


def test_a_cancelled_job_ends_without_a_failure_and_a_queued_one_never_starts(make: Run) -> None:
    processes = Processes(Processes.Options(workers=1, grace=0.3))
    running, queued, other = (make("stubborn", name=f"j{i}") for i in range(3))
    handles = [processes.submit(job) for job in (running, queued, other)]
    pids = pids_of(running)
    processes.cancel(handles[:2])
    assert [report.failure for report in settle(processes, *handles[:2])] == [None, None]
    wait_for_deaths(pids)
    assert not JobDirectory(Path(queued.directory)).has_started
    wait_for_deaths_of = pids_of(other)
    processes.close()
    wait_for_deaths(wait_for_deaths_of)


def test_cancel_before_anything_was_submitted_does_nothing(processes: Processes) -> None:
    processes.cancel(["/no/such/job"])
    processes.close()


def test_a_job_knows_its_circumstances(make: Run) -> None:
    processes = Processes(Processes.Options(workers=1, threads=3, nice=5))
    job = make("circumstances")
    settle(processes, processes.submit(job))
    processes.close()
    assert result(job) == {"threads": ["3"] * 3, "nice": os.nice(0) + 5, "main": None, "leads": True, "stdin": ""}
    assert (Path(job.directory) / "stdout").read_text() == "from a program\n"
    assert (Path(job.directory) / "stderr").read_text() == "complaint\n"


def test_jobs_draw_different_numbers_from_the_global_generator(make: Run) -> None:
    processes = Processes(Processes.Options(workers=2, preload=("numpy.random",)))
    jobs = [make("draw", name=f"j{i}") for i in range(4)]
    settle(processes, *[processes.submit(job) for job in jobs])
    processes.close()
    assert len({result(job)["x"] for job in jobs}) == 4


def test_a_module_that_cannot_be_imported_fails_its_jobs_only(processes: Processes, make: Run, tmp_path: Path) -> None:
    (tmp_path / "broken_calculator.py").write_text("raise SystemExit('no licence')\n")
    bad, good = make("broken_calculator:run", name="bad"), make("stamps", {"seconds": 0}, name="good")
    settle(processes, processes.submit(bad), processes.submit(good))
    outcome = JobDirectory(Path(bad.directory)).outcome()
    assert outcome is not None
    assert outcome.exit_code == 1
    assert outcome.stderr_tail.endswith("SystemExit: no licence")
    assert result(good)["end"] > 0


def test_many_threads_may_submit_and_poll(make: Run) -> None:
    processes = Processes(Processes.Options(workers=2))
    jobs = [make("stamps", {"seconds": 0}, name=f"j{i}") for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        handles = list(pool.map(processes.submit, jobs))
        wait_for("all to end", lambda: all(r.phase is JobPhase.ENDED for r in pool.map(
            lambda h: processes.poll([h])[h], handles)), PATIENCE_S)  # fmt: skip
    processes.close()
    assert all(result(job) for job in jobs)


def test_a_directory_that_holds_no_job_is_refused(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"holds no job\.json"):
        processes.submit(Job("a-1", tmp_path, ("true",), 60))


def test_a_job_that_another_process_has_is_refused(processes: Processes, make: Run) -> None:
    job = make("stamps", {"seconds": 0})
    lock = this_machine.hold(Path(job.directory))
    with pytest.raises(BackendError, match="another process has the job"):
        processes.submit(job)
    os.close(lock)
    settle(processes, processes.submit(job))


def test_an_interrupted_submission_does_not_lend_its_answer_to_the_next(
    processes: Processes, make: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    refused, good = make("stamps", {"seconds": 0}, name="refused"), make("stamps", {"seconds": 0}, name="good")
    lock = this_machine.hold(Path(refused.directory))
    with monkeypatch.context() as patch:
        patch.setattr("active_learning.submitters.processes.submitter.select.select", interrupt)
        with pytest.raises(KeyboardInterrupt):
            processes.submit(refused)
    settle(processes, processes.submit(good))
    os.close(lock)
    assert result(good)["end"] > 0


def supervisor_of(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_when_the_supervisor_is_killed_its_jobs_die_and_the_next_submission_starts_another(
    processes: Processes, make: Run
) -> None:
    jobs = [make("family", name=f"j{i}") for i in range(3)]
    handles = [processes.submit(job) for job in jobs]
    pids = pids_of(jobs[0]) + pids_of(jobs[1])
    os.kill(supervisor_of(pids[0]), signal.SIGKILL)
    wait_for_deaths(pids)
    assert [report.failure for report in settle(processes, *handles)] == [None] * 3
    again = make("stamps", {"seconds": 0}, name="again")
    (report,) = settle(processes, processes.submit(again))
    assert report.failure is None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_no_process_is_left_as_a_zombie_or_at_all(make: Run) -> None:
    processes = Processes(Processes.Options(workers=2))
    first = make("family", {"leave_them": True}, name="first")
    settle(processes, processes.submit(first))
    family = pids_of(first)
    later = make("family", name="later")
    processes.submit(later)
    supervisor = supervisor_of(pids_of(later)[0])
    assert not (Path("/proc") / str(family[0])).exists()
    processes.close()
    assert not (Path("/proc") / str(supervisor)).exists()
    wait_for_deaths(pids_of(later))
    os.kill(family[2], signal.SIGKILL)


CAMPAIGN = """
import json, os, sys, time
from pathlib import Path
from active_learning.domain.job import Job, Resources
from active_learning.submitters.processes.submitter import Processes

print("main runs", flush=True)
order = json.loads(Path(os.environ["ORDER"]).read_text())
sys.path.insert(0, order["path"])
processes = Processes(Processes.Options(workers=order["workers"]))
jobs = [Job(Path(d).name, Path(d), (), Resources(60.0)) for d in order["directories"]]
handles = [processes.submit(job) for job in jobs]
if order["fork"] and os.fork() == 0:
    time.sleep(8)
    os._exit(0)
if order["wait"]:
    while any(report.phase != "ended" for report in processes.poll(handles).values()):
        time.sleep(0.02)
    print("main ends", flush=True)
else:
    print("submitted", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[..., tuple[list[str], dict[str, str]]]:
    def campaign(
        jobs: list[Job], *, workers: int = 2, wait: bool = False, fork: bool = False, how: str = "file"
    ) -> Any:
        order = {"workers": workers, "wait": wait, "fork": fork, "path": str(tmp_path)}
        (tmp_path / "order.json").write_text(json.dumps(order | {"directories": [str(job.directory) for job in jobs]}))
        (tmp_path / "campaign_script.py").write_text(textwrap.dedent(CAMPAIGN))
        ways = {
            "file": [str(tmp_path / "campaign_script.py")],
            "module": ["-m", "campaign_script"],
            "text": ["-c", CAMPAIGN],
        }
        command = [sys.executable, "-X", "dev", "-W", "error", *ways[how]]
        return command, os.environ | {"ORDER": str(tmp_path / "order.json")}

    return campaign


@pytest.mark.parametrize("how", ["file", "module", "text"])
def test_jobs_do_not_run_the_users_script_and_forgetting_close_does_no_harm(
    how: str, campaign: Callable[..., Any], make: Run, tmp_path: Path
) -> None:
    jobs = [make("stamps", {"seconds": 0}, name=f"j{i}") for i in range(3)]
    command, environment = campaign(jobs, wait=True, how=how)
    told = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout) == (0, "main runs\nmain ends\n"), told.stderr
    assert told.stderr.replace("printed while it is imported, into nobody's pipe\n", "") == ""
    assert all(result(job) for job in jobs)


def test_when_the_campaign_is_killed_its_jobs_and_their_programs_die(
    campaign: Callable[..., Any], make: Run, processes: Processes
) -> None:
    jobs = [make("stubborn", name=f"j{i}") for i in range(3)]
    command, environment = campaign(jobs)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        pids = pids_of(jobs[0]) + pids_of(jobs[1])
        parent.kill()
    wait_for_deaths(pids)
    wait_for("the supervisor to let go of the queue", lambda: processes.find(jobs[2]) is None, PATIENCE_S)
    handles = [str(job.directory) for job in jobs[:2]]
    assert [processes.find(job) for job in jobs[:2]] == handles
    reports = settle(processes, *handles)
    assert [report.failure for report in reports] == [None, None]
    assert all(JobDirectory(Path(job.directory)).outcome() is None for job in jobs)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("delay_ms", [0, 3, 10, 30])
def test_jobs_that_are_only_just_starting_die_with_the_campaign(
    delay_ms: int, campaign: Callable[..., Any], make: Run, tmp_path: Path, module: str, processes: Processes
) -> None:
    jobs = [make("stubborn", name=f"j{i}") for i in range(8)]
    command, environment = campaign(jobs, workers=8)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        first = JobDirectory(Path(jobs[0].directory))
        if delay_ms:
            assert parent.stdout.readline() == b"main runs\n"
            wait_for("the first job to start", lambda: first.has_started, PATIENCE_S)
            with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
                parent.wait(delay_ms / 1000)
        else:
            wait_for("the first job to be queued", (Path(jobs[0].directory) / "lock").exists, PATIENCE_S)
        parent.kill()
    wait_for("nobody to work in the jobs' directories", lambda: not working_in(tmp_path / "jobs"), PATIENCE_S)
    settle(processes, *[str(job.directory) for job in jobs])
    assert not working_in(tmp_path / "jobs")


def working_in(folder: Path) -> list[str]:
    """Processes whose working directory lies in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where = (entry / "cwd").readlink()
        except OSError:
            continue
        if where.is_relative_to(folder):
            found.append(entry.name)
    return found


def test_a_forked_copy_of_the_campaign_does_not_keep_its_jobs_alive(campaign: Callable[..., Any], make: Run) -> None:
    job = make("stubborn")
    command, environment = campaign([job], fork=True)
    # A forked copy keeps the pipe to the supervisor open; it lives for 8 s, the jobs must be gone before.
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as parent:
        pids = pids_of(job)
        with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
            parent.wait(0.3)
        parent.kill()
    wait_for(f"{pids} to end", lambda: not any(map(is_alive, pids)), 5.0)


def test_workers_are_the_cores_unless_the_user_says_otherwise() -> None:
    assert Processes.Options().workers is None
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Processes.Options(workers=0)
