"""Submitters of batch systems against batch systems that answer oddly, late, wrongly or not at all."""

from __future__ import annotations

import fcntl
import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_batch import FakePrograms
from hypothesis import given
from hypothesis import strategies as st

from active_learning.domain.job import Job, JobPhase, JobReport, JobSpec, Resources
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.names import Handle, batch_name
from active_learning.submitters.batch.slurm import Slurm

WHEN = "2026-11-23T14:42:59"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    folder = tmp_path / "bin"
    folder.mkdir()
    made = FakePrograms(folder)
    made.install(monkeypatch, "sbatch", "squeue", "scancel")
    return made


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path, "job-1")


def make_job(tmp_path: Path, name: str, **asked: Any) -> Job:
    spec = JobSpec("active_learning.testing.job_functions:echo", {})
    return JobDirectory(tmp_path / "jobs" / name).prepare(spec, name, Resources(**{"timeout_s": 600.0} | asked))


def slurm(**options: Any) -> Slurm:
    return Slurm(Slurm.Options.model_validate(options))


def row(job: Job, state: str, *, job_id: str = "7", when: str = WHEN, reason: str = "None") -> str:
    return f"{job_id}|{state}|{when}|{batch_name(job)}|{reason}\n"


def submitted(programs: FakePrograms, job: Job, **options: Any) -> str:
    programs.answer("sbatch", "Submitted batch job 7\n")
    programs.answer("squeue", row(job, "PD"))
    return slurm(**options).submit(job)


def ask(handle: str) -> JobReport:
    return slurm().poll([handle])[handle]


def leave(job: Job, **files: str) -> None:
    for name, text in files.items():
        JobDirectory(Path(job.directory)).write(name.replace("scheduler_out", "scheduler.out"), text)


def kind_of(report: JobReport) -> tuple[JobPhase, FailureKind | None]:
    return report.phase, None if report.failure is None else report.failure.kind


def test_a_handle_says_all_that_tells_a_job_from_others(programs: FakePrograms, job: Job) -> None:
    handle = submitted(programs, job)
    assert handle == f"7 submitted {WHEN} as {batch_name(job)} in {json.dumps(str(job.directory))}"
    arguments, directory, _ = programs.calls("sbatch")[0]
    assert (arguments, directory) == (["batch.sh"], str(job.directory))


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.text(min_size=1))
def test_every_handle_is_one_line_and_is_read_back(directory: str, name: str) -> None:
    job = Job(name, Path("/", directory), (), Resources(1.0))
    handle = Handle("7_1", WHEN, batch_name(job), Path(job.directory))
    assert len(str(handle).splitlines()) == 1
    assert Handle.parse(str(handle)) == handle
    assert shlex.quote(handle.name) == handle.name
    assert len(handle.name) <= 64


@pytest.mark.parametrize("text", ["", "7", "7 submitted x as y in z", '7 submitted x as y in "', "no-such-handle"])
def test_what_is_no_handle_is_no_job_of_ours(programs: FakePrograms, text: str) -> None:
    assert slurm().poll([text]) == {text: JobReport(JobPhase.GONE)}
    slurm().cancel([text])
    assert programs.calls("squeue") == []


def test_names_differ_by_directory(tmp_path: Path) -> None:
    one, other = (Job("a-b-1", tmp_path / folder, (), Resources(1.0)) for folder in ("one", "other"))
    assert batch_name(one) != batch_name(other)
    assert batch_name(one).startswith("a-b-1.")
    assert batch_name(Job("1-b", tmp_path, (), Resources(1.0))).startswith("j1-b.")


