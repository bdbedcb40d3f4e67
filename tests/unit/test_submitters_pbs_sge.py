"""PBS and Grid Engine, against what their commands are recorded to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_batch import FakePrograms

from active_learning.domain.job import Job, JobPhase, JobReport, JobSpec, Resources
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.names import batch_name
from active_learning.submitters.batch.pbs import Pbs
from active_learning.submitters.batch.sge import Sge

WHEN = "Mon Nov 23 14:42:59 2026"
PBS_JOB = """\
Job Id: {job_id}
    Job_Name = {name}
    Job_Owner = me@login1.cluster
    resources_used.walltime = 00:00:55
    job_state = {state}
    queue = workq
    server = scheduler
    ctime = {when}
    Error_Path = login1.cluster:/home/me/jobs/scheduler.out
    mtime = Mon Nov 23 14:52:59 2026
    Resource_List.select = 1:ncpus=4:mpiprocs=4
    Variable_List = PBS_O_HOME=/home/me,PBS_O_LANG=en_US.UTF-8,
        PBS_O_WORKDIR=/home/me/jobs,LIE=
        job_state = F
{more}    etime = Mon Nov 23 14:42:59 2026
    project = _pbs_project_default

"""
SGE_QUEUE = """<?xml version='1.0'?>
<job_info xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <queue_info>{running}
  </queue_info>
  <job_info>{waiting}
  </job_info>
</job_info>
"""
SGE_JOB = """
    <job_list state="x">
      <JB_job_number>{job_id}</JB_job_number>
      <JAT_prio>0.55500</JAT_prio>
      <JB_name>{name}</JB_name>
      <JB_owner>me</JB_owner>
      <state>{state}</state>
      <slots>1</slots>
    </job_list>"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    folder = tmp_path / "bin"
    folder.mkdir()
    made = FakePrograms(folder)
    made.install(monkeypatch, "qsub", "qstat", "qselect", "qdel")
    return made


def make_job(tmp_path: Path, name: str = "job-1", **asked: Any) -> Job:
    spec = JobSpec("active_learning.testing.job_functions:echo", {})
    return JobDirectory(tmp_path / "jobs" / name).prepare(spec, name, Resources(**{"timeout_s": 3600.0} | asked))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path)


def pbs(**options: Any) -> Pbs:
    return Pbs(Pbs.Options.model_validate(options))


def sge(**options: Any) -> Sge:
    return Sge(Sge.Options.model_validate(options))


def pbs_says(job: Job, state: str, *, job_id: str = "7.scheduler", when: str = WHEN, more: str = "") -> str:
    lines = "".join(f"    {line}\n" for line in more.splitlines())
    return PBS_JOB.format(job_id=job_id, name=batch_name(job), state=state, when=when, more=lines)


def on_pbs(programs: FakePrograms, job: Job, **options: Any) -> str:
    programs.answer("qsub", "7.scheduler\n")
    programs.answer("qstat", pbs_says(job, "Q"))
    return pbs(**options).submit(job)


def on_sge(programs: FakePrograms, job: Job, **options: Any) -> str:
    programs.answer("qsub", f'Your job 7 ("{batch_name(job)}") has been submitted\n')
    sge_lists(programs, job, "qw")
    return sge(**options).submit(job)


def sge_lists(programs: FakePrograms, job: Job, state: str) -> None:
    listed = SGE_JOB.format(job_id=7, name=batch_name(job), state=state)
    is_running = "r" in state
    queue = SGE_QUEUE.format(running=listed if is_running else "", waiting="" if is_running else listed)
    programs.answer("qstat", queue)


def directives(job: Job, mark: str) -> list[str]:
    lines = (Path(job.directory) / "batch.sh").read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    return [line.removeprefix(mark) for line in lines if line.startswith(mark)]


def of(report: JobReport) -> tuple[JobPhase, FailureKind | None]:
    return report.phase, None if report.failure is None else report.failure.kind


def test_pbs_is_asked_for_what_the_job_needs(programs: FakePrograms, tmp_path: Path) -> None:
    job = make_job(tmp_path, cores=4, memory_mb=4000)
    handle = on_pbs(programs, job, queue="workq", account="dft", header=["-l software=qe"])
    assert handle.startswith(f"7.scheduler submitted Mon_Nov_23_14:42:59_2026 as {batch_name(job)} in ")
    assert directives(job, "#PBS ") == [
        "-q workq",
        f"-N {batch_name(job)}",
        "-A dft",
        "-l select=1:ncpus=4:mpiprocs=4:mem=3816mb",
        "-l walltime=1:1:30",
        "-l place=pack",
        "-o scheduler.out",
        "-r n",
        "-j oe",
        "-W umask=077",
        "-l software=qe",
    ]
    assert 'cd -- "$PBS_O_WORKDIR" || exit' in (Path(job.directory) / "batch.sh").read_text().splitlines()
    assert [(arguments, directory) for arguments, directory, _ in programs.calls("qsub")] == [
        (["batch.sh"], str(job.directory))
    ]


