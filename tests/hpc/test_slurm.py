"""Jobs on a real SLURM: each end is reported as what it is, and nothing that dies or hangs loses or doubles a job."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hpc_jobs import hpc_job
from hpc_need import need
from slurm_cluster import SlurmCluster, what_is_missing

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.names import Handle, batch_name
from active_learning.submitters.batch.slurm import Slurm
from active_learning.testing.submitters import Recipe, SubmitterContract, build_submitter
from active_learning.testing.waiting import wait_for

PATIENCE_S = 120.0


def slurm_submitter(**options: Any) -> Slurm:
    return Slurm(Slurm.Options.model_validate(options))


def ask(submitter: Slurm, handle: str) -> JobReport:
    return submitter.poll([handle])[handle]


def until(submitter: Slurm, handle: str, *phases: JobPhase, patience_s: float = PATIENCE_S) -> JobReport:
    """The report, once the job is in one of these phases."""
    wait_for(f"one of {', '.join(phases)}", lambda: ask(submitter, handle).phase in phases, patience_s)
    return ask(submitter, handle)


def kind_at_end(submitter: Slurm, handle: str, **rest: Any) -> FailureKind | None:
    failure = until(submitter, handle, JobPhase.ENDED, **rest).failure
    return None if failure is None else failure.kind


def jobs_named(cluster: SlurmCluster, job: Job) -> list[str]:
    listed = cluster.run("squeue", "--noheader", "--states=all", "--format=%i", f"--name={batch_name(job)}")
    return listed.stdout.split()


@pytest.fixture
def own_slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SlurmCluster]]:
    """Starts a cluster for one test, which may be broken."""
    need(what_is_missing())
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        made: list[SlurmCluster] = []

        def start(**settings: int) -> SlurmCluster:
            made.append(SlurmCluster(Path(folder), **settings))
            monkeypatch.setenv("SLURM_CONF", str(made[0].config))
            return made[0].start()

        try:
            yield start
        finally:
            for cluster in made:
                cluster.stop()


class TestSlurm(SubmitterContract):
    patience_s: ClassVar[float] = PATIENCE_S

    @pytest.fixture
    def recipe(self, slurm: SlurmCluster) -> Recipe:
        return "active_learning.submitters.batch.slurm:Slurm", {}


def test_a_job_finds_what_was_asked_for_it(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter(environment=["export GREETING='it''s me'"], header=["--comment='by hand'"])
    job = hpc_job(tmp_path / "job", "look_around", cores=3, memory_mb=500, timeout_s=200)
    until(submitter, submitter.submit(job), JobPhase.ENDED)
    outcome = JobDirectory(tmp_path / "job").outcome()
    assert outcome is not None
    assert outcome.result is not None, outcome.stderr_tail
    environment, shown = outcome.result["environment"], outcome.result["scontrol"]
    assert (environment["SLURM_NTASKS"], environment["MOTHERLODE_CORES"]) == ("3", "3")
    # 200 s, 30 s to die and a minute's margin, in whole minutes.
    assert "TimeLimit=00:05:00" in shown
    assert "mem=477M" in shown
    assert "Requeue=0" in shown
    assert "Comment=by hand" in shown
    assert (outcome.result["greeting"], outcome.result["umask"]) == ("its me", 0o077)


def test_all_that_a_job_leaves_is_its_owners_alone(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter()
    handle = submitter.submit(hpc_job(tmp_path / "job", "echo"))
    until(submitter, handle, JobPhase.ENDED)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "job").iterdir()}
    assert modes.keys() >= {"batch.sh", "batch_handle", "submitting", "scheduler.out", "stdout", "exit_code"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "job").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "it's; touch hacked",
        '"$(touch hacked)"`touch hacked`',
        "two\nlines",
        "%j %x %N",
        "-n --wrap=x",
        "*?[a]~{}<>&|#!\\",
        "\u00e9\u4e2d",
        "x" * 200,
    ],
)
def test_a_hostile_directory_is_a_directory(slurm: SlurmCluster, tmp_path: Path, name: str) -> None:
    submitter = slurm_submitter()
    job = hpc_job(tmp_path / name, "echo", {"answer": 1}, name=name)
    handle = submitter.submit(job)
    assert "\n" not in handle
    until(submitter, handle, JobPhase.ENDED)
    outcome = JobDirectory(tmp_path / name).outcome()
    assert outcome is not None
    assert outcome.result == {"answer": 1}
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert not list(Path.cwd().glob("hacked"))
    assert submitter.find(job) == handle


@pytest.mark.parametrize(("number", "said"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "status 139")])
def test_a_process_that_dies_has_crashed(
    slurm: SlurmCluster, tmp_path: Path, number: signal.Signals, said: str
) -> None:
    submitter = slurm_submitter()
    handle = submitter.submit(hpc_job(tmp_path / "job", "die_by", {"signal": int(number)}))
    failure = until(submitter, handle, JobPhase.ENDED).failure
    assert failure is not None
    assert failure.kind is FailureKind.CRASHED
    assert said in failure.detail


def test_an_interpreter_that_is_not_there_is_a_crash_that_says_so(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter(python="/no/such/python")
    failure = until(submitter, submitter.submit(hpc_job(tmp_path / "job", "echo")), JobPhase.ENDED).failure
    assert failure is not None
    assert (failure.kind, "/no/such/python" in failure.detail) == (FailureKind.CRASHED, True)


def test_a_line_of_the_environment_that_fails_is_named(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter(environment=["true", "module() { echo no module $2 >&2; return 1; }", "module load qe"])
    job = hpc_job(tmp_path / "job", "echo")
    failure = until(submitter, submitter.submit(job), JobPhase.ENDED).failure
    assert failure is not None
    assert failure.kind is FailureKind.CRASHED
    assert failure.detail == "line 'module load qe' of `environment` failed with status 1: no module qe"
    assert not JobDirectory(tmp_path / "job").has_started


def test_a_job_that_somebody_cancels_is_reported_as_cancelled(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter()
    handle = submitter.submit(hpc_job(tmp_path / "job", "sleep", {"seconds": 600}))
    until(submitter, handle, JobPhase.RUNNING)
    wait_for("the job to start", (tmp_path / "job" / "pids").exists, PATIENCE_S)
    slurm.run("scancel", Handle.parse(handle).id)
    assert kind_at_end(submitter, handle) is FailureKind.CANCELLED


def test_a_job_that_is_cancelled_while_it_waits_is_reported_as_cancelled(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter(header=["--hold"])
    handle = submitter.submit(hpc_job(tmp_path / "job", "echo"))
    wait_for("the reason", lambda: "JobHeldUser" in ask(submitter, handle).detail, PATIENCE_S)
    slurm.run("scancel", Handle.parse(handle).id)
    assert kind_at_end(submitter, handle) is FailureKind.CANCELLED


def test_a_job_that_takes_more_memory_than_it_asked_for_is_reported_so(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter()
    job = hpc_job(tmp_path / "job", "eat_memory", {"mb": 400, "seconds": 60}, memory_mb=150)
    assert kind_at_end(submitter, submitter.submit(job)) is FailureKind.OUT_OF_MEMORY


@pytest.mark.slow
def test_the_limit_of_slurm_itself_is_a_timeout_too(slurm: SlurmCluster, tmp_path: Path) -> None:
    # The user's directives come last and win.
    submitter = slurm_submitter(header=["--time=1"])
    handle = submitter.submit(hpc_job(tmp_path / "job", "sleep", {"seconds": 600}))
    report = until(submitter, handle, JobPhase.ENDED, patience_s=300)
    assert report.failure is not None
    assert (report.failure.kind, "TIMEOUT" in report.failure.detail) == (FailureKind.TIMEOUT, True)


def test_a_job_that_asks_for_too_much_is_refused_and_was_never_launched(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter()
    job = hpc_job(tmp_path / "job", "echo", memory_mb=10**6)
    with pytest.raises(TransientSubmitError, match="Requested node configuration is not available"):
        submitter.submit(job)
    # SLURM lists what it refused, as failed.
    assert jobs_named(slurm, job)
    assert submitter.find(job) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [({"queue": "nowhere"}, "nvalid partition"), ({"header": ["--no-such-thing=1"]}, "unrecognized option")],
)
def test_what_slurm_does_not_take_is_said_in_its_words(
    slurm: SlurmCluster, tmp_path: Path, options: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(TransientSubmitError, match=said):
        slurm_submitter(**options).submit(hpc_job(tmp_path / "job", "echo"))


def test_why_a_job_waits_is_told(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter()
    handle = submitter.submit(hpc_job(tmp_path / "job", "echo", cores=99))
    wait_for("the reason", lambda: "PartitionConfig" in ask(submitter, handle).detail, PATIENCE_S)
    assert ask(submitter, handle).phase is JobPhase.QUEUED
    submitter.cancel([handle])
    assert kind_at_end(submitter, handle) is FailureKind.CANCELLED


@pytest.mark.slow
def test_the_controller_is_away_for_a_while_and_nothing_is_lost(
    own_slurm: Callable[..., SlurmCluster], tmp_path: Path
) -> None:
    cluster, submitter = own_slurm(), slurm_submitter()
    known = hpc_job(tmp_path / "known", "sleep", {"seconds": 15}, name="known")
    unknown = hpc_job(tmp_path / "unknown", "echo", name="unknown")
    handle = submitter.submit(known)
    until(submitter, handle, JobPhase.RUNNING)
    (tmp_path / "known" / "batch_handle").unlink()
    cluster.stop_controller()
    report = ask(submitter, handle)
    assert (report.phase, "Unable to contact" in report.detail) == (JobPhase.UNKNOWN, True)
    with pytest.raises(BackendError, match="Unable to contact slurm controller") as doubt:
        submitter.submit(unknown)
    assert not isinstance(doubt.value, TransientSubmitError)
    for job in (known, unknown):
        with pytest.raises(BackendError, match="Unable to contact slurm controller"):
            submitter.find(job)
    cluster.start_controller()
    assert submitter.find(unknown) is None
    assert submitter.find(known) == handle
    until(submitter, handle, JobPhase.ENDED)
    until(submitter, submitter.submit(unknown), JobPhase.ENDED)
    assert all(JobDirectory(tmp_path / name).outcome() for name in ("known", "unknown"))


def test_a_controller_that_hangs_leaves_a_submission_in_doubt_until_it_answers(
    own_slurm: Callable[..., SlurmCluster], tmp_path: Path
) -> None:
    cluster, submitter = own_slurm(), slurm_submitter(answer_within=3)
    job = hpc_job(tmp_path / "job", "count_runs", {"file": str(tmp_path / "runs")})
    cluster.freeze_controller()
    with pytest.raises(BackendError, match="sbatch did not answer within 3 s"):
        submitter.submit(job)
    with pytest.raises(BackendError, match="squeue did not answer within 3 s"):
        submitter.find(job)
    cluster.thaw_controller()
    patient = slurm_submitter()
    # The controller may have taken the job in the meantime; then a second one must not count.
    wait_for("the controller", lambda: cluster.run("scontrol", "ping").returncode == 0, PATIENCE_S)
    handle = patient.find(job) or patient.submit(job)
    until(patient, handle, JobPhase.ENDED)
    assert len((tmp_path / "runs").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_node_that_dies_is_no_fault_of_the_job(own_slurm: Callable[..., SlurmCluster], tmp_path: Path) -> None:
    cluster, submitter = own_slurm(node_timeout_s=5), slurm_submitter()
    handle = submitter.submit(hpc_job(tmp_path / "job", "sleep", {"seconds": 600}))
    wait_for("the job to start", (tmp_path / "job" / "pids").exists, PATIENCE_S)
    cluster.kill_node()
    assert kind_at_end(submitter, handle) is FailureKind.NODE
    cluster.start_node()
    again = submitter.submit(hpc_job(tmp_path / "again", "echo", name="again"))
    assert until(submitter, again, JobPhase.ENDED).failure is None


def test_an_id_that_is_given_again_is_another_job(own_slurm: Callable[..., SlurmCluster], tmp_path: Path) -> None:
    cluster, submitter = own_slurm(), slurm_submitter()
    old = submitter.submit(hpc_job(tmp_path / "old", "sleep", {"seconds": 600}, name="old"))
    wait_for("the job to start", (tmp_path / "old" / "pids").exists, PATIENCE_S)
    cluster.stop_controller()
    cluster.kill_jobs()
    cluster.start_controller(forget=True)
    cluster.start_node()
    new = submitter.submit(hpc_job(tmp_path / "new", "sleep", {"seconds": 600}, name="new"))
    assert Handle.parse(old).id == Handle.parse(new).id
    assert ask(submitter, old).phase is JobPhase.GONE
    until(submitter, new, JobPhase.RUNNING)
    submitter.cancel([old])
    time.sleep(2)
    assert ask(submitter, new).phase is JobPhase.RUNNING
    submitter.cancel([new])


@pytest.mark.slow
def test_jobs_that_slurm_forgot_are_known_by_their_directories(
    own_slurm: Callable[..., SlurmCluster], tmp_path: Path
) -> None:
    cluster, submitter = own_slurm(remembers_s=2), slurm_submitter()
    jobs = {
        "good": hpc_job(tmp_path / "good", "echo", name="good"),
        "late": hpc_job(tmp_path / "late", "sleep", {"seconds": 600}, name="late", timeout_s=1.0),
        "dead": hpc_job(tmp_path / "dead", "die_by", {"signal": 11}, name="dead"),
        "stopped": hpc_job(tmp_path / "stopped", "sleep", {"seconds": 600}, name="stopped"),
        "waiting": hpc_job(tmp_path / "waiting", "sleep", {"seconds": 600}, name="waiting", cores=99),
    }
    handles = {name: submitter.submit(job) for name, job in jobs.items()}
    wait_for("the job to start", (tmp_path / "stopped" / "pids").exists, PATIENCE_S)
    cluster.run("scancel", *(Handle.parse(handles[name]).id for name in ("stopped", "waiting")))
    forgotten = lambda: not cluster.run("squeue", "--noheader", "--states=all").stdout.strip()  # noqa: E731
    wait_for("SLURM to forget", forgotten, PATIENCE_S)
    reports = {name: ask(submitter, handle) for name, handle in handles.items()}
    assert {name: report.phase for name, report in reports.items()} == dict.fromkeys(
        ("good", "late", "dead", "stopped"), JobPhase.ENDED
    ) | {"waiting": JobPhase.GONE}
    kinds = {name: report.failure.kind for name, report in reports.items() if report.failure is not None}
    expected = {"late": FailureKind.TIMEOUT, "dead": FailureKind.CRASHED, "stopped": FailureKind.CANCELLED}
    assert kinds == expected
    for name, job in jobs.items():
        (tmp_path / name / "batch_handle").unlink()
        assert (submitter.find(job) is None) == (name == "waiting")


SLOW_SBATCH = """#!/bin/sh
touch "{folder}/called"
while [ ! -e "{folder}/go" ]; do sleep 0.05; done
exec {real} "$@"
"""


def test_a_submission_that_outlives_the_killed_campaign_is_in_doubt_and_then_adopted(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    (programs / "sbatch").write_text(SLOW_SBATCH.format(folder=tmp_path, real=real))
    (programs / "sbatch").chmod(0o700)
    job = hpc_job(tmp_path / "job", "count_runs", {"file": str(tmp_path / "runs")})
    code = "import sys; from pathlib import Path; from active_learning.jobs import JobDirectory; "
    code += "from active_learning.domain.job import Resources; "
    code += "from active_learning.submitters.batch.slurm import Slurm; "
    code += "Slurm(Slurm.Options()).submit(JobDirectory(Path(sys.argv[1])).job('job-1', Resources(300)))"
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job")], env=environment) as campaign:
        wait_for("sbatch to be called", (tmp_path / "called").exists, PATIENCE_S)
        campaign.kill()
    submitter = slurm_submitter()
    for do in (submitter.find, submitter.submit):
        with pytest.raises(BackendError, match="still on its way"):
            do(job)
    (tmp_path / "go").touch()
    wait_for("the submission to end", lambda: _is_certain(submitter, job), PATIENCE_S)
    handle = submitter.find(job)
    assert handle is not None
    assert submitter.submit(job) == handle
    until(submitter, handle, JobPhase.ENDED)
    assert len(jobs_named(slurm, job)) == 1
    assert len((tmp_path / "runs").read_text().splitlines()) == 1


def _is_certain(submitter: Slurm, job: Job) -> bool:
    try:
        submitter.find(job)
    except BackendError:
        return False
    return True


def test_a_copy_in_the_queue_counts_as_the_job(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = slurm_submitter()
    job = hpc_job(tmp_path / "job", "sleep", {"seconds": 600})
    handle = submitter.submit(job)
    # As if a first `sbatch` had come through that was given up.
    wait_for("the job to start", (tmp_path / "job" / "pids").exists, PATIENCE_S)
    subprocess.run(["sbatch", "batch.sh"], cwd=tmp_path / "job", check=True, capture_output=True)
    copy = max(jobs_named(slurm, job), key=int)
    of_the_copy = str(Handle(copy, "-", batch_name(job), tmp_path / "job"))
    has_failed = lambda: "FAILED" in slurm.run("squeue", "--states=all", "--format=%T", f"--jobs={copy}").stdout  # noqa: E731
    wait_for("the copy to see that the job runs", has_failed, PATIENCE_S)
    assert ask(submitter, of_the_copy).phase is JobPhase.RUNNING
    submitter.cancel([of_the_copy])
    assert kind_at_end(submitter, handle) is FailureKind.CANCELLED


def test_two_campaigns_of_one_name_do_not_take_each_others_jobs(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter = build_submitter(("active_learning.submitters.batch.slurm:Slurm", {}))
    mine, theirs = (hpc_job(tmp_path / folder, "echo", name="same-name-1") for folder in ("mine", "theirs"))
    handle = submitter.submit(theirs)
    assert submitter.find(mine) is None
    assert submitter.find(theirs) == handle
