"""The job directory: how a job is laid out, run and read. The files in it are the truth about a job."""

from active_learning.jobs.directory import JobDirectory, JobOutcome, Usage

__all__ = ["JobDirectory", "JobOutcome", "Usage"]
