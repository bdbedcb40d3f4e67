"""The submitter `command`: a home-made queue that misbehaves, campaigns killed while they submit, and bad templates."""

from __future__ import annotations

import fcntl
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from doomed_campaigns import start_campaign
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from wild_jobs import make_job

from active_learning.domain.job import Job, JobPhase, JobReport, Resources
from active_learning.domain.label import FailureKind
from active_learning.domain.protocols import Cancels, DiesWithProcess
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.command import submission, submission_process
from active_learning.submitters.command.programs import ask
from active_learning.submitters.command.submitter import Command
from active_learning.submitters.command.templates import fill
from active_learning.testing.waiting import wait_for

PATIENCE_S = 60.0
QUEUE = Path(__file__).parents[1] / "helpers" / "home_queue.py"
Make = Callable[..., Job]
STATES = {"Q": "queued", "R": "running", "C": "ended", "TO": "timeout", "X": "cancelled"}


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """The folder of a queue; what lies in it makes it misbehave."""
    folder = tmp_path / "queue"
    folder.mkdir()
    return folder


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    program = [sys.executable, "-I", "-S", str(QUEUE), str(folder)]
    return {
        "submit": [*program, "submit", "{name}", "{seconds}", "{script}"],
        "status": [*program, "list"],
        "cancel": [*program, "cancel", "{handle}"],
        "handle_pattern": r"job (\d+)",
        "status_pattern": r"^\s*(?P<id>\d+) (?P<state>\S+)\s+'(?P<name>.*)'$",
        "states": STATES,
        **changes,
    }


def nameless(folder: Path, **changes: Any) -> dict[str, Any]:
    """The same for a queue that lists no names."""
    program = [sys.executable, "-I", "-S", str(QUEUE), str(folder)]
    pattern = r"^\s*(?P<id>\d+) (?P<state>\S+)"
    return options(folder, status=[*program, "list", "{handles}"], status_pattern=pattern, **changes)


def build(table: Mapping[str, Any]) -> Command:
    return Command(Command.Options.model_validate(dict(table)))


@pytest.fixture
def submitter(queue: Path) -> Command:
    return build(options(queue))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(make_job, tmp_path)


def settle(submitter: Command, *handles: str) -> list[JobReport]:
    def is_over() -> bool:
        return all(report.phase is JobPhase.ENDED for report in submitter.poll(handles).values())

    wait_for("all jobs to end", is_over, PATIENCE_S)
    return [submitter.poll([handle])[handle] for handle in handles]


def result(job: Job) -> Mapping[str, Any]:
    outcome = JobDirectory(Path(job.directory)).outcome()
    assert outcome is not None
    assert outcome.result is not None, outcome.stderr_tail
    return outcome.result


def n_launched(queue: Path) -> int:
    return sum(path.is_dir() for path in queue.iterdir())


def test_its_jobs_outlive_the_campaign_and_can_be_cancelled(submitter: Command) -> None:
    assert not isinstance(submitter, DiesWithProcess)
    assert isinstance(submitter, Cancels)


def test_a_handle_is_the_queues_number_and_the_jobs_name(submitter: Command, make: Make) -> None:
    job = make("stamps", {"seconds": 0}, name="fcc-1")
    handle = submitter.submit(job)
    assert handle == "1 fcc-1"
    assert [report.failure for report in settle(submitter, handle)] == [None]
    assert result(job)["end"] > 0


def test_the_queues_words_become_failures(submitter: Command, make: Make) -> None:
    late, cancelled = (
        make("stamps", {"seconds": 600}, name="late", timeout_s=1.5),
        make("stamps", {"seconds": 600}, name="cancelled"),
    )
    handles = [submitter.submit(late), submitter.submit(cancelled)]
    submitter.cancel(handles[1:])
    reports = settle(submitter, *handles)
    kinds = [(report.failure.kind, report.failure.detail) for report in reports if report.failure]
    assert kinds == [
        (FailureKind.TIMEOUT, "the queue says 'TO' of job 1"),
        (FailureKind.CANCELLED, "the queue says 'X' of job 2"),
    ]


