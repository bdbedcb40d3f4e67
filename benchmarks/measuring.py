"""What a piece of work costs: it runs in a process of its own, so that nobody's memory or caches count for another.

Shared by the benchmarks. The work calls `say` with what it found; whoever started it gets that, and what the process
took, from `apart`. Peaks of memory are the system's own (`ru_maxrss`), which count mapped files too; "private" is memory
that no file backs, looked at fifty times a second, from outside. Megabytes are 10^6 bytes.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Stages", "apart", "cpu_s", "megabytes", "say", "versions"]

_LOOK_S = 0.02
_LOOK_AT_DISK_S = 0.25
_SAID = "FOUND "
_UNIT = 1 if sys.platform == "darwin" else 1024
"""Of `ru_maxrss`."""


def versions(*packages: str) -> dict[str, str]:
    """Of Python and some packages."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def megabytes(n_bytes: float) -> float:
    """Rounded to a tenth."""
    return round(n_bytes / 1e6, 1)


def cpu_s(who: int = resource.RUSAGE_SELF) -> float:
    """Seconds of CPU of this process, all its threads; or of its children that have ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    """The most memory of this process, or of the largest of its children that have ended."""
    return megabytes(resource.getrusage(who).ru_maxrss * _UNIT)


def say(found: dict[str, Any]) -> None:
    """The last word of a process that `apart` started."""
    print(_SAID + json.dumps(found), flush=True)


def apart(command: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """Run a command to its end, and tell what it said and took.

    Parameters
    ----------
    folder : its size is watched meanwhile

    Returns
    -------
    what it said, if it said anything, with

    wall_s, cpu_s : of the whole process and its children, from start to end, imports and all
    peak_mb, peak_private_mb : most memory of the process; where it did not say otherwise, or of its largest child
    disk_before_mb, disk_peak_mb, disk_after_mb : of the folder
    """
    with tempfile.TemporaryFile("w+") as out:
        size = _size(folder)
        found: dict[str, Any] = {"disk_before_mb": size} if folder else {}
        disk_peak, private, looked = size, 0.0, time.perf_counter()
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out)
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            private = max(private, _private_mb(process.pid))
            if folder and time.perf_counter() - looked > _LOOK_AT_DISK_S:
                disk_peak, looked = max(disk_peak, _size(folder)), time.perf_counter()
            time.sleep(_LOOK_S)
        process.returncode = os.waitstatus_to_exitcode(status)
        found["wall_s"] = round(time.perf_counter() - started, 2)
        out.seek(0)
        lines = out.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit status {process.returncode}: its message stands above")
    found["cpu_s"] = round(used.ru_utime + used.ru_stime, 2)
    found |= {"peak_mb": megabytes(used.ru_maxrss * _UNIT), "peak_private_mb": private}
    if folder:
        found |= {"disk_peak_mb": max(disk_peak, _size(folder)), "disk_after_mb": _size(folder)}
    said = [line for line in lines if line.startswith(_SAID)]
    return found | (json.loads(said[-1].removeprefix(_SAID)) if said else {})


def _private_mb(pid: int) -> float:
    """Memory of a process that no file backs; 0 where the system does not tell, or the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((megabytes(float(line.split()[1]) * 1024) for line in lines if line.startswith("RssAnon")), 0.0)


def _size(folder: Path | None) -> float:
    """What the files in a folder take."""
    total = 0
    for path in folder.rglob("*") if folder else ():
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # a temporary file, gone meanwhile
    return megabytes(total)


@dataclass
class Stages:
    """Where the time of a piece of work goes: each stage without those that began inside it."""

    wall_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    _inside: list[list[float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The time until this ends belongs to `name`. Not for several threads at once."""
        wall, cpu = time.perf_counter(), cpu_s() + cpu_s(resource.RUSAGE_CHILDREN)
        self._inside.append([0.0, 0.0])
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, cpu_s() + cpu_s(resource.RUSAGE_CHILDREN) - cpu
            inner_wall, inner_cpu = self._inside.pop()
            self.wall_s[name] = self.wall_s.get(name, 0.0) + wall - inner_wall
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + cpu - inner_cpu
            if self._inside:
                self._inside[-1][0] += wall
                self._inside[-1][1] += cpu

    def watch(self, where: Any, name: str, stage: str) -> None:
        """Whenever a module's (or class's) function is called by this name, its time belongs to `stage`."""
        function: Callable[..., Any] = getattr(where, name)

        @wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            with self.stage(stage):
                return function(*arguments, **named)

        setattr(where, name, watched)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Stage -> seconds, in the order they first ended."""
        return {name: {"wall_s": round(s, 3), "cpu_s": round(self.cpu_s[name], 3)} for name, s in self.wall_s.items()}
