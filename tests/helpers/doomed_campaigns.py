"""Processes that submit a job as a campaign does, and are killed while they do it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.process import BaseProcess
from typing import Any

from active_learning.domain.job import Job
from active_learning.submitters import local
from active_learning.testing.submitters import Recipe, build_submitter

__all__ = ["start_campaign", "submit_elsewhere"]

# Not `fork`: what else runs in the process of the tests may have threads.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["doomed_campaigns", "active_learning.submitters.command.submitter", "active_learning.submitters.dask.submitter"]
)


def submit_elsewhere(recipe: Recipe, job: Job, dies: str | None = None) -> None:
    """What such a process does; it kills itself when the submitter `local` starts a guardian: `before` or `after`."""
    real = local.start_guardian

    def start_guardian(*args: Any, **kwargs: Any) -> Any:
        if dies == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        started = real(*args, **kwargs)
        if dies == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return started

    local.start_guardian = start_guardian
    build_submitter(recipe).submit(job)


def start_campaign(recipe: Recipe, job: Job, dies: str | None = None) -> BaseProcess:
    """Start one; the test kills it, or waits until it killed itself."""
    process = _CONTEXT.Process(target=submit_elsewhere, args=(recipe, job, dies))
    process.start()
    return process
