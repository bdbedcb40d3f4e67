"""A person's word to a campaign: pause, resume, cancel. It may be said while another process is at work.

Each function says what happened, in a line. They are what the command line and the flows in Prefect's UI call.
"""

from __future__ import annotations

from datetime import datetime

from active_learning.api.persistence import until_it_stands_still
from active_learning.domain.approval import Ending
from active_learning.domain.campaign import Phase
from active_learning.errors import UserError
from active_learning.store import CampaignStore

__all__ = ["cancel", "pause", "resume"]


def pause(store: CampaignStore, now: datetime) -> str:
    """Open no new requests; calculations that run are still collected.

    Raises
    ------
    UserError
        If the campaign has ended.
    """
    return until_it_stands_still(lambda: _pause(store, now))


def _pause(store: CampaignStore, now: datetime) -> str:
    facts = store.read()
    if facts.phase is Phase.PAUSED:
        return f"{facts.name} is paused already"
    if facts.phase is not Phase.ACTIVE:
        raise UserError(f"Campaign '{facts.name}' is {facts.phase}, and only one that is active can be paused.")
    with store.write(now, expect=facts.version) as writer:
        writer.set_phase(Phase.PAUSED)
    return f"{facts.name} is paused: what runs is collected, nothing new is asked"


def resume(store: CampaignStore, now: datetime) -> str:
    """Go on after a pause, or after a person cancelled the campaign. Rounds that wait for approval wait anew.

    Raises
    ------
    UserError
        If the campaign ended by itself.
    """
    return until_it_stands_still(lambda: _resume(store, now))


def _resume(store: CampaignStore, now: datetime) -> str:
    facts = store.read()
    if facts.phase is Phase.ACTIVE and facts.ending is None:
        return f"{facts.name} is active already"
    if facts.phase is not Phase.PAUSED and facts.ending is None:
        raise UserError(
            f"Campaign '{facts.name}' is {facts.phase}, and only one that is paused or was cancelled can be resumed."
        )
    with store.write(now, expect=facts.version) as writer:
        if facts.ending is not None:
            writer.set_ending(None)
        if facts.phase is not Phase.ACTIVE:
            writer.set_phase(Phase.ACTIVE)
        writer.ask_approval_again()
    return f"{facts.name} goes on with the next run or tick"


def cancel(store: CampaignStore, now: datetime, *, by: str, reason: str = "", jobs: bool = False) -> str:
    """Have the campaign end: nothing new is asked, what is planned is withdrawn.

    Parameters
    ----------
    jobs : end the calculations that run, too; otherwise they are waited for, and their labels count

    Raises
    ------
    UserError
        If it has ended already.
    """
    return until_it_stands_still(lambda: _cancel(store, now, by=by, reason=reason, jobs=jobs))


def _cancel(store: CampaignStore, now: datetime, *, by: str, reason: str, jobs: bool) -> str:
    facts = store.read()
    if facts.phase in (Phase.STOPPED, Phase.FAILED):
        raise UserError(f"Campaign '{facts.name}' is {facts.phase} already.")
    n_running = sum(r.is_open and r.submitted_at is not None for r in facts.requests)
    said = reason or f"cancelled by {by}"
    with store.write(now, expect=facts.version) as writer:
        writer.set_ending(Ending(now, said, by, jobs or (facts.ending is not None and facts.ending.jobs)))
        if facts.phase is Phase.PAUSED:
            writer.set_phase(Phase.ACTIVE)  # to end is work, too
    what = "are ended, too" if jobs else "are waited for"
    running = f"; {n_running} calculations that run {what}" if n_running else ""
    return f"{facts.name} is to end: nothing new is asked{running}"