def test_the_script_asks_for_what_the_job_needs_and_says_nothing_else(programs: FakePrograms, tmp_path: Path) -> None:
    job = make_job(tmp_path, "job-1", cores=4, memory_mb=2000, timeout_s=90.5)
    options = {
        "queue": "short,long",
        "account": "dft",
        "qos": "high",
        "header": ["--constraint=fast"],
        "environment": ["module load qe", "export A='b c'"],
        "python": "/opt/my python/bin/python",
        "time_margin": "2 min",
    }
    submitted(programs, job, **options)
    lines = (Path(job.directory) / "batch.sh").read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert directives == [
        "--partition=short,long",
        f"--job-name={batch_name(job)}",
        "--nodes=1",
        "--ntasks=4",
        "--mem=1908M",
        "--time=5",
        "--account=dft",
        "--output=scheduler.out",
        "--qos=high",
        "--no-requeue",
        "--open-mode=append",
        "--constraint=fast",
    ]
    assert "module load qe" in lines
    assert "export A='b c'" in lines
    run = next(line for line in lines if line.startswith("timeout"))
    arguments = (
        "timeout --kill-after=30 90.5 '/opt/my python/bin/python' -m active_learning.jobs . >> stdout 2>> stderr"
    )
    assert run == arguments
    assert str(tmp_path) not in "\n".join(lines)


def test_a_queue_is_asked_whether_it_is_there(programs: FakePrograms) -> None:
    programs.answer("squeue", "")
    assert slurm().greet() == "SLURM answers"
    programs.answer("squeue", "", status=1, err="slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(BackendError, match="Unable to contact slurm controller"):
        slurm().greet()


def test_what_the_users_environment_says_to_slurm_does_not_change_what_is_asked(
    programs: FakePrograms, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SBATCH_TIMELIMIT", "SBATCH_WAIT", "SQUEUE_PARTITION", "SQUEUE_STATES", "SLURM_MEM_PER_CPU"):
        monkeypatch.setenv(name, "60")
    monkeypatch.setenv("SLURM_CONF", "/some/where")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    ask(submitted(programs, job))
    ((_, _, kept),) = programs.calls("sbatch")
    assert not kept.keys() & {"SBATCH_TIMELIMIT", "SBATCH_WAIT", "SLURM_MEM_PER_CPU"}
    assert (kept["SLURM_CONF"], kept["TZ"]) == ("/some/where", "Asia/Tokyo")
    for _, _, kept in programs.calls("squeue"):
        assert not kept.keys() & {"SQUEUE_PARTITION", "SQUEUE_STATES"}
        assert (kept["SLURM_CONF"], kept["TZ"], kept["SLURM_TIME_FORMAT"]) == ("/some/where", "UTC", "standard")


def test_one_look_at_the_queue_answers_for_all(programs: FakePrograms, tmp_path: Path) -> None:
    jobs = [Job(f"job-{i}", tmp_path / f"job-{i}", (), Resources(1.0)) for i in range(2000)]
    handles = [str(Handle(str(i), WHEN, batch_name(job), Path(job.directory))) for i, job in enumerate(jobs)]
    programs.answer("squeue", "".join(row(job, "R", job_id=str(i)) for i, job in enumerate(jobs)))
    reports = slurm().poll(handles)
    assert set(reports.values()) == {JobReport(JobPhase.RUNNING)}
    assert len(reports) == 2000
    assert len(programs.calls("squeue")) == 1


def test_the_id_is_found_among_other_words(programs: FakePrograms, job: Job) -> None:
    programs.answer("sbatch", "Welcome to the cluster!\n7 people like it\nSubmitted batch job 7 on cluster big\nBye\n")
    programs.answer("squeue", row(job, "PD"))
    assert slurm().submit(job).startswith("7 submitted")


@pytest.mark.parametrize("out", ["", "Submitted batch job\n", "ok\n", "Submitted batch job seven\n"])
def test_an_answer_without_an_id_leaves_the_job_in_doubt(programs: FakePrograms, job: Job, out: str) -> None:
    programs.answer("sbatch", out)
    with pytest.raises(BackendError, match="no id of a job"):
        slurm().submit(job)
    programs.answer("squeue", row(job, "R"))
    assert slurm().find(job) is not None


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: Batch job submission failed: Invalid partition name specified",
        "sbatch: error: Batch job submission failed: Requested node configuration is not available",
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, ...)",
        "sbatch: unrecognized option '--wrong'",
        "sbatch: error: Invalid --time specification",
    ],
)
def test_a_refusal_is_certain_and_has_slurms_words(programs: FakePrograms, job: Job, said: str) -> None:
    programs.answer("sbatch", err=said + "\n", status=1)
    with pytest.raises(TransientSubmitError, match=said.split(":")[-1].strip().split("(")[0].strip("-'")):
        slurm().submit(job)


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: error: Batch job submission failed: Unexpected message received",
        "Killed",
        "",
    ],
)
def test_what_may_hide_a_job_leaves_it_in_doubt(programs: FakePrograms, job: Job, said: str) -> None:
    programs.answer("sbatch", err=said, status=1)
    with pytest.raises(BackendError, match="SLURM on job-1") as raised:
        slurm().submit(job)
    assert not isinstance(raised.value, TransientSubmitError)


