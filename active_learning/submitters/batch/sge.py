"""Jobs on Grid Engine: SGE and its successors."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from qtoolkit.io.sge import SGEIO

from active_learning.domain.job import JobPhase
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError, BackendSilent
from active_learning.submitters.batch.hosts import CANNOT_RUN, Answer
from active_learning.submitters.batch.options import BatchOptions, Word
from active_learning.submitters.batch.schedulers import Ask, Listed, Run, Saying, Scheduler, id_in, mebibytes, who_am_i
from active_learning.submitters.batch.script import OUTPUT, SCRIPT
from active_learning.submitters.batch.submitter import Batch

__all__ = ["Sge", "SgeCommands"]

_LONGEST_LIST = 500
_UNKNOWN_JOB = re.compile(r"does not exist|denied: job", re.IGNORECASE)
_UNSURE = re.compile(r"commlib|timeout|timed out|connect|communicat|unable to contact|got .* error", re.IGNORECASE)
_REFUSES = re.compile(r"Unable to run job|[Uu]nknown option|denied|invalid|rejected|ERROR!")


class SgeCommands:
    """Grid Engine: `qsub`, `qstat`, `qdel`, with qtoolkit's header and reading of ids.

    Parameters
    ----------
    parallel_environment : the site's name of a parallel environment on one host, for jobs of more than one core
    memory : the site's name of the resource that limits memory, per slot
    """

    title: ClassVar[str] = "Grid Engine"
    first_lines: ClassVar[tuple[str, ...]] = ()
    submit_command: ClassVar[tuple[str, ...]] = ("qsub", SCRIPT)
    sayings: ClassVar[tuple[Saying, ...]] = (
        (re.compile(r"oom[-_ ]kill|exceeds .*(h_vmem|job hard limit)", re.IGNORECASE), FailureKind.OUT_OF_MEMORY),
    )

    def __init__(self, parallel_environment: str, memory: str) -> None:
        self._io = SGEIO()
        self._parallel_environment, self._memory = parallel_environment, memory
        self._user: str | None = None

    def header(self, ask: Ask) -> str:
        """As `Scheduler.header`. Not by qtoolkit's resources, whose memory and cores are in the words of PBS."""
        settings = {
            "cwd": "",
            "job_name": ask.name,
            "queue": ask.queue,
            "walltime": f"{math.ceil(ask.limit_s / 60) // 60}:{math.ceil(ask.limit_s / 60) % 60:02}:00",
            "model": None if ask.cores == 1 else f"{self._parallel_environment} {ask.cores}",
            "device": ask.account,
            "qout_path": OUTPUT,
            "rerunnable": "n",
        }
        known = {key: value for key, value in settings.items() if value is not None}
        own = ["-S /bin/bash", "-j y"]
        if ask.memory_mb is not None:
            own.append(f"-l {self._memory}={math.ceil(mebibytes(ask.memory_mb) / ask.cores)}M")
        lines = [f"#$ {line}" for line in (*own, *ask.lines)]
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
        """As `Scheduler.listed`. Grid Engine forgets jobs when they end, and tells no submit time of those that run."""
        if self._user is None:
            self._user = who_am_i(run, "-un")
        answer = run(["qstat", "-ext", "-urg", "-xml", "-u", self._user])
        if answer.status != 0:
            raise BackendSilent(f"qstat: {answer.said}")
        try:
            root = ET.fromstring(answer.out)
        except ET.ParseError as error:
            raise BackendError(f"qstat: its XML cannot be read: {error}") from error
        return [_listed(element) for element in root.iter("job_list")]

    def cancel(self, run: Run, ids: Sequence[str]) -> None:
        """As `Scheduler.cancel`."""
        for start in range(0, len(ids), _LONGEST_LIST):
            answer = run(["qdel", *ids[start : start + _LONGEST_LIST]])
            if answer.status != 0 and _UNKNOWN_JOB.search(answer.out + answer.err) is None:
                raise BackendError(f"qdel: {answer.said}")


def _listed(element: ET.Element) -> Listed:
    job_id = (element.findtext("JB_job_number") or "").strip()
    name = (element.findtext("JB_name") or "").strip()
    state = (element.findtext("state") or "").strip()
    # Letters of a state: r running, t transferring, s S T suspended, d being deleted; q w h waiting, E in error.
    if re.search(r"[rtsSTd]", state):
        return Listed(job_id, name, JobPhase.RUNNING)
    if re.search(r"[qwh]", state):
        return Listed(job_id, name, JobPhase.QUEUED, detail=f"Grid Engine: {state}")
    return Listed(job_id, name, JobPhase.UNKNOWN, detail=f"Grid Engine: {state}")


class SgeOptions(BatchOptions):
    """Keys of ``[submitter]`` with ``kind = "sge"``."""

    parallel_environment: Word = Field(
        "smp", description="Name of the site's parallel environment on one host, for jobs of more than one core."
    )
    memory_resource: Word = Field(
        "h_vmem", description="Name of the site's resource that limits memory, asked for per core."
    )


class Sge(Batch):
    """Jobs in the queue of Grid Engine, on this machine's cluster or, by `ssh`, on another one's.

    Grid Engine has one word for a job that ended and one that never was: none. What became of a job is read from its
    directory; `qos` is not known to it.
    """

    Options = SgeOptions

    def new_scheduler(self) -> Scheduler:
        """Grid Engine's commands."""
        assert isinstance(self.options, SgeOptions)
        return SgeCommands(self.options.parallel_environment, self.options.memory_resource)