def test_a_word_that_has_no_meaning_is_unknown_and_never_an_end(queue: Path, make: Make) -> None:
    submitter = build(options(queue, states={"Q": "queued"}))
    handle = submitter.submit(make("stamps", {"seconds": 0}))
    wait_for("the end", lambda: (queue / "1" / "state").read_text() == "C", PATIENCE_S)
    assert submitter.poll([handle])[handle] == JobReport(JobPhase.UNKNOWN)


def test_a_job_that_is_not_listed_is_gone(submitter: Command, make: Make) -> None:
    assert submitter.poll(["17 fcc-1"]) == {"17 fcc-1": JobReport(JobPhase.GONE)}


def test_a_number_that_the_queue_uses_again_is_not_taken_for_the_job(
    submitter: Command, make: Make, queue: Path
) -> None:
    handle = submitter.submit(make("stamps", {"seconds": 600}, name="other"))
    ours = handle.replace("other", "ours")
    assert submitter.poll([ours])[ours].phase is JobPhase.GONE
    submitter.cancel([ours])
    assert not (queue / "1" / "cancelled").exists()
    submitter.cancel([handle])
    settle(submitter, handle)


@pytest.mark.parametrize("fault", ["down", "hang"])
def test_a_queue_that_does_not_answer_makes_all_unknown_and_nothing_certain(
    fault: str, queue: Path, make: Make
) -> None:
    submitter = build(options(queue, answer_within=0.5 if fault == "hang" else 30))
    running, doubtful = make("stamps", {"seconds": 0}), make("stamps", {"seconds": 0}, name="b")
    handle = build(options(queue)).submit(running)
    (queue / fault).touch()
    assert submitter.poll([handle, "2 b"]) == dict.fromkeys([handle, "2 b"], JobReport(JobPhase.UNKNOWN))
    expected = TransientSubmitError if fault == "down" else BackendError
    with pytest.raises(expected, match="cannot reach the queue" if fault == "down" else r"did not end within 0\.5 s"):
        submitter.submit(doubtful)
    with pytest.raises(BackendError, match=r"status 1: cannot reach|did not answer within 0\.5 s"):
        submitter.cancel([handle])


def test_a_submit_command_that_fails_launched_nothing_and_may_be_tried_again(
    submitter: Command, make: Make, queue: Path
) -> None:
    job = make("stamps", {"seconds": 0})
    (queue / "full").touch()
    with pytest.raises(TransientSubmitError, match="status 1: the queue is full"):
        submitter.submit(job)
    assert submitter.find(job) is None
    (queue / "full").unlink()
    handle = submitter.submit(job)
    assert submitter.find(job) == handle
    settle(submitter, handle)


def test_a_submit_command_that_cannot_be_run_launched_nothing(queue: Path, make: Make) -> None:
    submitter, job = build(options(queue, submit=["/no/such/qsub", "{script}"])), make("stamps", {"seconds": 0})
    with pytest.raises(TransientSubmitError, match="cannot run /no/such/qsub: No such file or directory"):
        submitter.submit(job)
    assert submitter.find(job) is None


def test_a_submit_command_that_takes_too_long_is_in_doubt_until_it_has_ended(queue: Path, make: Make) -> None:
    submitter, job = build(options(queue, answer_within=0.5)), make("stamps", {"seconds": 0})
    (queue / "slow").write_text("2")
    with pytest.raises(BackendError, match=r"did not end within 0\.5 s"):
        submitter.submit(job)
    with pytest.raises(BackendError, match="still runs"):
        submitter.find(job)
    with pytest.raises(BackendError, match="still runs"):
        submitter.submit(job)
    wait_for("the command to end", (Path(job.directory) / "submitted").exists, PATIENCE_S)
    patient = build(options(queue))
    assert patient.find(job) == "1 a-1"
    settle(patient, "1 a-1")
    assert n_launched(queue) == 1