def test_a_command_that_does_not_answer_is_given_up(programs: FakePrograms, job: Job) -> None:
    handle = submitted(programs, job)
    programs.answer("squeue", seconds=600)
    impatient = slurm(answer_within=0.5)
    report = impatient.poll([handle])[handle]
    assert report == JobReport(JobPhase.UNKNOWN, detail="squeue did not answer within 0.5 s")
    with pytest.raises(BackendError, match=r"squeue did not answer within 0\.5 s"):
        impatient.cancel([handle])


def test_programs_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("env", "id"):
        (empty / name).symlink_to(subprocess.run(["which", name], capture_output=True, text=True).stdout.strip())
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(TransientSubmitError, match="sbatch"):
        slurm().submit(job)
    with pytest.raises(BackendError, match="squeue"):
        slurm().find(job)


def test_a_job_that_was_taken_and_is_not_listed_is_in_doubt(programs: FakePrograms, job: Job) -> None:
    programs.answer("sbatch", "Submitted batch job 7\n")
    with pytest.raises(BackendError, match="took job-1 as 7 and does not list it"):
        slurm().submit(job)
    assert slurm().find(job) is None


def test_a_job_that_was_submitted_is_not_submitted_again(programs: FakePrograms, job: Job) -> None:
    handle = submitted(programs, job)
    assert slurm().submit(job) == handle
    assert len(programs.calls("sbatch")) == 1


def test_a_directory_that_ran_is_not_submitted(programs: FakePrograms, job: Job) -> None:
    leave(job, started="1\n")
    with pytest.raises(BackendError, match="runs once"):
        slurm().submit(job)
    assert programs.calls("sbatch") == []


def test_a_handle_that_was_copied_with_its_directory_is_another_jobs(
    programs: FakePrograms, job: Job, tmp_path: Path
) -> None:
    submitted(programs, job)
    copied = make_job(tmp_path, "copied")
    leave(copied, batch_handle=(Path(job.directory) / "batch_handle").read_text())
    assert slurm().find(copied) is None


def test_a_job_is_found_by_its_name_when_its_handle_was_never_written(programs: FakePrograms, job: Job) -> None:
    other = make_job(Path(job.directory).parent, "other")
    programs.answer("squeue", row(other, "R", job_id="6") + row(job, "PD", job_id="9"))
    found = slurm().find(job)
    assert found is not None
    assert Handle.parse(found) == Handle("9", WHEN, batch_name(job), Path(job.directory))
    programs.answer("squeue", status=1)
    assert slurm().find(job) == found


def test_of_several_copies_the_one_that_may_run_is_found(programs: FakePrograms, job: Job) -> None:
    rows = row(job, "F", job_id="8", reason="BadConstraints") + row(job, "F", job_id="9") + row(job, "PD", job_id="10")
    programs.answer("squeue", rows + row(job, "CA", job_id="11"))
    found = slurm().find(job)
    assert found is not None
    assert found.startswith("10 ")


