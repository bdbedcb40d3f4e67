"""The steps of rounds that wait for a person, and what follows if nobody answers."""

from __future__ import annotations

from active_learning.domain.approval import Approval, ApprovalState
from active_learning.domain.campaign import Phase
from active_learning.engine.workbench import Workbench
from active_learning.errors import StaleVersion
from active_learning.store import Facts, Writer

__all__ = ["approve_overdue", "ask_approval", "awaited", "pause_overdue"]

_BY_THE_FILE = "nobody"


def ask_approval(bench: Workbench, writer: Writer, number: int, n_picks: int) -> None:
    """A round that was just planned waits, if the campaign file says so."""
    if bench.kit.settings.needs_approval and n_picks:
        writer.ask_approval(number)


def awaited(facts: Facts, number: int) -> Approval | None:
    """The approval of a round that nobody answered for."""
    return next((a for a in facts.approvals if a.round == number and a.state is ApprovalState.ASKED), None)


def approve_overdue(bench: Workbench, number: int) -> str:
    """Nobody answered in time: the round goes on."""
    facts, approval = _still_awaited(bench, number)
    with bench.write(expect=facts.version) as writer:
        note = "nobody answered in time, and the campaign file says: approve"
        writer.decide(approval, ApprovalState.APPROVED, by=_BY_THE_FILE, note=note, dropped=())
    return f"round {number}: {note}"


def pause_overdue(bench: Workbench, number: int) -> str:
    """Nobody answered in time: the campaign pauses, and the round still waits."""
    facts, _ = _still_awaited(bench, number)
    with bench.write(expect=facts.version) as writer:
        writer.set_phase(Phase.PAUSED)
    return f"round {number}: nobody answered in time, and the campaign pauses, as its file says"


def _still_awaited(bench: Workbench, number: int) -> tuple[Facts, Approval]:
    facts = bench.store.read()
    approval = awaited(facts, number)
    if approval is None or facts.phase is not Phase.ACTIVE:
        raise StaleVersion(f"round {number} does not wait for approval any more")
    return facts, approval
