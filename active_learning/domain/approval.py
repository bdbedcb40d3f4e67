"""A person's word on a round, and on the end of a campaign, before money is spent or a calculation is ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Approval", "ApprovalState", "Ending", "Overdue"]


class ApprovalState(StrEnum):
    """ASKED waits for a person; nothing of the round is submitted. REJECTED: nothing of it will be."""

    ASKED = "asked"
    APPROVED = "approved"
    REJECTED = "rejected"


class Overdue(StrEnum):
    """What becomes of a round that nobody answered for in time."""

    WAIT = "wait"
    APPROVE = "approve"
    PAUSE = "pause"


@dataclass(frozen=True)
class Approval:
    """The approval of one round.

    Parameters
    ----------
    by : who answered, as they call themselves
    note : what they had to say
    dropped : candidates that they do not want; they are not proposed again
    """

    round: int
    state: ApprovalState
    asked_at: datetime
    decided_at: datetime | None = None
    by: str = ""
    note: str = ""
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ending:
    """A person's wish that the campaign ends.

    Parameters
    ----------
    jobs : whether calculations that run are to be ended, too; otherwise they are waited for
    """

    asked_at: datetime
    reason: str
    by: str
    jobs: bool = False
