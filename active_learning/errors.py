"""Every error that Motherlode raises on purpose, on one page.

``MotherlodeError`` is the root. ``UserError`` means that the user's input must change (exit code 2); everything
else means that the campaign or something it relies on failed (exit code 1).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BackendError",
    "BackendSilent",
    "CampaignFailed",
    "ContractError",
    "Fault",
    "IllegalMove",
    "LabelConflict",
    "LeaseHeld",
    "LeaseLost",
    "MotherlodeError",
    "SpecChanged",
    "SpecError",
    "StaleVersion",
    "StoreError",
    "TransientSubmitError",
    "UserError",
]


class MotherlodeError(Exception):
    """Root of the tree. The message is a few lines that a user can act on."""

    exit_code = 1


class UserError(MotherlodeError):
    """Something the user gave is wrong; nothing was spent."""

    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a campaign file: where (`path`, dotted; `line`, from 1) and what."""

    path: str
    message: str
    line: int | None = None


class SpecError(UserError):
    """A campaign file is wrong. Carries every fault found, not only the first."""

    def __init__(self, source: str, faults: tuple[Fault, ...]) -> None:
        self.source = source
        self.faults = faults
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        count = len(self.faults)
        head = f"{self.source}: {count} fault{'s' if count != 1 else ''}"
        return [head, *(f"  {self._place(fault)}{fault.message}" for fault in self.faults)]

    @staticmethod
    def _place(fault: Fault) -> str:
        line = f"line {fault.line}, " if fault.line else ""
        return f"{line}{fault.path}: " if fault.path else line


class SpecChanged(UserError):
    """A campaign file changed in a way that would change what its stored labels mean."""


class ContractError(MotherlodeError):
    """A plug-in or a caller broke a protocol's law (wrong shape, NaN where a number must be, ...)."""


class IllegalMove(ContractError):
    """A request was asked to make a move that its state does not allow."""


class StoreError(MotherlodeError):
    """The campaign's database or its blobs cannot be read or written."""


class StaleVersion(StoreError):
    """The campaign changed since it was read: read it again and decide again. Nothing was written."""


class LeaseHeld(MotherlodeError):
    """Another process works on this campaign now."""


class LeaseLost(MotherlodeError):
    """This process's lease ran out and another one took over. Nothing was written."""


class LabelConflict(UserError):
    """A different value is already stored for this candidate and property."""


class BackendError(MotherlodeError):
    """A submitter or labeler cannot do its work (not for one candidate: at all)."""


class BackendSilent(BackendError):
    """The backend does not answer now: nothing is known, and the campaign asks again later."""


class TransientSubmitError(BackendError):
    """The backend did not take the job this time; nothing was launched; trying again may work."""


class CampaignFailed(MotherlodeError):
    """The campaign cannot go on; the message says why and what to do."""