def test_a_job_that_was_only_refused_was_not_launched(programs: FakePrograms, job: Job) -> None:
    programs.answer("squeue", row(job, "F", reason="BadConstraints"))
    assert slurm().find(job) is None


def test_a_job_that_started_and_is_forgotten_is_found_by_its_directory(programs: FakePrograms, job: Job) -> None:
    leave(job, started="1\n")
    handle = slurm().find(job)
    assert handle is not None
    assert handle.startswith("? submitted - as ")
    assert ask(handle).phase is JobPhase.GONE
    leave(job, exit_code="0\n")
    assert ask(handle) == JobReport(JobPhase.ENDED)


def test_a_submission_on_its_way_is_in_doubt(programs: FakePrograms, job: Job) -> None:
    with (Path(job.directory) / "submitting").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for do in (slurm().find, slurm().submit):
            with pytest.raises(BackendError, match="still on its way"):
                do(job)
    assert slurm().find(job) is None


def test_a_job_without_a_directory_is_an_error_that_says_so(programs: FakePrograms, tmp_path: Path) -> None:
    job = Job("job-1", tmp_path / "nowhere", (), Resources(1.0))
    with pytest.raises(BackendError, match=r"cannot make a lock in .*nowhere"):
        slurm().submit(job)


@pytest.mark.parametrize(
    ("state", "reason", "phase", "kind"),
    [
        ("PD", "Priority", JobPhase.QUEUED, None),
        ("CF", "None", JobPhase.QUEUED, None),
        ("RH", "None", JobPhase.QUEUED, None),
        ("R", "None", JobPhase.RUNNING, None),
        ("CG", "None", JobPhase.RUNNING, None),
        ("S", "None", JobPhase.RUNNING, None),
        ("TO", "TimeLimit", JobPhase.ENDED, FailureKind.TIMEOUT),
        ("DL", "None", JobPhase.ENDED, FailureKind.TIMEOUT),
        ("OOM", "OutOfMemory", JobPhase.ENDED, FailureKind.OUT_OF_MEMORY),
        ("NF", "None", JobPhase.ENDED, FailureKind.NODE),
        ("BF", "None", JobPhase.ENDED, FailureKind.NODE),
        ("PR", "None", JobPhase.ENDED, FailureKind.NODE),
        ("CA", "None", JobPhase.ENDED, FailureKind.CANCELLED),
        ("F", "BadConstraints", JobPhase.ENDED, FailureKind.REJECTED),
        # It says that it is over and no file says how: they may be on their way from another host.
        ("F", "NonZeroExitCode", JobPhase.GONE, None),
        ("CD", "None", JobPhase.GONE, None),
        ("ZZ", "None", JobPhase.UNKNOWN, None),
    ],
)
def test_a_state_of_slurm_means(
    programs: FakePrograms, job: Job, state: str, reason: str, phase: JobPhase, kind: FailureKind | None
) -> None:
    handle = submitted(programs, job)
    programs.answer("squeue", row(job, state, reason=reason))
    assert kind_of(ask(handle)) == (phase, kind)


def test_why_a_job_waits_is_told(programs: FakePrograms, job: Job) -> None:
    handle = submitted(programs, job)
    programs.answer("squeue", row(job, "PD", reason="PartitionConfig"))
    assert ask(handle) == JobReport(JobPhase.QUEUED, detail="SLURM: PENDING, PartitionConfig")


