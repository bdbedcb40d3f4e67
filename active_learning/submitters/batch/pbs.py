"""Jobs on OpenPBS and PBS Professional."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import ClassVar

from qtoolkit.core.data_objects import QResources, QState
from qtoolkit.io.pbs import PBSIO, PBSState

from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError, BackendSilent
from active_learning.submitters.batch.hosts import CANNOT_RUN, Answer
from active_learning.submitters.batch.schedulers import Ask, Listed, Run, Saying, Scheduler, id_in, mebibytes
from active_learning.submitters.batch.script import OUTPUT, SCRIPT
from active_learning.submitters.batch.submitter import Batch

__all__ = ["Pbs", "PbsCommands"]

_K = FailureKind
_UTC = ("env", "TZ=UTC")
_LONGEST_LIST = 500
# Exit statuses of PBS itself (JOB_EXEC_KILL_... in its job.h), and 256 and the number of SIGTERM or SIGKILL.
_EXITS = {
    -26: _K.OUT_OF_MEMORY,
    -27: _K.OUT_OF_MEMORY,
    -28: _K.TIMEOUT,
    -29: _K.TIMEOUT,
    271: _K.CANCELLED,
    265: _K.CANCELLED,
}
_UNKNOWN_JOB = re.compile(r"unknown job|job has finished|illegally formed job identifier", re.IGNORECASE)
_NO_HISTORY = re.compile(r"job.?history", re.IGNORECASE)
_UNSURE = re.compile(
    r"connect|timed? ?out|communicat|End of File|Premature|protocol|server error|cannot resolve", re.IGNORECASE
)


class PbsCommands:
    """PBS: `qsub`, `qstat`, `qselect`, `qdel`, with qtoolkit's header, states and reading of ids."""

    title: ClassVar[str] = "PBS"
    # PBS starts scripts in the user's home.
    first_lines: ClassVar[tuple[str, ...]] = ('cd -- "$PBS_O_WORKDIR" || exit',)
    submit_command: ClassVar[tuple[str, ...]] = ("qsub", SCRIPT)
    sayings: ClassVar[tuple[Saying, ...]] = (
        (re.compile(r"PBS: job killed: v?mem|oom[-_ ]kill", re.IGNORECASE), _K.OUT_OF_MEMORY),
        (re.compile(r"PBS: job killed: (walltime|cput)"), _K.TIMEOUT),
    )

    def __init__(self) -> None:
        self._io = PBSIO()

    def header(self, ask: Ask) -> str:
        """As `Scheduler.header`. All cores on one host, a slot for an MPI process each."""
        resources = QResources.same_node(
            ask.cores,
            job_name=ask.name,
            queue_name=ask.queue,
            account=ask.account,
            time_limit=math.ceil(ask.limit_s),
            memory_per_thread=None if ask.memory_mb is None else math.ceil(mebibytes(ask.memory_mb) / ask.cores),
            output_filepath=OUTPUT,
            rerunnable=False,
        )
        own = ("-j oe", "-W umask=077", *([] if ask.qos is None else [f"-l qos={ask.qos}"]))
        lines = [f"#PBS {line}" for line in (*own, *ask.lines)]
        return "\n".join([self._io.shebang, self._io.generate_header(resources).strip(), *lines])

    def submitted_id(self, answer: Answer) -> str | None:
        """As `Scheduler.submitted_id`."""
        return id_in(self._io, answer)

    def is_refusal(self, answer: Answer) -> bool:
        """As `Scheduler.is_refusal`: `qsub` says why, and it is nothing that has to do with the way there."""
        says_why = answer.err.lstrip().startswith("qsub:") and _UNSURE.search(answer.err) is None
        return answer.status in CANNOT_RUN or says_why

    def listed(self, run: Run, *, ids: Sequence[str] = (), name: str | None = None) -> list[Listed]:
        """As `Scheduler.listed`; a job by its name takes a call of `qselect` more."""
        wanted = list(ids)
        if name is not None:
            wanted += self._with_history(run, ["qselect"], ["-N", name]).out.split()
        found = []
        for start in range(0, len(wanted), _LONGEST_LIST):
            some = wanted[start : start + _LONGEST_LIST]
            answer = self._with_history(run, [*_UTC, "qstat"], ["-f", "-w", *some])
            found += [_listed(chunk) for chunk in re.split(r"^Job Id: ", answer.out, flags=re.MULTILINE)[1:]]
        return found

    def _with_history(self, run: Run, command: Sequence[str], rest: Sequence[str]) -> Answer:
        """Ask for ended jobs too, where PBS keeps them."""
        answer = run([*command, "-x", *rest])
        if answer.status != 0 and _NO_HISTORY.search(answer.err):
            answer = run([*command, *rest])
        if answer.status != 0 and _UNKNOWN_JOB.search(answer.err) is None:
            raise BackendSilent(f"{command[-1]}: {answer.said}")
        return answer

    def cancel(self, run: Run, ids: Sequence[str]) -> None:
        """As `Scheduler.cancel`."""
        for start in range(0, len(ids), _LONGEST_LIST):
            answer = run(["qdel", *ids[start : start + _LONGEST_LIST]])
            if answer.status != 0 and _UNKNOWN_JOB.search(answer.err) is None:
                raise BackendError(f"qdel: {answer.said}")


def _listed(chunk: str) -> Listed:
    """A job from what `qstat -f` says of it; without a state that we know, nothing is known of it."""
    job_id, _, rest = chunk.partition("\n")
    said: dict[str, str] = {}
    for key, value in re.findall(r"^\s{1,8}([A-Za-z_.]+) = (.*)$", rest, flags=re.MULTILINE):
        said.setdefault(key, value.strip())
    states = {state.value: state for state in PBSState}
    state = states.get(said.get("job_state", ""))
    name, submitted = said.get("Job_Name", ""), said.get("ctime", "").replace(" ", "_") or None
    comment = f"PBS: {said.get('job_state', '?')}" + (f", {said['comment']}" if "comment" in said else "")
    if state is None:
        return Listed(job_id.strip(), name, JobPhase.UNKNOWN, submitted, detail=comment)
    if state.qstate is not QState.DONE:
        is_running = state.qstate in (QState.RUNNING, QState.SUSPENDED)
        phase = JobPhase.RUNNING if is_running else JobPhase.QUEUED
        return Listed(job_id.strip(), name, phase, submitted, detail="" if is_running else comment)
    status = said.get("Exit_status", "")
    comment += f", exit status {status}" if status else ", never ran"
    kind = _EXITS.get(int(status)) if re.fullmatch(r"-?\d+", status) else _K.CANCELLED
    failure = None if kind is None else Failure(kind, comment)
    return Listed(job_id.strip(), name, JobPhase.ENDED, submitted, failure, comment)


class Pbs(Batch):
    """Jobs in the queue of OpenPBS or PBS Professional, on this machine's cluster or, by `ssh`, on another one's."""

    def new_scheduler(self) -> Scheduler:
        """PBS's commands."""
        return PbsCommands()
