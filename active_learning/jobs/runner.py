"""Run one job, in this process. What a scheduler's script calls, as ``python -m active_learning.jobs DIR``."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from active_learning.jobs.directory import JobDirectory, Usage

__all__ = ["ALREADY_STARTED", "execute"]

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
ALREADY_STARTED = 75
"""Exit status of a run that was refused because the directory ran before (EX_TEMPFAIL)."""


def _entry(name: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    module, _, function = name.partition(":")
    found: Callable[[Mapping[str, Any]], Mapping[str, Any]] = getattr(importlib.import_module(module), function)
    return found


def execute(path: Path) -> int:
    """Run the job in directory `path` and note its outcome there; return its exit code.

    A directory runs once: a second call returns `ALREADY_STARTED` and touches nothing. The job's function works in
    the directory; stdout and stderr go to the files of these names.
    """
    directory = JobDirectory(path)
    if not directory.start():
        return ALREADY_STARTED
    job, begin = directory.read_job(), time.time()
    os.environ["MOTHERLODE_CORES"] = str(job.get("cores", 1))
    sys.path.extend(folder for folder in job.get("python_path", ()) if folder not in sys.path)
    with (
        # Appending, since a submitter may have opened the same files for what programs write past Python.
        (path / "stdout").open("a", encoding="utf-8") as out,
        (path / "stderr").open("a", encoding="utf-8") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(path),
    ):
        try:
            result = dict(_entry(job["entry"])(job["inputs"]))
            json.dumps(result)
        except (Exception, SystemExit):  # noqa: BLE001 - whatever a calculator raises ends this job, and is written down
            traceback.print_exc()
            result, code = None, 1
        else:
            code = 0
    directory.finish(code, result, _usage_since(begin))
    return code


def _usage_since(begin: float) -> Usage:
    """What this process and the programs it waited for used."""
    own, programs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return Usage(
        started=begin,
        ended=time.time(),
        cpu_s=own.ru_utime + own.ru_stime + programs.ru_utime + programs.ru_stime,
        max_memory_mb=max(own.ru_maxrss, programs.ru_maxrss) * _RSS_UNIT / 1e6,
        host=platform.node(),
    )


def main() -> int:
    """The command: one argument, the job directory."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "job.json").is_file():
        print("usage: python -m active_learning.jobs JOB_DIRECTORY (it holds a job.json)", file=sys.stderr)
        return os.EX_USAGE
    return execute(Path(sys.argv[1]))