def test_an_exit_code_in_the_directory_is_the_last_word(programs: FakePrograms, job: Job) -> None:
    handle = submitted(programs, job)
    leave(job, exit_code="1\n")
    n_calls = len(programs.calls("squeue"))
    programs.answer("squeue", row(job, "TO"))
    assert ask(handle) == JobReport(JobPhase.ENDED)
    assert len(programs.calls("squeue")) == n_calls, "there was nothing to ask"


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({"batch_end": "job 124 600 600\n"}, FailureKind.TIMEOUT, "ran longer than 600 s and was ended"),
        ({"batch_end": "job 137 630 600\n"}, FailureKind.TIMEOUT, "ran longer than 600 s and was ended"),
        ({"batch_end": "job 137 20 600\n"}, FailureKind.CRASHED, "killed by signal 9"),
        ({"batch_end": "job 143 20 600\n"}, FailureKind.CANCELLED, "ended by SIGTERM after 20 s"),
        ({"batch_end": "job 139 2 600\n"}, FailureKind.CRASHED, "status 139"),
        ({"batch_end": "job 1 2 600\n", "stderr": "Trace\nNo module\n"}, FailureKind.CRASHED, "outcome: No module"),
        ({"batch_end": "environment 1 3\n", "scheduler_out": "no qe\n"}, FailureKind.CRASHED, "status 3: no qe"),
        ({"batch_end": "job 0 2 600\n"}, None, ""),
        ({"batch_end": "job"}, None, ""),
        (
            {"scheduler_out": "slurmstepd: error: *** JOB 7 ON n CANCELLED AT 2026 ***\n"},
            FailureKind.CANCELLED,
            "JOB 7",
        ),
        (
            {"scheduler_out": "slurmstepd: error: *** JOB 7 ON n CANCELLED AT 2026 DUE TO TIME LIMIT ***\n"},
            FailureKind.TIMEOUT,
            "DUE TO TIME LIMIT",
        ),
        (
            {"scheduler_out": "slurmstepd: error: *** JOB 7 ON n CANCELLED AT 2026 DUE TO NODE FAILURE, SEE ***\n"},
            FailureKind.NODE,
            "NODE FAILURE",
        ),
        (
            {"scheduler_out": "slurmstepd: error: Step 7.4294967291 exceeded memory limit (160 > 143), being killed\n"},
            FailureKind.OUT_OF_MEMORY,
            "exceeded memory limit",
        ),
        (
            {
                "scheduler_out": "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.\n",
                "batch_end": "job 137 20 600\n",
            },
            FailureKind.OUT_OF_MEMORY,
            "oom_kill",
        ),
    ],
)
@pytest.mark.parametrize("state", ["", "F"])
def test_what_a_forgotten_job_left_says_how_it_ended(
    programs: FakePrograms, job: Job, state: str, files: Mapping[str, str], kind: FailureKind | None, said: str
) -> None:
    handle = submitted(programs, job)
    leave(job, **files)
    programs.answer("squeue", row(job, state) if state else "")
    report = ask(handle)
    assert kind_of(report) == (JobPhase.GONE if kind is None else JobPhase.ENDED, kind)
    assert said in (report.failure.detail if report.failure else "")


def test_memory_that_ran_out_is_seen_behind_a_job_that_is_listed_as_cancelled(programs: FakePrograms, job: Job) -> None:
    handle = submitted(programs, job)
    leave(job, scheduler_out="slurmstepd: error: Exceeded job memory limit\n")
    programs.answer("squeue", row(job, "CA"))
    assert kind_of(ask(handle)) == (JobPhase.ENDED, FailureKind.OUT_OF_MEMORY)


def test_a_controller_that_is_down_is_unknown_for_all_that_are_not_known_to_be_over(
    programs: FakePrograms, job: Job, tmp_path: Path
) -> None:
    handle = submitted(programs, job)
    over = make_job(tmp_path, "over")
    leave(over, exit_code="0\n")
    of_over = str(Handle("6", WHEN, batch_name(over), Path(over.directory)))
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    programs.answer("squeue", err=said, status=1)
    assert slurm().poll([handle, of_over]) == {
        handle: JobReport(JobPhase.UNKNOWN, detail=f"squeue: {said}"),
        of_over: JobReport(JobPhase.ENDED),
    }
    with pytest.raises(BackendError, match="Unable to contact"):
        slurm().cancel([handle])