@pytest.mark.parametrize(
    ("state", "more", "phase", "kind"),
    [
        ("Q", "comment = Not Running: Insufficient amount of resource: ncpus", JobPhase.QUEUED, None),
        ("H", "", JobPhase.QUEUED, None),
        ("W", "", JobPhase.QUEUED, None),
        ("R", "", JobPhase.RUNNING, None),
        ("E", "", JobPhase.RUNNING, None),
        ("S", "", JobPhase.RUNNING, None),
        ("F", "Exit_status = 0", JobPhase.GONE, None),
        ("F", "Exit_status = 1", JobPhase.GONE, None),
        ("F", "Exit_status = -29", JobPhase.ENDED, FailureKind.TIMEOUT),
        ("F", "Exit_status = -27", JobPhase.ENDED, FailureKind.OUT_OF_MEMORY),
        ("F", "Exit_status = 271", JobPhase.ENDED, FailureKind.CANCELLED),
        ("F", "", JobPhase.ENDED, FailureKind.CANCELLED),
        ("?", "", JobPhase.UNKNOWN, None),
    ],
)
def test_a_state_of_pbs_means(
    programs: FakePrograms, job: Job, state: str, more: str, phase: JobPhase, kind: FailureKind | None
) -> None:
    handle = on_pbs(programs, job)
    programs.answer("qstat", pbs_says(job, state, more=more))
    report = pbs().poll([handle])[handle]
    assert of(report) == (phase, kind)
    if "comment" in more:
        assert report.detail == "PBS: Q, Not Running: Insufficient amount of resource: ncpus"


def test_jobs_that_pbs_does_not_know_hide_no_others(programs: FakePrograms, job: Job, tmp_path: Path) -> None:
    handle, gone = on_pbs(programs, job), make_job(tmp_path, "gone")
    of_gone = handle.replace("7.scheduler", "6.scheduler").replace(batch_name(job), batch_name(gone))
    programs.answer("qstat", pbs_says(job, "R"), err="qstat: Unknown Job Id 6.scheduler\n", status=153)
    reports = pbs().poll([handle, of_gone])
    assert [reports[one].phase for one in (handle, of_gone)] == [JobPhase.RUNNING, JobPhase.GONE]
    arguments, _, kept = programs.calls("qstat")[-1]
    assert (arguments, kept["TZ"]) == (["-x", "-f", "-w", "7.scheduler", "6.scheduler"], "UTC")


def test_a_pbs_without_a_history_is_asked_without_it(programs: FakePrograms, job: Job) -> None:
    handle = on_pbs(programs, job)
    programs.answer("qstat", err="qstat: PBS is not configured to maintain job history\n", status=1)
    programs.answer("qstat", pbs_says(job, "R"), to="-f -w 7.scheduler")
    assert pbs().poll([handle])[handle].phase is JobPhase.RUNNING


def test_an_id_that_pbs_gives_again_is_another_job(programs: FakePrograms, job: Job) -> None:
    handle = on_pbs(programs, job)
    programs.answer("qstat", pbs_says(job, "R", when="Tue Nov 24 00:00:00 2026"))
    assert pbs().poll([handle])[handle].phase is JobPhase.GONE


def test_a_pbs_that_is_down_is_unknown(programs: FakePrograms, job: Job) -> None:
    handle = on_pbs(programs, job)
    said = "qstat: cannot connect to server scheduler (errno=15010)"
    programs.answer("qstat", err=said, status=255)
    programs.answer("qselect", err=said, status=255)
    assert pbs().poll([handle]) == {handle: JobReport(JobPhase.UNKNOWN, detail=f"qstat: {said}")}
    (Path(job.directory) / "batch_handle").unlink()
    with pytest.raises(BackendError, match="cannot connect to server"):
        pbs().find(job)


def test_a_job_is_found_on_pbs_by_its_name(programs: FakePrograms, job: Job) -> None:
    handle = on_pbs(programs, job)
    (Path(job.directory) / "batch_handle").unlink()
    assert pbs().find(job) is None
    programs.answer("qselect", "7.scheduler\n")
    assert pbs().find(job) == handle
    assert programs.calls("qselect")[-1][0] == ["-x", "-N", batch_name(job)]


@pytest.mark.parametrize(
    ("said", "is_certain"),
    [
        ("qsub: Unknown queue", True),
        ("qsub: Job exceeds queue resource limits", True),
        ("qsub: Job violates queue and/or server resource limits: walltime", True),
        ("qsub: cannot connect to server scheduler (errno=111)", False),
        ("Connection timed out", False),
        ("qsub: Premature end of message", False),
    ],
)
def test_what_pbs_refuses_is_told_from_what_may_hide_a_job(
    programs: FakePrograms, job: Job, said: str, is_certain: bool
) -> None:
    programs.answer("qsub", err=said + "\n", status=1)
    with pytest.raises(BackendError, match="PBS on job-1") as raised:
        pbs().submit(job)
    assert isinstance(raised.value, TransientSubmitError) is is_certain


