"""How much memory a session uses, by /proc."""

from __future__ import annotations

import os

__all__ = ["can_be_measured", "session_memory_mb"]

_PROC = "/proc"


def can_be_measured() -> bool:
    """Whether this system says what its processes use (Linux does, macOS does not)."""
    return os.path.exists(f"{_PROC}/self/statm")  # noqa: PTH110 - as below


def session_memory_mb(leader: int, limit_mb: float) -> float:
    """What the processes of a session use together, in 10^6 bytes; exact if it is more than `limit_mb`.

    The resident sizes are quick to add up, but count what processes share, such as a library, once for each of them.
    Where that sum is above the limit, each shared page is shared out instead (PSS).
    """
    page = os.sysconf("SC_PAGE_SIZE")
    resident = {pid: pages * page / 1e6 for pid, pages in _resident_pages(leader).items()}
    total = sum(resident.values())
    if total <= limit_mb or len(resident) < 2:
        return total
    return sum(_proportional_mb(pid, resident[pid]) for pid in resident)


def _resident_pages(leader: int) -> dict[int, int]:
    # Not by pathlib: this is done several times a second.
    found = {}
    for entry in os.listdir(_PROC):  # noqa: PTH208
        if not entry.isdigit():
            continue
        try:
            with open(f"{_PROC}/{entry}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # After the name: field 3 is the state, 6 the session, 24 the resident pages.
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found[int(entry)] = int(fields[21])
    return found


def _proportional_mb(pid: int, resident_mb: float) -> float:
    try:
        with open(f"{_PROC}/{pid}/smaps_rollup", encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    except PermissionError:
        # A program with more rights than its user (setuid) does not tell; the resident size is what is known.
        return resident_mb
    return 0.0