@pytest.mark.parametrize(
    "listed",
    [
        "7|R|2027-01-01T00:00:00|{name}|None\n",
        "7|R|{when}|somebody-else.0123|None\n",
        "",
        "8|CD|{when}|{name}|None\n",
    ],
)
def test_an_id_that_now_is_another_jobs_is_gone_and_not_cancelled(
    programs: FakePrograms, job: Job, listed: str
) -> None:
    handle = submitted(programs, job)
    programs.answer("squeue", listed.format(name=batch_name(job), when=WHEN).replace("{name}", "x"))
    assert ask(handle).phase is JobPhase.GONE
    if "somebody" in listed:
        slurm().cancel([handle])
        assert programs.calls("scancel") == []


@pytest.mark.parametrize(
    "noise",
    ["\n", "slurm_load_jobs warning: odd\n", "7|R\n", "x|R|a|b|c\n", "\xff\xfe|||||\n", "9|ZZ|a|b|c|d|e\n", "9||||\n"],
)
def test_odd_lines_in_the_queue_hide_no_job(programs: FakePrograms, job: Job, noise: str) -> None:
    handle = submitted(programs, job)
    programs.answer("squeue", noise + row(job, "R") + noise)
    assert ask(handle) == JobReport(JobPhase.RUNNING)


def test_cancel_ends_what_runs_under_our_names_only(programs: FakePrograms, job: Job, tmp_path: Path) -> None:
    over, other = make_job(tmp_path, "over"), make_job(tmp_path, "other")
    handle = submitted(programs, job)
    of_over = str(Handle("6", WHEN, batch_name(over), Path(over.directory)))
    rows = [row(job, "R"), row(job, "PD", job_id="9"), row(over, "CD", job_id="6"), row(other, "R", job_id="5")]
    programs.answer("squeue", "".join(rows))
    slurm().cancel([handle, of_over, "no-such-handle"])
    assert [arguments for arguments, _, _ in programs.calls("scancel")] == [["7", "9"]]
    programs.answer("scancel", err="scancel: error: Kill job error on job id 7: Invalid job id specified", status=1)
    slurm().cancel([handle])
    programs.answer("scancel", err="scancel: error: Unable to contact slurm controller", status=1)
    with pytest.raises(BackendError, match=r"scancel: .*Unable to contact"):
        slurm().cancel([handle])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"header": ["--a=1\n#SBATCH --b=2"]}, "must be one line"),
        ({"header": ["constraint=fast"]}, "begins with a dash"),
        ({"environment": ["module load qe\nrm -rf x"]}, "must be one line"),
        ({"environment": [" "]}, "must be one line"),
        ({"queue": "short; rm -rf x"}, "is not a name"),
        ({"account": "$(whoami)"}, "is not a name"),
        ({"qos": "--wrap=x"}, "is not a name"),
        ({"host": "-oProxyCommand=x", "directory": "a", "python": "b"}, "is not a host"),
        ({"host": "me@big machine", "directory": "a", "python": "b"}, "is not a host"),
        ({"host": "cluster"}, "say also directory and python"),
        ({"host": "cluster", "directory": "x"}, "say also python"),
        ({"directory": "x", "port": 22}, "directory, port only makes sense with `host`"),
        ({"host": "cluster", "directory": "~other/x", "python": "b"}, "is not a folder"),
        ({"host": "cluster", "directory": "a\nb", "python": "b"}, "must be one line"),
        ({"password": "secret"}, "Extra inputs are not permitted"),
        ({"answer_within": "soon"}, "is not a duration"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        slurm(**options)


def test_a_key_may_stand_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    options = {"host": "me@cluster", "directory": "~/jobs", "python": "python3", "identity_file": "~/.ssh/key"}
    read = Slurm.Options.model_validate(options, context={"base": Path("/elsewhere")})
    assert (read.identity_file, read.directory) == (tmp_path / ".ssh/key", "jobs")
    beside = Slurm.Options.model_validate(options | {"identity_file": "key"}, context={"base": Path("/elsewhere")})
    assert beside.identity_file == Path("/elsewhere/key")
