"""Requests that people answer: they stand in a table, and nothing is run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from active_learning.domain import options
from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters import this_machine
from active_learning.submitters.person.table import PeopleTable

__all__ = ["Person"]

_WITHDRAWN = Failure(FailureKind.CANCELLED, "withdrawn: nobody is asked any more")


class Person:
    """Ask people: each request is a row of `to_label.csv` in the campaign's folder, until it is answered.

    It goes with the labeler `manual`. Values are brought in by ``motherlode tell``, and then the engine takes the
    request back. A job is never run; its directory holds the files that people need. Whether a request was made, and
    whether it was withdrawn, stands in that directory too, so that any process can answer, and so that what people do
    to the table harms nothing: a row that got lost comes back.
    """

    answered_by_people: ClassVar[bool] = True

    class Options(options.Options):
        """`person` has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def submit(self, job: Job) -> str:
        """Enter a job into the table; the handle is its directory. Again: the same row, the same handle.

        Raises
        ------
        TransientSubmitError
            If the table cannot be read or written; then nobody is asked.
        """
        directory = Path(job.directory)
        try:
            PeopleTable(_folder(directory)).add([_row(directory)])
        except BackendError as error:
            raise TransientSubmitError(str(error)) from error
        # After the row: what is marked as asked for is in the table. Whoever would run the job finds it taken.
        JobDirectory(directory).start()
        return str(directory)

    def find(self, job: Job) -> str | None:
        """The handle of a job that people were ever asked for; None if they were not."""
        return this_machine.find(job)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """RUNNING until it is withdrawn: the engine knows what people told.

        Raises
        ------
        BackendError
            If a row is missing in the table and cannot be put there.
        """
        reports = {handle: _report(Path(handle)) for handle in handles}
        open_ones = [Path(handle) for handle, report in reports.items() if report.phase is JobPhase.RUNNING]
        for folder in {_folder(directory) for directory in open_ones}:
            PeopleTable(folder).add([_row(directory) for directory in open_ones if _folder(directory) == folder])
        return reports

    def cancel(self, handles: Sequence[str]) -> None:
        """Take rows out of the table, with what people wrote into them; unknown ones are left alone.

        Raises
        ------
        BackendError
            If the table cannot be read or written.
        """
        asked = [Path(handle) for handle in handles if _report(Path(handle)).phase is JobPhase.RUNNING]
        for folder in {_folder(directory) for directory in asked}:
            ids = {_row(directory)["candidate"] for directory in asked if _folder(directory) == folder}
            PeopleTable(folder).remove(ids)
        for directory in asked:
            this_machine.note_failure(directory, _WITHDRAWN)


def _folder(directory: Path) -> Path:
    """The campaign's folder, of a job directory ``<folder>/jobs/<request>``."""
    return directory.parent.parent


def _report(directory: Path) -> JobReport:
    known = this_machine.report(str(directory))
    if known.phase is not JobPhase.ENDED or known.failure is not None:
        return known
    return JobReport(JobPhase.RUNNING if JobDirectory(directory).has_started else JobPhase.GONE)


def _row(directory: Path) -> dict[str, str]:
    """What the table says of a job, whichever process asks; paths are relative to the table."""
    try:
        inputs = JobDirectory(directory).read_job()["inputs"]
        about = {name: str(inputs[name]) for name in ("candidate", "formula", "unit")}
        structures = [os.path.relpath(directory / str(name), _folder(directory)) for name in inputs["structures"]]
    except OSError as error:
        raise BackendError(f"the job in {directory} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(f"the job in {directory} is none of labeler 'manual': people cannot be asked") from error
    return about | {"structure": "".join(structures[:1]), "value": "", "std": ""}