def test_a_number_that_was_not_printed_is_found_by_the_jobs_name(submitter: Command, make: Make, queue: Path) -> None:
    job = make("stamps", {"seconds": 0}, name="quiet")
    (queue / "mute").touch()
    with pytest.raises(BackendError, match="no number for it by handle_pattern"):
        submitter.submit(job)
    assert submitter.find(job) == "1 quiet"
    settle(submitter, "1 quiet")


def test_without_names_a_number_that_was_not_printed_leaves_the_job_to_its_files(queue: Path, make: Make) -> None:
    submitter = build(nameless(queue))
    job = make("stamps", {"seconds": 0}, name="quiet")
    (queue / "mute").touch()
    with pytest.raises(BackendError, match="no number for it by handle_pattern"):
        submitter.submit(job)
    wait_for("the job to end", (Path(job.directory) / "exit_code").exists, PATIENCE_S)
    handle = submitter.find(job)
    assert handle == " quiet"
    # The queue cannot be asked about it, so it never says that the job ended; the files did.
    assert submitter.poll([handle])[handle].phase is JobPhase.UNKNOWN
    submitter.cancel([handle])


@pytest.mark.parametrize("number", ["--all", "a b", ""])
def test_what_cannot_stand_as_an_argument_is_no_number(number: str, queue: Path, make: Make) -> None:
    submitter = build(options(queue, submit=["echo", f"id: [{number}]", "{script}"], handle_pattern=r"\[(.*)\]"))
    with pytest.raises(BackendError, match="no number for it by handle_pattern"):
        submitter.submit(make("stamps", {"seconds": 0}))


def test_what_a_job_needs_stands_in_the_command(queue: Path, make: Make, tmp_path: Path) -> None:
    shown = ["{name}", "{script}", "{directory}", "{cores}", "{memory_mb}", "{seconds}", "--mem={memory_mb}M", "{{}}"]
    submitter = build(options(queue, submit=["printf", r"%s\n", *shown], memory_mb=900, handle_pattern=r"^(\S+)"))
    for resources, memory in (({}, "900"), ({"cores": 3, "memory_mb": 4000}, "4000")):
        job = make("stamps", {"seconds": 0}, name="fcc-1", timeout_s=60.2, **resources)
        submitter.submit(job)
        printed = (Path(job.directory) / "submit.out").read_text().splitlines()
        directory, cores = str(job.directory), str(job.resources.cores)
        assert printed == [
            "fcc-1", f"{directory}/queue.sh", directory, cores, memory, "61", f"--mem={memory}M", "{}"
        ]  # fmt: skip


def test_the_script_has_the_lines_and_the_interpreter_of_the_other_machine(queue: Path, make: Make) -> None:
    lines = ["export QE_HOME='/opt/q e'", "ulimit -c 0"]
    submitter = build(options(queue, environment=lines, python=sys.executable))
    job = make("circumstances", {"keys": ["QE_HOME"]})
    settle(submitter, submitter.submit(job))
    assert result(job)["environment"] == '{"QE_HOME": "/opt/q e"}'
    script = (Path(job.directory) / "queue.sh").read_text().splitlines()
    run = f"exec {sys.executable} -m active_learning.jobs {job.directory}"
    assert script == ["#!/bin/sh", "umask 077", *lines, run]


HOSTILE = ["a job", "$(touch evil)", "`touch evil`; touch evil #", "two\nlines", "'\"\\", "é✓", "{directory}", "{0}"]


