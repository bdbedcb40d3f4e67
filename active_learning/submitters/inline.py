"""Jobs run in the campaign's own process, one after the other, while they are submitted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from active_learning.domain import options
from active_learning.domain.job import Job, JobReport
from active_learning.jobs.runner import execute
from active_learning.submitters import this_machine

__all__ = ["Inline"]


class Inline:
    """Run each job here and now: `submit` returns when the job has ended.

    For quick labelers, debugging and tests. There is no time limit: `requests.timeout` has no effect, and a job that
    kills its process kills the campaign's (which resumes without that job). The working directory, `sys.stdout` and
    `sys.stderr` of this process are the job's while it runs, so it is for one thread only.
    """

    class Options(options.Options):
        """`inline` has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def submit(self, job: Job) -> str:
        """Run the job to its end; the handle is its directory.

        Raises
        ------
        BackendError
            If another process runs this job at this moment.
        """
        directory = Path(job.directory)
        lock = this_machine.hold(directory)
        try:
            execute(directory)
        finally:
            os.close(lock)
        return str(directory)

    def find(self, job: Job) -> str | None:
        """The handle if the job ever started, also if its process died then; else None."""
        return this_machine.find(job)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """ENDED for every job, unless another living process is in the middle of it."""
        return {handle: this_machine.report(handle) for handle in handles}

    def close(self) -> None:
        """Nothing can still run."""
