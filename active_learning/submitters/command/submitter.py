"""Jobs in a queue that is spoken to by the user's own commands: one that submits, one that lists, one that cancels."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError, BackendSilent, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.command.options import CommandOptions
from active_learning.submitters.command.programs import ask
from active_learning.submitters.command.submission import Fate, look, run
from active_learning.submitters.command.submission_process import OUTPUT, RECORD
from active_learning.submitters.command.templates import fill, placeholders

__all__ = ["Command"]

_SCRIPT = "queue.sh"
_PHASES = {"queued": JobPhase.QUEUED, "running": JobPhase.RUNNING, "ended": JobPhase.ENDED}


class Command:
    """Submit to a queue of one's own by three commands, given as lists of arguments; there is no shell in between.

    A job that was submitted is known by what the submit command printed, which is kept in the job's directory, also if
    the campaign is killed before that command ends. If the queue lists names, they are compared: a number that the
    queue uses again for another job is not taken for ours.
    """

    Options = CommandOptions

    def __init__(self, options: CommandOptions) -> None:
        self.options = options
        self._handle_pattern = re.compile(options.handle_pattern)
        self._status_pattern = re.compile(options.status_pattern)
        self._has_names = "name" in self._status_pattern.groupindex

    def submit(self, job: Job) -> str:
        """Run the submit command; the handle is the queue's number for the job and the job's name.

        Raises
        ------
        TransientSubmitError
            If the command fails: then the queue has not taken the job.
        BackendError
            If it does not end in time, was killed, or printed no number.
        """
        directory = Path(job.directory)
        command = fill(self.options.submit, self._values(job))
        done = run(directory, command, self.options.answer_within)
        if done.fate in (Fate.NEVER, Fate.REFUSED):
            raise TransientSubmitError(f"{command[0]} did not submit the job in {directory}: {done.said}")
        if done.fate is not Fate.DONE:
            raise BackendSilent(f"{command[0]} did not end within {self.options.answer_within:g} s, or was killed")
        if (number := self._number(done.said)) is None:
            raise BackendError(
                f"{command[0]} submitted a job, but there is no number for it by handle_pattern "
                f"{self.options.handle_pattern!r} in what it printed: {done.said!r}"
            )
        return f"{number} {job.name}"

    def greet(self) -> str:
        """Run the status command, without the number of any job.

        Raises
        ------
        BackendError
            If it fails, or does not end in time.
        """
        return f"the status command answers; jobs that it lists: {len(self._list(()))}"

    def find(self, job: Job) -> str | None:
        """The handle of a job that the submit command launched, as its output or the queue's list says.

        Raises
        ------
        BackendError
            If the submit command still runs, the queue does not answer, or nobody can know.
        """
        directory = Path(job.directory)
        past = look(directory)
        if past.fate is Fate.BUSY:
            raise BackendSilent(f"the command that submits the job in {directory} still runs")
        was_run = past.fate in (Fate.DONE, Fate.CUT_OFF)
        number = self._number(past.said) if was_run else None
        if was_run and number is None and self._has_names:
            number = self._listed_by_name(job.name)
        if number is not None:
            return f"{number} {job.name}"
        if JobDirectory(directory).has_started:
            # Its number is lost, but it runs or ran: its files will tell.
            return f" {job.name}"
        if past.fate is Fate.DONE or (past.fate is Fate.CUT_OFF and not self._has_names):
            raise BackendError(
                f"the command that submitted the job in {directory} printed no number for it, or was killed before it "
                f"could: look into the queue, and if it has no such job, remove {directory / RECORD} and "
                f"{directory / OUTPUT}"
            )
        return None

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle, by one run of the status command; UNKNOWN for all if that fails."""
        if not handles:
            return {}
        try:
            listed = self._list(handles)
        except BackendError:
            return dict.fromkeys(handles, JobReport(JobPhase.UNKNOWN))
        return {handle: self._report(handle, listed) for handle in handles}

    def cancel(self, handles: Sequence[str]) -> None:
        """Run the cancel command for those of the jobs that the queue lists as waiting or running.

        Raises
        ------
        BackendError
            If the queue does not answer, or a job still lives after its cancel command failed.
        """
        alive = self._alive(handles)
        if not alive:
            return
        numbers = [_split(handle)[0] for handle in alive]
        one_each = "handle" in placeholders(self.options.cancel)
        orders = [[number] for number in numbers] if one_each else [numbers]
        try:
            for order in orders:
                ask(fill(self.options.cancel, {"handle": order[0]}, order), self.options.answer_within)
        except BackendError:
            # Some may have ended meanwhile, of which a queue does not like to be told.
            if self._alive(alive):
                raise

    def _alive(self, handles: Sequence[str]) -> list[str]:
        numbered = [handle for handle in handles if _split(handle)[0]]
        if not numbered:
            return []
        listed = self._list(numbered)
        phases = {handle: self._report(handle, listed).phase for handle in numbered}
        return [handle for handle, phase in phases.items() if phase in (JobPhase.QUEUED, JobPhase.RUNNING)]

    def _values(self, job: Job) -> dict[str, str]:
        needed = job.resources.memory_mb or self.options.memory_mb
        return {
            "name": job.name,
            "script": str(self._script(job)),
            "directory": str(job.directory),
            "cores": str(job.resources.cores),
            "memory_mb": str(needed),
            "seconds": str(math.ceil(job.resources.timeout_s)),
        }

    def _script(self, job: Job) -> Path:
        directory = Path(job.directory)
        command = [self.options.python or job.command[0], *job.command[1:]]
        lines = ["#!/bin/sh", "umask 077", *self.options.environment, f"exec {shlex.join(command)}", ""]
        JobDirectory(directory).write(_SCRIPT, "\n".join(lines))
        return directory / _SCRIPT

    def _number(self, said: str) -> str | None:
        """The queue's number for a job in what the submit command printed, if it can stand as an argument."""
        match = self._handle_pattern.search(said)
        number = match[1] if match else None
        return None if not number or re.search(r"\s", number) or number.startswith("-") else number

    def _list(self, handles: Sequence[str]) -> list[Mapping[str, Any]]:
        numbers = [number for number in (_split(handle)[0] for handle in handles) if number]
        said = ask(fill(self.options.status, {}, numbers), self.options.answer_within)
        found = (self._status_pattern.search(line) for line in said.splitlines())
        return [match.groupdict() for match in found if match]

    def _listed_by_name(self, name: str) -> str | None:
        return next((str(row["id"]) for row in self._list(()) if row["name"] == name), None)

    def _report(self, handle: str, listed: Sequence[Mapping[str, Any]]) -> JobReport:
        number, name = _split(handle)
        if not number and not self._has_names:
            return JobReport(JobPhase.UNKNOWN)
        rows = [row for row in listed if number in ("", row["id"]) and (not self._has_names or row["name"] == name)]
        if not rows:
            return JobReport(JobPhase.GONE)
        word = str(rows[-1]["state"])
        meaning = self.options.states.get(word)
        if meaning is None:
            return JobReport(JobPhase.UNKNOWN)
        if meaning in _PHASES:
            return JobReport(_PHASES[meaning])
        return JobReport(JobPhase.ENDED, Failure(FailureKind(meaning), f"the queue says {word!r} of job {number}"))


def _split(handle: str) -> tuple[str, str]:
    number, _, name = handle.partition(" ")
    return number, name
