"""Many jobs with one call: arrays, whose tasks are jobs like any other from then on.

An array has a directory of its own beside those of its jobs, in `.arrays`: the script, the lock `submitting`, and a
link to each job's directory, by its number, so that no name of a job or a file has to be written into anything that is
run. Each job's directory says in `batch_array`, before anything is submitted, where else to look for the job after a
crash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from active_learning.domain.job import Job, Resources
from active_learning.errors import BackendSilent, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.names import batch_name
from active_learning.submitters.batch.schedulers import Scheduler
from active_learning.submitters.batch.script import SCRIPT
from active_learning.submitters.batch.submitter import Batch, keep, known_handle, locked

__all__ = ["BatchWithArrays", "SchedulerWithArrays"]

_ARRAY = "batch_array"
_FOLDER = ".arrays"
_LONGEST = 500


class SchedulerWithArrays(Scheduler, Protocol):
    """A batch system that lists a task of an array under the array's name, a slash and the task's number."""

    @property
    def task_lines(self) -> tuple[str, ...]:
        """What the script of an array begins with: it goes into the directory of its task's number."""


class BatchWithArrays(Batch):
    """A batch system to which many jobs can be given at once."""

    @abstractmethod
    def new_scheduler(self) -> SchedulerWithArrays:
        """The commands of this batch system, as the options say."""

    def submit_many(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """Put jobs into the queue, those that ask for the same with one call for up to 500; job name -> handle.

        A job that was submitted before keeps its handle. A job that is not in the answer was certainly not launched.

        Raises
        ------
        TransientSubmitError
            The batch system refused the first of them; none was launched.
        BackendError
            Some may have been launched, and nothing is known about which: each is to be looked for.
        """
        handles = {job.name: known for job in jobs if (known := known_handle(Path(job.directory))) is not None}
        groups: dict[Resources, list[Job]] = {}
        for job in jobs:
            if job.name not in handles:
                groups.setdefault(job.resources, []).append(job)
        found = {name: str(handle) for name, handle in handles.items()}
        n_launched = 0
        for group in groups.values():
            for start in range(0, len(group), _LONGEST):
                some = group[start : start + _LONGEST]
                try:
                    found |= self._submit_array(some) if len(some) > 1 else {some[0].name: self.submit(some[0])}
                except TransientSubmitError:
                    if n_launched == 0:
                        raise
                    return found
                n_launched += len(some)
        return found

    def _submit_array(self, jobs: Sequence[Job]) -> dict[str, str]:
        names = [batch_name(job) for job in jobs]
        name = f"array-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:12]}"
        folder = Path(jobs[0].directory).parent / _FOLDER / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder) as lock:
            for number, job in enumerate(jobs):
                directory = Path(job.directory)
                JobDirectory(directory).write(_ARRAY, json.dumps({"folder": str(folder), "number": number}))
                self._prepare(job, directory)
            ask = self._ask(jobs[0], name, folder, len(jobs))
            script = self._script(ask, jobs[0], *self.new_scheduler().task_lines)
            JobDirectory(folder).write(SCRIPT, script)
            members = [(Path(job.directory), own) for job, own in zip(jobs, names, strict=True)]
            self._host.gather(folder, name, members, self.options.transfer_within)
            self._launch(f"{len(jobs)} jobs from {jobs[0].name} on", folder, name, lock)
            listed = {one.name: one for one in self._listed([])}
        wanted = [f"{name}/{number}" for number in range(len(jobs))]
        if lost := [one for one in wanted if one not in listed]:
            raise BackendSilent(f"{self._scheduler.title} took {len(jobs)} jobs and does not list {len(lost)} of them")
        return {job.name: str(keep(listed[one], Path(job.directory))) for job, one in zip(jobs, wanted, strict=True)}

    def _search(self, job: Job, directory: Path, names: Collection[str]) -> str | None:
        with contextlib.ExitStack() as held:
            if (array := _array_of(directory)) is not None:
                folder, number = array
                held.enter_context(locked(folder))
                self._host.recall(folder, folder.name, self.options.answer_within)
                names = {*names, f"{folder.name}/{number}"}
            return super()._search(job, directory, names)


def _array_of(directory: Path) -> tuple[Path, int] | None:
    """Directory of the array with which the job may have been submitted, and its number there."""
    try:
        said = json.loads((directory / _ARRAY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    folder = Path(said["folder"])
    return (folder, int(said["number"])) if folder.is_dir() else None