def test_hostile_names_are_arguments_only(queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    submitter = build(nameless(queue))
    jobs = [make_job(tmp_path / "$(touch evil) ;\n here", "stamps", {"seconds": 0}, name=name) for name in HOSTILE]
    handles = [submitter.submit(job) for job in jobs]
    settle(submitter, *handles)
    assert [submitter.find(job) for job in jobs] == handles
    assert all(result(job)["end"] > 0 for job in jobs)
    assert {(queue / str(n + 1) / "name").read_text() for n in range(len(HOSTILE))} == set(HOSTILE)
    assert not list(tmp_path.rglob("*evil")), "something was run"
    for job in jobs:
        modes = {file.name: file.stat().st_mode & 0o777 for file in Path(job.directory).iterdir()}
        assert set(modes.values()) == {0o600}, modes


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="{}")), min_size=1), st.text())
def test_filling_in_changes_placeholders_only_and_never_the_number_of_arguments(words: list[str], name: str) -> None:
    filled = fill([*words, "{name}", "-n{name}"], {"name": name})
    assert filled == [*words, name, f"-n{name}"]


def test_cancel_asks_once_for_all_or_once_for_each(queue: Path, make: Make) -> None:
    program = [sys.executable, "-I", "-S", str(QUEUE), str(queue)]
    for number, template in enumerate((["{handle}"], ["{handles}"])):
        submitter = build(options(queue, cancel=[*program, "cancel", *template]))
        handles = [submitter.submit(make("stamps", {"seconds": 600}, name=f"j{number}{i}")) for i in range(2)]
        submitter.cancel([*handles, "77 unknown", " nameless"])
        assert [report.failure and report.failure.kind for report in settle(submitter, *handles)] == ["cancelled"] * 2
        submitter.cancel(handles)


def test_a_cancel_command_that_fails_while_the_job_lives_says_so(queue: Path, make: Make) -> None:
    broken = build(options(queue, cancel=["sh", "-c", "echo not allowed >&2; exit 3", "{handle}"]))
    handle = broken.submit(make("stamps", {"seconds": 600}))
    with pytest.raises(BackendError, match="sh ended with status 3: not allowed"):
        broken.cancel([handle])
    whole = build(options(queue))
    whole.cancel([handle])
    settle(whole, handle)
    broken.cancel([handle])


def test_a_program_that_leaves_another_behind_with_its_output_is_not_waited_for() -> None:
    begin = time.monotonic()
    assert ask(["sh", "-c", "sleep 60 & echo said"], 30) == "said\n"
    assert time.monotonic() - begin < 30
    with pytest.raises(BackendError, match=r"did not answer within 0\.2 s"):
        ask(["sh", "-c", "sleep 60 & sleep 60"], 0.2)


# --- a campaign or its submit command is killed ---


def campaign_of(table: Mapping[str, Any], job: Job) -> BaseProcess:
    """A process that submits the job, when it has begun to."""
    campaign = start_campaign(("active_learning.submitters.command.submitter:Command", table), job)
    wait_for("the submission to begin", (Path(job.directory) / "submitting").exists, PATIENCE_S)
    return campaign


@pytest.mark.parametrize("table", [options, nameless])
def test_a_campaign_that_is_killed_while_the_command_runs_finds_its_job_when_that_is_over(
    table: Callable[[Path], dict[str, Any]], queue: Path, make: Make
) -> None:
    submitter, job = build(table(queue)), make("stamps", {"seconds": 0}, name="fcc-1")
    (queue / "slow").write_text("1")
    campaign = campaign_of(table(queue), job)
    wait_for("the command to begin", (Path(job.directory) / "submit.out").exists, PATIENCE_S)
    campaign.kill()
    campaign.join()
    with pytest.raises(BackendError, match="still runs"):
        submitter.find(job)
    wait_for("the command to end", (Path(job.directory) / "submitted").exists, PATIENCE_S)
    assert submitter.find(job) == "1 fcc-1"
    settle(submitter, "1 fcc-1")


