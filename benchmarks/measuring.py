"""What a piece of work costs: it runs in a process of its own, so that nobody's memory or caches count for another.

Shared by the benchmarks. The work calls `say` with what it found; whoever started it gets that, and what the process
took, from `apart`. Memory is looked at fifty times a second, from outside: the most that was resident (`VmHWM`, where
files that are mapped count too), and "private" memory, which no file backs. `ru_maxrss` would not do: a process begins
with that of whoever started it. Needs Linux. Megabytes are 10^6 bytes.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
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


def say(found: dict[str, Any]) -> None:
    """The last word of a process that `apart` started."""
    print(_SAID + json.dumps(found), flush=True)


@dataclass
class _Memory:
    """The most that a process and its descendants were seen to have, bytes."""

    pid: int
    peak: float = 0.0
    private: float = 0.0
    child_peak: float = 0.0
    _seen: set[int] = field(default_factory=set)

    def look(self) -> None:
        peak, private = _memory(self.pid)
        self.peak, self.private = max(self.peak, peak), max(self.private, private)
        children = set(_descendants(self.pid))
        # One that was not there a moment ago may still show the memory of the process it was forked from.
        for child in children & self._seen:
            self.child_peak = max(self.child_peak, _memory(child)[0])
        self._seen = children


def _memory(pid: int) -> tuple[float, float]:
    """Most resident and present private memory of a process, bytes; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    peak, private = (1024.0 * float(found.get(name, "0 kB").split()[0]) for name in ("VmHWM", "RssAnon"))
    return peak, private


def _descendants(pid: int) -> Iterator[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in " ".join(lists).split():
        yield int(child)
        yield from _descendants(int(child))


def apart(command: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """Run a command to its end, and tell what it said and took.

    Parameters
    ----------
    folder : its size is watched meanwhile

    Returns
    -------
    what it said, if it said anything, with

    process_s, process_cpu_s : of the whole process, the second with its children; imports and all
    peak_mb, private_mb, child_peak_mb : most memory of the process, and of the largest of its descendants
    disk_before_mb, disk_peak_mb, disk_after_mb : of the folder
    """
    with tempfile.TemporaryFile("w+") as out:
        sizes = [_size(folder)] if folder else []
        started = looked = time.perf_counter()
        process = subprocess.Popen(command, stdout=out)
        memory = _Memory(process.pid)
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            memory.look()
            if folder and time.perf_counter() - looked > _LOOK_AT_DISK_S:
                sizes.append(_size(folder))
                looked = time.perf_counter()
            time.sleep(_LOOK_S)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = [line for line in out.read().splitlines() if line.startswith(_SAID)]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit status {process.returncode}: its message stands above")
    found = {
        "process_s": round(seconds, 2),
        "process_cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": megabytes(memory.peak),
        "private_mb": megabytes(memory.private),
        "child_peak_mb": megabytes(memory.child_peak),
    }
    if folder:
        sizes.append(_size(folder))
        found |= {"disk_before_mb": sizes[0], "disk_peak_mb": max(sizes), "disk_after_mb": sizes[-1]}
    return found | (json.loads(said[-1].removeprefix(_SAID)) if said else {})


def _size(folder: Path) -> float:
    """What the files in a folder take."""
    total = 0
    for path in folder.rglob("*"):
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
        self.wall_s.setdefault(name, 0.0)
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, cpu_s() + cpu_s(resource.RUSAGE_CHILDREN) - cpu
            inner_wall, inner_cpu = self._inside.pop()
            self.wall_s[name] += wall - inner_wall
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
        """Stage -> seconds, in the order they first began."""
        return {name: {"wall_s": round(s, 3), "cpu_s": round(self.cpu_s[name], 3)} for name, s in self.wall_s.items()}
