"""Who works on a campaign now. One process at a time; a lease that ran out, or whose process is dead, can be taken."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psutil

__all__ = ["Holder", "Lease", "this_process"]


@dataclass(frozen=True)
class Holder:
    """A process: where it runs, its id, and when it started (seconds since 1970), since ids are used again."""

    host: str
    pid: int
    started: float

    def is_dead(self) -> bool:
        """Whether this process is known to be gone. Of another host nothing is known, so False."""
        if self.host != platform.node():
            return False
        try:
            process = psutil.Process(self.pid)
            started: float = process.create_time()
            # Killed, and nobody waited for it yet: in a container without an init it stays so for ever.
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        return is_zombie or abs(started - self.started) > 2.0

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Holder:
    """The holder that this process is."""
    return Holder(platform.node(), os.getpid(), psutil.Process().create_time())


@dataclass(frozen=True)
class Lease:
    """The right to work on a campaign. `token` grows with every taking: a write with an old one is refused."""

    holder: Holder
    token: int
    expires_at: datetime
