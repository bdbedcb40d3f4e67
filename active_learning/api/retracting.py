"""A label taken back: what it taught is forgotten, and why stays known."""

from __future__ import annotations

from datetime import datetime

from active_learning.api.persistence import until_it_stands_still
from active_learning.api.telling import candidate_of
from active_learning.domain.campaign import Phase
from active_learning.domain.label import Retraction
from active_learning.domain.request import Arm, Purpose, RequestState
from active_learning.engine.pool_file import PoolFile
from active_learning.errors import UserError
from active_learning.store import CampaignStore, Facts, Writer

__all__ = ["retract"]


def retract(
    store: CampaignStore, pool: PoolFile, candidate: str, *, reason: str, may_ask_again: bool, now: datetime
) -> tuple[Retraction, ...]:
    """Take back all labels of a candidate.

    A campaign that had ended goes on, since its end was judged with them; planned requests that a model trained on them
    chose are withdrawn. The next step of the campaign trains without them.

    Parameters
    ----------
    candidate : an id, or a formula that only one candidate has
    may_ask_again : whether the campaign may choose it again; otherwise only a person can bring a label

    Raises
    ------
    UserError
        If there is no such candidate, it has no label, or it is a reference that others were measured against.
    """
    return until_it_stands_still(
        lambda: _retract(store, pool, candidate, reason=reason, may_ask_again=may_ask_again, now=now)
    )


def _retract(
    store: CampaignStore, pool: PoolFile, candidate: str, *, reason: str, may_ask_again: bool, now: datetime
) -> tuple[Retraction, ...]:
    facts = store.read()
    references = {r.candidate_id for r in facts.requests if r.purpose is Purpose.REFERENCE}
    if candidate in references:
        raise UserError(
            f"{candidate} is a reference: every formation energy was measured against it. If it is wrong, all of them"
            " are: start a new campaign with another name and workdir."
        )
    try:
        candidate_id = candidate_of(candidate, pool)
    except ValueError as error:
        raise UserError(f"{error}.") from error
    if not any(label.candidate_id == candidate_id for label in facts.labels):
        raise UserError(f"{candidate} has no label that could be taken back.")
    with store.write(now, expect=facts.version) as writer:
        taken = writer.retract(candidate_id, reason, may_ask_again=may_ask_again, n_rounds=len(facts.rounds))
        _withdraw(writer, facts)
        if facts.phase in (Phase.STOPPED, Phase.FAILED):
            writer.set_phase(Phase.ACTIVE)
    return taken


def _withdraw(writer: Writer, facts: Facts) -> None:
    for request in facts.requests:
        if request.state is RequestState.PLANNED and request.arm is Arm.CHOSEN and request.mean is not None:
            writer.move(request.id, RequestState.PLANNED, RequestState.CANCELLED)
