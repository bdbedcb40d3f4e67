"""What the jobs of the tests of batch systems do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from active_learning.domain.job import Job, JobSpec, Resources
from active_learning.jobs import JobDirectory

__all__ = ["die_by", "eat_memory", "hpc_job", "look_around"]


def hpc_job(
    directory: Path, function: str, inputs: Mapping[str, Any] | None = None, *, name: str = "job-1", **asked: Any
) -> Job:
    """A job in a new directory that runs a function of this module or of `active_learning.testing.job_functions`."""
    module = "hpc_jobs" if function in __all__ else "active_learning.testing.job_functions"
    spec = JobSpec(f"{module}:{function}", inputs or {})
    resources = Resources(**{"timeout_s": 300.0} | asked)
    return JobDirectory(directory).prepare(spec, name, resources, python_path=[str(Path(__file__).parent)])


def eat_memory(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Take `inputs["mb"]` million bytes and hold them for `inputs["seconds"]`."""
    taken = bytearray(os.urandom(1_000_000)) * int(inputs["mb"])
    time.sleep(inputs["seconds"])
    return {"taken": len(taken)}


def die_by(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Die by a signal."""
    os.kill(os.getpid(), int(inputs["signal"]))
    return {}


def look_around(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Where and as what this job runs."""
    name = os.environ.get("SLURM_JOB_ID", "")
    shown = subprocess.run(["scontrol", "show", "job", name], capture_output=True, text=True, timeout=60).stdout
    return {
        "environment": {key: value for key, value in os.environ.items() if key.startswith(("SLURM_", "MOTHERLODE_"))},
        "scontrol": shown,
        "python": sys.executable,
        "greeting": os.environ.get("GREETING"),
        "umask": os.umask(0o077),
    }
