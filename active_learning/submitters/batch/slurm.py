"""Jobs on SLURM."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import ClassVar

from qtoolkit.io.slurm import SlurmIO, SlurmState

from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError, BackendSilent
from active_learning.submitters.batch.arrays import BatchWithArrays
from active_learning.submitters.batch.hosts import CANNOT_RUN, Answer
from active_learning.submitters.batch.schedulers import Ask, Listed, Run, Saying, id_in, mebibytes, who_am_i
from active_learning.submitters.batch.script import OUTPUT, SCRIPT

__all__ = ["Slurm", "SlurmCommands"]

_K = FailureKind
# Variables that change what the commands do and override the script. Those of a job that the campaign itself may run
# in contradict what our jobs ask for.
_NOT_FOR_SQUEUE = ("ACCOUNT", "FORMAT", "FORMAT2", "LICENSES", "NAMES", "PARTITION", "QOS", "SORT", "STATES", "USERS")
_NOT_FOR_SBATCH = ("ARRAY_INX", "ERROR", "JOB_NAME", "OUTPUT", "REQUEUE", "TIMELIMIT", "WAIT", "MEM_PER_CPU")
_NOT_FOR_JOBS = ("CPUS_PER_TASK", "MEM_PER_CPU", "MEM_PER_GPU", "MEM_PER_NODE", "NTASKS_PER_NODE", "TRES_PER_TASK")
# In the path of a job's output SLURM takes these for patterns, also where the directory's own name has them.
_PATTERN, _NOWHERE = re.compile(r"[%\\]"), "/dev/null"
# The same words whoever asks, in whatever time zone; all numbers of an array.
_SAME_WORDS = ("TZ=UTC", "SLURM_TIME_FORMAT=standard", "SLURM_BITSTR_LEN=0")
_TASKS = re.compile(r"(\d+)_\[([0-9,:-]+)(?:%\d+)?\]")
_COLUMNS = "%i|%t|%V|%j|%r"
_LONGEST_LIST = 1000

_STATES = {
    SlurmState.TIMEOUT: _K.TIMEOUT,
    SlurmState.DEADLINE: _K.TIMEOUT,
    SlurmState.OUT_OF_MEMORY: _K.OUT_OF_MEMORY,
    SlurmState.NODE_FAIL: _K.NODE,
    SlurmState.BOOT_FAIL: _K.NODE,
    SlurmState.PREEMPTED: _K.NODE,
    SlurmState.REVOKED: _K.CANCELLED,
    SlurmState.CANCELLED: _K.CANCELLED,
}
_WAITS = {
    SlurmState.PENDING,
    SlurmState.CONFIGURING,
    SlurmState.REQUEUE_FED,
    SlurmState.REQUEUE_HOLD,
    SlurmState.RESV_DEL_HOLD,
    SlurmState.SPECIAL_EXIT,
}
_ENDED = {SlurmState.COMPLETED, SlurmState.FAILED, *_STATES}
# With a job id that failed at once, SLURM tells of what it refused.
_REFUSED = "BadConstraints"
# Everything else may hide a job: "Socket timed out" is what sbatch says of jobs that it did submit.
_UNSURE = re.compile(
    r"timed? ?out|contact|connect|communicat|responding|receive|response|socket|I/O error", re.IGNORECASE
)
_REFUSES = re.compile(
    r"submission failed:|unrecognized option|invalid option|requires an argument|[Ii]nvalid .*specif|fatal: "
    r"|Unable to open file|does not|[Ii]nvalid",
)


def _env(without: Sequence[str], *set_to: str) -> list[str]:
    return ["env", *(word for name in without for word in ("-u", name)), *set_to]


class SlurmCommands:
    """SLURM: `sbatch`, `squeue`, `scancel`, with qtoolkit's header, states and reading of ids."""

    title: ClassVar[str] = "SLURM"
    first_lines: ClassVar[tuple[str, ...]] = ()
    task_lines: ClassVar[tuple[str, ...]] = ('cd -- "$SLURM_ARRAY_TASK_ID" || exit',)
    sayings: ClassVar[tuple[Saying, ...]] = (
        (
            re.compile(r"oom[-_ ]kill|out.of.memory|exceeded .{0,40}memory limit", re.IGNORECASE),
            _K.OUT_OF_MEMORY,
        ),
        (re.compile(r"CANCELLED AT .* DUE TO TIME LIMIT"), _K.TIMEOUT),
        (re.compile(r"CANCELLED AT .* DUE TO (NODE FAILURE|PREEMPTION)"), _K.NODE),
        (re.compile(r"CANCELLED AT "), _K.CANCELLED),
    )

    def __init__(self) -> None:
        self._io = SlurmIO()
        self._user: str | None = None

    @property
    def submit_command(self) -> tuple[str, ...]:
        """`sbatch`, without what the environment would change."""
        without = [f"SBATCH_{name}" for name in _NOT_FOR_SBATCH] + [f"SLURM_{name}" for name in _NOT_FOR_JOBS]
        return *_env(without), "sbatch", SCRIPT

    def header(self, ask: Ask) -> str:
        """As `Scheduler.header`. A task for each core, so that MPI programs find as many slots."""
        settings = {
            "job_name": ask.name,
            "nodes": 1,
            "ntasks": ask.cores,
            "time": math.ceil(ask.limit_s / 60),
            "qout_path": _output(ask),
            "array": None if ask.n_tasks is None else f"0-{ask.n_tasks - 1}",
            "partition": ask.queue,
            "account": ask.account,
            "qos": ask.qos,
            "mem": None if ask.memory_mb is None else f"{mebibytes(ask.memory_mb)}M",
        }
        known = {key: value for key, value in settings.items() if value is not None}
        lines = [f"#SBATCH {line}" for line in ("--no-requeue", "--open-mode=append", *ask.lines)]
        return "\n".join([self._io.shebang, self._io.generate_header(known).strip(), *lines])

    def submitted_id(self, answer: Answer) -> str | None:
        """As `Scheduler.submitted_id`."""
        return id_in(self._io, answer)

    def is_refusal(self, answer: Answer) -> bool:
        """As `Scheduler.is_refusal`."""
        return answer.status in CANNOT_RUN or (
            _UNSURE.search(answer.err) is None and _REFUSES.search(answer.err) is not None
        )

    def listed(self, run: Run, *, ids: Sequence[str] = (), name: str | None = None) -> list[Listed]:  # noqa: ARG002
        """As `Scheduler.listed`: all jobs of the user, which is less work for the controller than a list of ids."""
        if self._user is None:
            self._user = who_am_i(run, "-u")
        command = _env([f"SQUEUE_{name}" for name in _NOT_FOR_SQUEUE], *_SAME_WORDS)
        command += ["squeue", f"--user={self._user}", "--states=all", "--array", "--noheader", f"--format={_COLUMNS}"]
        answer = run(command)
        if answer.status != 0:
            raise BackendSilent(f"squeue: {answer.said}")
        rows = [line.strip().split("|", 4) for line in answer.out.splitlines()]
        each = [(job_id, row) for row in rows if len(row) == 5 for job_id in _each(row[0])]
        return [_listed(job_id, *row[1:]) for job_id, row in each if self._io.is_valid_job_id(job_id)]

    def cancel(self, run: Run, ids: Sequence[str]) -> None:
        """As `Scheduler.cancel`; of ids that it does not know, `scancel` says nothing."""
        for start in range(0, len(ids), _LONGEST_LIST):
            answer = run(["scancel", *ids[start : start + _LONGEST_LIST]])
            if answer.status != 0 and not re.search(r"[Ii]nvalid job id|already compl", answer.err):
                raise BackendError(f"scancel: {answer.said}")