def test_pbs_cancels_what_it_lists(programs: FakePrograms, job: Job) -> None:
    handle = on_pbs(programs, job)
    programs.answer("qdel", err="qdel: Job has finished 7.scheduler", status=35)
    pbs().cancel([handle])
    assert [arguments for arguments, _, _ in programs.calls("qdel")] == [["7.scheduler"]]
    programs.answer("qdel", err="qdel: cannot connect to server", status=255)
    with pytest.raises(BackendError, match=r"qdel: .*cannot connect"):
        pbs().cancel([handle])


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("=>> PBS: job killed: walltime 3650 exceeded limit 3600", FailureKind.TIMEOUT),
        ("=>> PBS: job killed: mem 2097152kb exceeded limit 1048576kb", FailureKind.OUT_OF_MEMORY),
    ],
)
def test_what_pbs_writes_into_the_output_is_read(
    programs: FakePrograms, job: Job, said: str, kind: FailureKind
) -> None:
    handle = on_pbs(programs, job)
    JobDirectory(Path(job.directory)).write("scheduler.out", said + "\n")
    programs.answer("qstat", err="qstat: Unknown Job Id 7.scheduler\n", status=153)
    assert of(pbs().poll([handle])[handle]) == (JobPhase.ENDED, kind)


def test_grid_engine_is_asked_for_what_the_job_needs(programs: FakePrograms, tmp_path: Path) -> None:
    job = make_job(tmp_path, cores=4, memory_mb=4000)
    handle = on_sge(programs, job, queue="all.q", parallel_environment="mpi", header=["-l gpu=1"])
    assert handle.startswith(f"7 submitted - as {batch_name(job)} in ")
    assert directives(job, "#$ ") == [
        "-cwd ",
        "-q all.q",
        f"-N {batch_name(job)}",
        "-l h_rt=1:02:00",
        "-pe mpi 4",
        "-o scheduler.out",
        "-r n",
        "-S /bin/bash",
        "-j y",
        "-l h_vmem=954M",
        "-l gpu=1",
    ]


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("qw", JobPhase.QUEUED),
        ("hqw", JobPhase.QUEUED),
        ("Eqw", JobPhase.QUEUED),
        ("r", JobPhase.RUNNING),
        ("t", JobPhase.RUNNING),
        ("Rr", JobPhase.RUNNING),
        ("dr", JobPhase.RUNNING),
        ("S", JobPhase.RUNNING),
        ("?", JobPhase.UNKNOWN),
    ],
)
def test_a_state_of_grid_engine_means(programs: FakePrograms, job: Job, state: str, phase: JobPhase) -> None:
    handle = on_sge(programs, job)
    sge_lists(programs, job, state)
    report = sge().poll([handle])[handle]
    assert (report.phase, report.failure) == (phase, None)
    assert (state in report.detail) == (phase is not JobPhase.RUNNING)


def test_what_grid_engine_forgot_is_read_from_the_directory(programs: FakePrograms, job: Job) -> None:
    handle = on_sge(programs, job)
    programs.answer("qstat", SGE_QUEUE.format(running="", waiting=""))
    assert sge().poll([handle])[handle].phase is JobPhase.GONE
    JobDirectory(Path(job.directory)).write("batch_end", "job 124 3600 3600\n")
    assert of(sge().poll([handle])[handle]) == (JobPhase.ENDED, FailureKind.TIMEOUT)


def test_a_grid_engine_that_is_down_or_mumbles_is_unknown(programs: FakePrograms, job: Job) -> None:
    handle = on_sge(programs, job)
    programs.answer("qstat", err="error: commlib error: got select error (Connection refused)", status=1)
    assert sge().poll([handle])[handle].phase is JobPhase.UNKNOWN
    programs.answer("qstat", "<job_info><queue_")
    assert "its XML cannot be read" in sge().poll([handle])[handle].detail
    with pytest.raises(BackendError, match="cannot be read"):
        sge().cancel([handle])


@pytest.mark.parametrize(
    ("said", "is_certain"),
    [
        ('Unable to run job: unknown resource "h_vmm"\nExiting.', True),
        ("qsub: Unknown option -q1", True),
        ("Unable to run job: got no response from JSV script / commlib error\nExiting.", False),
        (
            "error: commlib error: got select error (Connection refused)\nUnable to run job: unable to contact qmaster",
            False,
        ),
    ],
)
def test_what_grid_engine_refuses_is_told_from_what_may_hide_a_job(
    programs: FakePrograms, job: Job, said: str, is_certain: bool
) -> None:
    programs.answer("qsub", err=said + "\n", status=1)
    with pytest.raises(BackendError, match="Grid Engine on job-1") as raised:
        sge().submit(job)
    assert isinstance(raised.value, TransientSubmitError) is is_certain


def test_grid_engine_cancels_what_it_lists(programs: FakePrograms, job: Job) -> None:
    handle = on_sge(programs, job)
    sge().cancel([handle])
    assert [arguments for arguments, _, _ in programs.calls("qdel")] == [["7"]]