def test_a_command_that_fails_after_the_campaign_was_killed_launched_nothing(queue: Path, make: Make) -> None:
    table = options(queue, submit=["sh", "-c", "sleep 1; exit 1", "{script}"])
    submitter, job = build(table), make("stamps", {"seconds": 0})
    campaign = campaign_of(table, job)
    wait_for("the command to begin", (Path(job.directory) / "submit.out").exists, PATIENCE_S)
    campaign.kill()
    campaign.join()
    wait_for("the command to end", (Path(job.directory) / "submitted").exists, PATIENCE_S)
    assert submitter.find(job) is None


def test_campaigns_that_are_killed_at_any_moment_of_submitting_launch_each_job_once(
    queue: Path, make: Make, tmp_path: Path
) -> None:
    submitter, rng = build(nameless(queue)), random.Random(11)
    jobs = [make("count_runs", {"file": str(tmp_path / f"runs-{i}")}, name=f"j{i}") for i in range(12)]
    handles, adopted = [], 0
    for job in jobs:
        campaign = campaign_of(nameless(queue), job)
        time.sleep(rng.uniform(0.0, 0.2))
        campaign.kill()
        campaign.join()

        wait_for("certainty", lambda where=job.directory: submission.look(Path(where)).fate != "busy", PATIENCE_S)
        handle = submitter.find(job)
        adopted += handle is not None
        handles.append(handle or submitter.submit(job))
    settle(submitter, *handles)
    assert n_launched(queue) == len(jobs)
    assert [len((tmp_path / f"runs-{i}").read_text().splitlines()) for i in range(12)] == [1] * 12
    assert adopted, "no campaign came as far as the launch: the test shows nothing"


def cut_off(job: Job, printed: str = "") -> None:
    """As after a power failure while the submit command ran."""
    (Path(job.directory) / "submitting").touch()
    (Path(job.directory) / "submit.out").write_text(printed)


def test_a_submission_that_was_cut_off_is_looked_for_by_name(submitter: Command, queue: Path, make: Make) -> None:
    launched, lost = make("stamps", {"seconds": 0}, name="launched"), make("stamps", {"seconds": 0}, name="lost")
    handle = submitter.submit(launched)
    (Path(launched.directory) / "submitted").unlink()
    cut_off(launched)
    cut_off(lost)
    settle(submitter, handle)
    assert submitter.find(launched) == handle
    assert submitter.find(lost) is None
    (queue / "down").touch()
    with pytest.raises(BackendError, match="cannot reach the queue"):
        submitter.find(lost)


def test_without_names_a_submission_that_was_cut_off_is_known_by_what_was_printed_or_asks_a_person(
    queue: Path, make: Make
) -> None:
    submitter, job = build(nameless(queue)), make("stamps", {"seconds": 0})
    cut_off(job, "submitted as job 12, good luck\n")
    assert submitter.find(job) == "12 a-1"
    cut_off(job)
    with pytest.raises(BackendError, match=r"look into the queue, and if it has no such job, remove .*submit\.out"):
        submitter.find(job)
    JobDirectory(Path(job.directory)).start()
    assert submitter.find(job) == " a-1"


