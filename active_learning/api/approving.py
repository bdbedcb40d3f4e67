"""A person's answer for a round that waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from active_learning.api.persistence import until_it_stands_still
from active_learning.domain.approval import Approval, ApprovalState
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.errors import UserError
from active_learning.store import CampaignStore, Facts

__all__ = ["approve", "reject", "waiting_round"]


def waiting_round(facts: Facts, number: int | None = None) -> tuple[Approval, tuple[Request, ...]]:
    """A round that waits for a person, and what it would ask for.

    Parameters
    ----------
    number : which; None takes the oldest

    Raises
    ------
    UserError
        If none waits, or not this one.
    """
    waiting = [a for a in facts.approvals if a.state is ApprovalState.ASKED and number in (None, a.round)]
    if not waiting:
        which = "No round" if number is None else f"Round {number}, which you named,"
        no = "" if number is None else " not"
        raise UserError(f"{which} of campaign '{facts.name}' is{no} waiting for approval.")
    return waiting[0], _planned(facts, waiting[0].round)


def _planned(facts: Facts, number: int) -> tuple[Request, ...]:
    return tuple(
        r
        for r in facts.requests
        if r.round == number and r.purpose is Purpose.CANDIDATE and r.state is RequestState.PLANNED
    )


def approve(
    store: CampaignStore,
    now: datetime,
    *,
    by: str,
    number: int | None = None,
    drop: Sequence[str] = (),
    note: str = "",
) -> str:
    """Let a round be calculated; `drop` are candidates of it (ids) that shall not be, now or later.

    Raises
    ------
    UserError
        If no such round waits, or a candidate is not one of its.
    """
    return until_it_stands_still(lambda: _approve(store, now, by=by, number=number, drop=drop, note=note))


def _approve(
    store: CampaignStore, now: datetime, *, by: str, number: int | None, drop: Sequence[str], note: str
) -> str:
    facts = store.read()
    approval, planned = waiting_round(facts, number)
    known = {request.candidate_id: request for request in planned}
    if strangers := [candidate for candidate in drop if candidate not in known]:
        raise UserError(
            f"Round {approval.round} does not ask for {', '.join(strangers)}. It asks for "
            f"{', '.join(f'{r.candidate_id} ({r.formula})' for r in planned)}."
        )
    state = ApprovalState.REJECTED if planned and len(set(drop)) == len(planned) else ApprovalState.APPROVED
    with store.write(now, expect=facts.version) as writer:
        writer.decide(approval, state, by=by, note=note, dropped=set(drop))
        for candidate in sorted(set(drop)):
            writer.move(known[candidate].id, RequestState.PLANNED, RequestState.CANCELLED)
    n_dropped = len(set(drop))
    dropped = f"; {n_dropped} dropped, not to be proposed again" if n_dropped else ""
    return f"round {approval.round} of {facts.name}: {len(planned) - n_dropped} of {len(planned)} approved{dropped}"


def reject(store: CampaignStore, now: datetime, *, by: str, number: int | None = None, note: str = "") -> str:
    """Drop all candidates of a round: none is calculated, now or later, and the campaign chooses others.

    Raises
    ------
    UserError
        If no such round waits.
    """
    return until_it_stands_still(lambda: _reject(store, now, by=by, number=number, note=note))


def _reject(store: CampaignStore, now: datetime, *, by: str, number: int | None, note: str) -> str:
    approval, planned = waiting_round(store.read(), number)
    drop = [request.candidate_id for request in planned]
    return _approve(store, now, by=by, number=approval.round, drop=drop, note=note)
