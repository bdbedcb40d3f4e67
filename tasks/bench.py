"""The campaigns that this process works on. A task gets a path, never an object, and finds its bench here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from active_learning.api.campaign import Campaign
from active_learning.engine.workbench import Workbench
from active_learning.errors import ContractError

__all__ = ["Attached", "NotAttached", "attach", "attached"]


class NotAttached(ContractError):
    """This process does not work on the campaign."""


def _quiet(_line: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Attached:
    """A campaign that this process has the lease of; `over` is set when its flow ends."""

    campaign: Campaign
    bench: Workbench
    say: Callable[[str], None] = _quiet
    over: threading.Event = field(default_factory=threading.Event)


_ATTACHED: dict[Path, Attached] = {}


@contextmanager
def attach(campaign: Campaign, bench: Workbench, say: Callable[[str], None] = _quiet) -> Iterator[Attached]:
    """Make a campaign findable by the tasks of this process for as long as the block runs."""
    found = Attached(campaign, bench, say)
    _ATTACHED[campaign.path] = found
    try:
        yield found
    finally:
        found.over.set()
        del _ATTACHED[campaign.path]


def attached(path: str) -> Attached:
    """The attached campaign of a file.

    Raises
    ------
    NotAttached
        If this process does not work on it.
    """
    found = _ATTACHED.get(Path(path).resolve())
    if found is None:
        raise NotAttached(f"{path} is not attached to this process; tasks run inside the flows of Motherlode")
    return found
