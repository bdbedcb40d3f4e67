"""One directory a job: what stands in it, written so that a crash leaves either nothing or the whole.

``job.json`` (inputs, their hash, versions), ``run.sh`` (runs the job by hand, or under a scheduler), ``started``
(made once: a job directory runs at most once), ``stdout``, ``stderr``, ``result.json``, ``exit_code``. The last two
are written under a temporary name, synced and renamed; `exit_code` comes last, so where it stands all else stands.
``usage.json`` says when, where and how long the job ran.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from active_learning.domain.candidate import content_hash
from active_learning.domain.job import Job, JobSpec, Resources

__all__ = ["OWN_FILES", "JobDirectory", "JobOutcome", "Usage"]

_FILES_MODE = 0o600
_DIRECTORY_MODE = 0o700
OWN_FILES = frozenset(
    {"job.json", "run.sh", "started", "stdout", "stderr", "result.json", "usage.json", "exit_code", "from_cache.json"}
    # What submitters keep there: on this machine, in batch systems, in queues of the user's own, on Dask.
    | {"lock", "ended_by", "guardian"}
    | {"batch.sh", "batch_handle", "batch_end", "batch_array", "scheduler.out", "submitting"}
    | {"queue.sh", "submitted", "submit.out", "submit.err"}
    | {"dask.ticket", "dask.taken", "dask.over"}
)
"""Names in a job's directory that are not the labeler's to use."""


@dataclass(frozen=True)
class Usage:
    """What a job used: when it ran (seconds since 1970), its processors' time and its largest memory (10^6 bytes; of
    its largest process), and on which host."""

    started: float
    ended: float
    cpu_s: float
    max_memory_mb: float
    host: str


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended: its exit code, its result if it wrote one, and what it used."""

    exit_code: int
    result: Mapping[str, Any] | None
    stderr_tail: str
    usage: Usage | None = None


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class JobDirectory:
    """The directory of one job."""

    path: Path

    def prepare(self, spec: JobSpec, name: str, resources: Resources, *, python_path: Sequence[str] = ()) -> Job:
        """Write what the job needs and return it, ready to submit. Doing it again writes the same.

        `python_path` are folders to import the job's code from, beside what is installed.

        Raises
        ------
        ValueError
            If a file of the labeler would lie elsewhere, or has the name of one of the directory's own.
        """
        if taken := sorted(OWN_FILES & set(spec.files)):
            raise ValueError(f"a job directory has its own {', '.join(taken)}; call the labeler's file otherwise")
        self.path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        body = {"name": name, "entry": spec.entry, "inputs": dict(spec.inputs)}
        versions = {"motherlode": version("motherlode"), "python": sys.version.split()[0]}
        about = {
            "hash": content_hash(body),
            "versions": versions,
            "python_path": list(python_path),
            "cores": resources.cores,
        }
        self.write("job.json", json.dumps(body | about, indent=1))
        for file, text in spec.files.items():
            self.write(file, text)
        job = self.job(name, resources)
        self.write("run.sh", f"#!/bin/sh\nexec {shlex.join(job.command)}\n")
        return job

    def job(self, name: str, resources: Resources) -> Job:
        """The job that `prepare` returned, without touching the directory."""
        path = self.path.resolve()
        return Job(name, path, (sys.executable, "-m", "active_learning.jobs", str(path)), resources)

    def write(self, name: str, text: str) -> None:
        """Write a file so that a reader sees the old one or the new one, and a crash loses neither."""
        if Path(name).name != name or name in ("", ".", ".."):
            raise ValueError(f"a job's files lie in its directory itself, got {name!r}")
        temporary = self.path / f".{name}.{os.getpid()}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILES_MODE)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        _sync_directory(self.path)

    def read_job(self) -> dict[str, Any]:
        """What `prepare` wrote."""
        loaded: dict[str, Any] = json.loads((self.path / "job.json").read_text(encoding="utf-8"))
        return loaded

    def start(self) -> bool:
        """Claim the one run of this directory. False if it was claimed before: then do not run."""
        try:
            handle = os.open(self.path / "started", os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILES_MODE)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        return True

    @property
    def has_started(self) -> bool:
        """Whether the job ever began to run."""
        return (self.path / "started").exists()

    @property
    def started_at(self) -> float | None:
        """When the job began to run, in seconds since 1970; None if it never did."""
        try:
            return (self.path / "started").stat().st_mtime
        except FileNotFoundError:
            return None

    def finish(self, exit_code: int, result: Mapping[str, Any] | None = None, usage: Usage | None = None) -> None:
        """Note how the job ended. The last thing a job does."""
        if usage is not None:
            self.write("usage.json", json.dumps(asdict(usage)))
        if result is not None:
            self.write("result.json", json.dumps(result, indent=1))
        self.write("exit_code", f"{exit_code}\n")

    def outcome(self) -> JobOutcome | None:
        """How the job ended; None while it runs, and for ever if it was killed."""
        try:
            exit_code = int((self.path / "exit_code").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return JobOutcome(exit_code, self._read_json("result.json"), self.tail("stderr"), self.usage())

    def usage(self) -> Usage | None:
        """What the job used; None while it runs, and if it was killed."""
        known = self._read_json("usage.json")
        return None if known is None or known.keys() != Usage.__annotations__.keys() else Usage(**known)

    def _read_json(self, name: str) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            loaded = json.loads((self.path / name).read_text(encoding="utf-8"))
            return loaded if isinstance(loaded, dict) else None
        return None

    def tail(self, name: str, n_bytes: int = 2000) -> str:
        """The end of one of the job's files; empty if there is none."""
        try:
            with (self.path / name).open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - n_bytes))
                return file.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""