def _each(job_id: str) -> list[str]:
    """The id itself, or those of the tasks of an array that have one line together.

    >>> _each("7_[0,3-5,10-14:2%4]")
    ['7_0', '7_3', '7_4', '7_5', '7_10', '7_12', '7_14']
    """
    match = _TASKS.fullmatch(job_id)
    if match is None:
        return [job_id]
    numbers: list[int] = []
    for part in match[2].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        numbers += range(int(first), int(last or first) + 1, int(step or 1))
    return [f"{match[1]}_{number}" for number in numbers]


def _output(ask: Ask) -> str:
    if _PATTERN.search(ask.directory):
        return _NOWHERE
    return OUTPUT if ask.n_tasks is None else f"%a/{OUTPUT}"


def _listed(job_id: str, word: str, submitted: str, name: str, reason: str) -> Listed:
    if "_" in job_id:
        name = f"{name}/{job_id.partition('_')[2]}"
    known: dict[str, SlurmState] = dict(SlurmState._value2member_map_)
    state = known.get(word)
    said = f"SLURM: {state.value if state else word}" + ("" if reason in ("None", "") else f", {reason}")
    if state is None:
        return Listed(job_id, name, JobPhase.UNKNOWN, submitted, detail=said)
    if state not in _ENDED:
        phase = JobPhase.QUEUED if state in _WAITS else JobPhase.RUNNING
        return Listed(job_id, name, phase, submitted, detail=said if state in _WAITS else "")
    if state is SlurmState.FAILED and reason == _REFUSED:
        return Listed(
            job_id, name, JobPhase.ENDED, submitted, Failure(_K.REJECTED, f"{said}: it refused the job"), said, True
        )
    kind = _STATES.get(state)
    return Listed(job_id, name, JobPhase.ENDED, submitted, None if kind is None else Failure(kind, said), said)


class Slurm(BatchWithArrays):
    """Jobs in the queue of SLURM, on this machine's cluster or, by `ssh`, on another one's.

    Its clock ticks in minutes; a job is ended to the second by the script that runs it, which SLURM's own limit, a
    little later, only backs.
    """

    def new_scheduler(self) -> SlurmCommands:
        """SLURM's commands."""
        return SlurmCommands()