def command_lines() -> Iterator[tuple[int, set[str]]]:
    """Processes with the words of their command lines, those of JSON in them as well."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield int(entry.name), set(re.split(r'[\0"]', (entry / "cmdline").read_text(errors="replace")))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_killed_submission_process_leaves_the_lock_to_the_command(queue: Path, make: Make) -> None:
    submitter, job = build(options(queue, answer_within=0.3)), make("stamps", {"seconds": 0})
    (queue / "slow").write_text("2")
    with pytest.raises(BackendError, match="did not end within"):
        submitter.submit(job)
    watchers = [pid for pid, line in command_lines() if {submission_process.__file__, str(job.directory)} <= line]
    assert len(watchers) == 1
    os.kill(watchers[0], signal.SIGKILL)
    with pytest.raises(BackendError, match="still runs"):
        submitter.find(job)
    (queue / "slow").unlink()
    # Only then the queue itself can tell; here the job that it starts holds the lock on, as the queue hands it down.
    wait_for("the job to end", (Path(job.directory) / "exit_code").exists, PATIENCE_S)
    patient = build(options(queue))
    wait_for("the lock to be free", lambda: submission.look(Path(job.directory)).fate == "cut off", PATIENCE_S)
    assert patient.find(job) == "1 a-1"


def test_files_that_cannot_be_locked_are_a_backend_that_fails(
    submitter: Command, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    job = make("stamps", {"seconds": 0})
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BackendError, match="cannot lock files"):
        submitter.submit(job)


# --- bad options ---


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"submit": []}, "a command is a list of arguments"),
        ({"submit": ["", "{script}"]}, "a command is a list of arguments"),
        ({"submit": ["qsub", "{scrpt}"]}, "no placeholder {scrpt} here; known: {cores}, {directory}, {memory_mb}"),
        ({"submit": ["qsub", "{handle}", "{script}"]}, "no placeholder {handle} here"),
        ({"submit": ["qsub", "{}", "{script}"]}, "no placeholder {} here"),
        ({"submit": ["qsub"]}, "it must have {script} or {directory}, or it is the same for all jobs"),
        ({"submit": ["qsub", "{script!r}"]}, "write {script}, without a format"),
        ({"submit": ["qsub", "{script:>9}"]}, "write {script}, without a format"),
        ({"submit": ["qsub", "{script.__class__}"]}, "no placeholder {script.__class__} here"),
        ({"submit": ["qsub", "{script"]}, "a brace that is meant as such is written twice"),
        ({"submit": ["qsub", "{memory_mb}", "{script}"]}, "say by memory_mb = ... what it is for jobs that do not"),
        ({"submit": "qsub {script}"}, "Input should be a valid tuple"),
        ({"status": ["qstat", "{handle}"]}, "no placeholder {handle} here; known: {handles}"),
        ({"status": ["qstat", "{handles}"]}, "let it list all jobs of yours, or leave the group out"),
        ({"cancel": ["qdel"]}, "it must have {handle} or {handles}"),
        ({"handle_pattern": r"\d+"}, "needs one group, around the queue's number for the job; it has 0"),
        ({"handle_pattern": r"(\d+)(a)"}, "it has 2"),
        ({"handle_pattern": r"(\d+"}, "is no regular expression"),
        ({"status_pattern": r"(?P<id>\d+)"}, "lacks the group (?P<state>...)"),
        ({"status_pattern": r"(?P<id>\d+) (?P<state>.) (?P<nmae>.)"}, "has a group 'nmae'; known: id, state and name"),
        ({"states": {}}, "at least 1 item"),
        ({"states": {"R": "runs"}}, "Input should be 'queued', 'running', 'ended', 'crashed', 'timeout'"),
        ({"environment": ["module load qe\nrm"]}, "is more than one line"),
        ({"submt": []}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_work_are_refused_with_the_remedy(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(complaint)):
        Command.Options.model_validate(options(Path("/queue")) | change)


def test_a_program_with_a_path_lies_beside_the_campaign_file() -> None:
    table = options(
        Path("/queue"), submit=["bin/qsub", "./{script}"], status=["qstat"], cancel=["/opt/qdel", "{handle}"]
    )
    read = Command.Options.model_validate(table, context={"base": Path("/campaigns")})
    assert read.submit == ("/campaigns/bin/qsub", "./{script}")
    assert read.status == ("qstat",)
    assert read.cancel == ("/opt/qdel", "{handle}")


def test_resources_are_rounded_up_to_whole_seconds(queue: Path, tmp_path: Path) -> None:
    submitter = build(options(queue))
    job = Job("a", tmp_path, ("true",), Resources(0.2))
    assert submitter._values(job)["seconds"] == "1"
