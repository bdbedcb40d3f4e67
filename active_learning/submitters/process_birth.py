"""When a process was born: together with its id this names one process for ever, though ids are used again."""

from __future__ import annotations

__all__ = ["born"]


def born(pid: int) -> str | None:
    """A text that no other process with this id has; None if there is no such process.

    Clock ticks since the machine started, and which start that was: unlike the time of day, nobody corrects them.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is not light
            # "pid (name) state ppid ..."; the name may hold blanks and parentheses. Field 22 is the start time.
            ticks = file.read().rpartition(")")[2].split()[19]
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123
            return f"{ticks} of {file.read().strip()}"
    except (FileNotFoundError, ProcessLookupError):
        return _born_without_proc(pid)


def _born_without_proc(pid: int) -> str | None:
    # Needed where there is no /proc (macOS), so not imported where there is one: each queued job has such a process.
    import psutil

    try:
        return repr(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
